/**
 * Which backup a restore takes: the newest proven one at or before the wanted instant. Never one that was made before another
 * restore: it holds the damage that is to be undone, and is younger than every good one.
 */

export interface Candidate {
  readonly id: string;
  readonly base: string | null;
  readonly snapshotMs: number;
  /** When the source was last seen to hold the same; `undefined`: not since. */
  readonly unchangedMs?: number | undefined;
  readonly verified: boolean;
  /** Made of what stood before a restore. */
  readonly preRestore: boolean;
  /** Why it cannot be used; `null` when it can. */
  readonly damage: string | null;
}

export type Choice =
  | { readonly kind: "found"; readonly id: string; readonly chain: readonly string[]; readonly lossMs: number }
  | { readonly kind: "none"; readonly reason: string; readonly nearest: string | undefined };

/** Longest chain of bases: a delta is made against a full backup, never against a delta. */
const MAX_CHAIN = 2;

/**
 * `wantedMs` is the instant to go back to; `lossMs` is how long before it the source was last known to hold what the backup
 * holds.
 */
export function chooseBackup(candidates: readonly Candidate[], wantedMs: number): Choice {
  const usable = candidates.filter(({ damage, verified }) => damage === null && verified);
  const chains = usable
    .filter(({ preRestore }) => !preRestore)
    .map((each) => ({ each, chain: chainOf(each, usable) }))
    .filter(({ chain }) => chain !== undefined)
    .toSorted((a, b) => b.each.snapshotMs - a.each.snapshotMs);
  const found = chains.find(({ each }) => each.snapshotMs <= wantedMs);
  if (found?.chain !== undefined)
    return { kind: "found", id: found.each.id, chain: found.chain, lossMs: lossMs(found.each, wantedMs) };
  const nearest = chains.at(-1)?.each.id;
  return nearest === undefined
    ? {
        kind: "none",
        reason: reasonOf(candidates, usable),
        nearest,
      }
    : { kind: "none", reason: "every usable backup is younger than that", nearest };
}

function lossMs({ snapshotMs, unchangedMs = snapshotMs }: Candidate, wantedMs: number): number {
  return wantedMs - Math.max(snapshotMs, Math.min(unchangedMs, wantedMs));
}

function reasonOf(candidates: readonly Candidate[], usable: readonly Candidate[]): string {
  if (candidates.length === 0) return "there is no backup";
  return usable.some(({ preRestore }) => preRestore)
    ? "no backup is verified and whole but those made before a restore, which are taken by their --id only"
    : "no backup is verified and whole";
}

/** The backup and its bases, the oldest first; `undefined` when one is missing. */
function chainOf(backup: Candidate, usable: readonly Candidate[]): readonly string[] | undefined {
  const chain = [backup.id];
  let at = backup;
  while (at.base !== null) {
    const base = usable.find(({ id }) => id === at.base);
    if (base === undefined || chain.length === MAX_CHAIN) return undefined;
    chain.unshift(base.id);
    at = base;
  }
  return chain;
}
