/** A backup as retention sees it: full, proven, held by nothing. */
import type { Kept } from "../../src/core/backup-retention.ts";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** Made `ageMs` before `nowMs`. */
export function keptBackup(id: string, ageMs: number, nowMs: number): Kept {
  return {
    id,
    kind: "full",
    base: null,
    snapshotMs: nowMs - ageMs,
    createdMs: nowMs - ageMs,
    verified: true,
    refuted: false,
    preRestore: false,
    pinned: null,
    inUse: false,
  };
}
