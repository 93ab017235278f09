/** When a process that lives for months collects all its garbage: where its memory has grown, and not by the clock, since each time costs. */

/** Growth from which on it is worth it, bytes: less comes and goes by itself. */
export const GROWTH_BYTES = 4 * 1_024 ** 2;

/** Whether to collect at a look that finds `ownBytes` of memory of our own; `leftBytes` is what was left before, `undefined`: the first look. */
export function isWorthCollecting(leftBytes: number | undefined, ownBytes: number): boolean {
  return leftBytes === undefined || ownBytes > leftBytes + GROWTH_BYTES;
}

/**
 * What the next look compares with; `ownBytes` is after the collection where there was one. Without one it is the least of all
 * looks since: much of what a collection frees goes back late, and a measure that stayed above it would let memory rise with it.
 */
export function leftAfter(leftBytes: number | undefined, collected: boolean, ownBytes: number): number {
  return collected || leftBytes === undefined ? ownBytes : Math.min(leftBytes, ownBytes);
}
