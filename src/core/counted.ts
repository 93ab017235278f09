/** A number with its noun, for sentences to people. */

/** "1 order", "0 orders", "3 orders"; for nouns that take an s. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
