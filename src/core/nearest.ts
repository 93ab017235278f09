/** "Did you mean": names close to a mistyped one, by optimal string alignment distance (insert, delete, replace, swap). */

/** Edits that a typo may have; a longer distance suggests names that have nothing to do with what was meant. */
const MAX_EDITS = 2;
/** Up to this length two edits turn any word into any other. */
const SHORT_WORD_CHARS = 3;
/** A longer word is not a typo of a known name; the bound keeps the distance table small. */
const MAX_WORD_CHARS = 64;

/** Edits between `a` and `b`, upper and lower case taken as equal. */
export function editDistance(a: string, b: string): number {
  const from = a.toLowerCase();
  const to = b.toLowerCase();
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replace = (previous[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swap = swapped ? (beforePrevious[j - 2] ?? 0) + 1 : Infinity;
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, replace, swap));
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[to.length] ?? 0;
}

/** The names of `known` within two edits of `word` (one edit for a word of up to three letters), nearest first. */
export function nearest(word: string, known: readonly string[]): string[] {
  if (word.length > MAX_WORD_CHARS) return [];
  const limit = word.length <= SHORT_WORD_CHARS ? 1 : MAX_EDITS;
  return known
    .map((name) => ({ name, edits: editDistance(word, name) }))
    .filter(({ edits }) => edits <= limit)
    .toSorted((a, b) => a.edits - b.edits)
    .map(({ name }) => name);
}

/** The nearest of `known` as the end of a message, `; did you mean "NAME"?`; empty when none is near. */
export function guessText(word: string, known: readonly string[]): string {
  const [guess] = nearest(word, known);
  return guess === undefined ? "" : `; did you mean "${guess}"?`;
}

/** Names suggested at once. */
const MAX_NAMES = 3;

/** Up to three names of `known` near `word`: typos first, then names that contain it or that it contains. */
export function resembling(word: string, known: readonly string[]): string[] {
  const lower = word.toLowerCase();
  const related = known.filter(
    (name) =>
      (lower.length >= SHORT_WORD_CHARS && name.toLowerCase().includes(lower)) || lower.includes(name.toLowerCase()),
  );
  return [...new Set([...nearest(word, known), ...related])].slice(0, MAX_NAMES);
}
