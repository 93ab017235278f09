/** What the state folder has of target conf once it was backed up to store local: the text of `backups/conf@local.json`. */
import type { Clock } from "../../../src/platform/clock.ts";

/** As if a backup ended right now. */
export function recordOfBackup(clock: Clock): string {
  const at = clock.wallTime().toISOString();
  const lastSuccess = {
    at,
    id: "conf-full-20260101T000000Z-aaaaaa",
    snapshotAt: at,
    durationMs: 1,
    rawBytes: 1,
    storedBytes: 1,
    level: "L1",
  };
  const record = {
    version: 1,
    target: "conf",
    store: "local",
    lastAttemptAt: at,
    lastSuccess,
    lastError: null,
    failuresInRow: 0,
    failures: {},
  };
  return JSON.stringify(record);
}
