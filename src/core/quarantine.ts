/** Which of the damaged files that a recovery has moved aside may go: none is removed while it may still be the only copy of something. */

/** A folder of damaged files. */
export interface Aside {
  readonly name: string;
  /** ms since 1970 UTC; `undefined` where its name does not tell. */
  readonly madeAt: number | undefined;
  /** A finished recovery has taken from it what could be proven. */
  readonly recovered: boolean;
}

/** How long damaged files are kept, ms: time enough to notice that something is missing, and to look for it in them. */
export const QUARANTINE_KEEP_MS = 90 * 86_400_000;

/**
 * Folders that may go, oldest first: recovered from, older than 90 days, and never the newest of all. To be asked only for a state
 * that is whole, reconciled, and has a proven backup of now. One whose age cannot be told stays. `now` is ms since 1970 UTC.
 */
export function forgettable(asides: readonly Aside[], now: number): readonly string[] {
  return asides
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .slice(0, -1)
    .filter(({ madeAt, recovered }) => recovered && madeAt !== undefined && madeAt < now - QUARANTINE_KEEP_MS)
    .map(({ name }) => name);
}
