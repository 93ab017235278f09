/** A word in a command that people paste into a shell (POSIX, 2.2.2 Single-Quotes). */

/** The word as a shell takes it for one. */
export function shellWord(word: string): string {
  return /^[\w./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
