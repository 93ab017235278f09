/** What status shows of the backups of a target in a store: from their record, which outlives every process. */
import type { BackupRecord } from "../../core/backup-record.ts";
import type { BackupStatus } from "../../core/status.ts";
import { readRecord, type Place } from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";

/** What is known of a place's backups without a daemon, too. */
export function backupStatus(
  { dirs, config }: Pick<LoadedConfig, "config" | "dirs">,
  place: Place,
  {
    dueMs,
    overdue,
    running,
  }: { readonly dueMs: number | undefined; readonly overdue: boolean; readonly running: boolean },
): BackupStatus {
  const record = readRecord(dirs.stateDir, place);
  const success = record?.lastSuccess ?? null;
  const error = record?.lastError ?? null;
  return {
    ...place,
    kind: config.backups?.targets[place.target]?.kind ?? "files",
    lastSuccessAt: success?.at ?? null,
    lastDurationSeconds: success === null ? null : success.durationMs / 1_000,
    sizeBytes: success?.storedBytes ?? null,
    verified: success !== null,
    nextAt: dueMs === undefined ? null : new Date(dueMs).toISOString(),
    overdue,
    running,
    lastError: error === null ? null : `${error.stage}: ${error.reason}`,
    ...(record?.copies === undefined ? {} : { copies: countsOf(record.copies) }),
    failures: Object.values(record?.failures ?? {}).reduce((sum, each) => sum + each, 0),
  };
}

function countsOf({ pendingBytes, backups, storedBytes }: NonNullable<BackupRecord["copies"]>): BackupStatus["copies"] {
  return { pendingBytes, backups, storedBytes };
}
