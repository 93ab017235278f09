/** What status shows of the backups of a target in a store: from their record, which outlives every process. */
import { LEVELS } from "../../core/backup-manifest.ts";
import { stoodAt, type BackupRecord } from "../../core/backup-record.ts";
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
    unchangedAt: success?.unchangedAt ?? null,
    lastDurationSeconds: success === null ? null : success.durationMs / 1_000,
    sizeBytes: success?.storedBytes ?? null,
    verified: success !== null,
    nextAt: dueMs === undefined ? null : new Date(dueMs).toISOString(),
    overdue,
    running,
    lastError: error === null ? null : `${error.stage}: ${error.reason}`,
    ...(record?.copies === undefined ? {} : { copies: countsOf(record.copies) }),
    failures: Object.values(record?.failures ?? {}).reduce((sum, each) => sum + each, 0),
    failuresByStage: record?.failures ?? {},
    lastAttemptAt: record?.lastAttemptAt ?? null,
    ...(record === undefined ? {} : factsOf(record)),
  };
}

function factsOf(record: BackupRecord): Pick<BackupStatus, "stoodAt" | "full" | "stored"> {
  const { full, base } = record.sizes ?? {};
  return {
    stoodAt: Object.fromEntries(
      LEVELS.flatMap((level) => {
        const at = stoodAt(record, level);
        return at === undefined ? [] : [[level, at]];
      }),
    ),
    full: { ...(full && { full: sizeOf(full) }), ...(base && { base: sizeOf(base) }) },
    ...(record.stock === undefined ? {} : { stored: storedOf(record.stock) }),
  };
}

function sizeOf({ storedBytes, shrunk }: NonNullable<NonNullable<BackupRecord["sizes"]>["full"]>) {
  return { sizeBytes: storedBytes, shrunk: shrunk !== null };
}

function storedOf({
  tiers,
  storedBytes,
  oldestAt,
  newestAt,
  disk,
}: NonNullable<BackupRecord["stock"]>): BackupStatus["stored"] {
  const { freeBytes = null, reserveBytes = null } = disk ?? {};
  return { tiers, bytes: storedBytes, oldestAt, newestAt, freeBytes, reserveBytes };
}

function countsOf({ pendingBytes, backups, storedBytes }: NonNullable<BackupRecord["copies"]>): BackupStatus["copies"] {
  return { pendingBytes, backups, storedBytes };
}
