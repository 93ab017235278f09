/** What status shows of the backups of a target in a store: from their record, which outlives every process. */
import { LEVELS } from "../../core/backup-manifest.ts";
import { reserveBytes, type DiskRoom } from "../../core/backup-room.ts";
import { stoodAt, type BackupRecord } from "../../core/backup-record.ts";
import type { BackupStatus } from "../../core/status.ts";
import type { Place } from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";

/** What is known of a place's backups without a daemon, too. */
export function backupStatus(
  { config }: Pick<LoadedConfig, "config">,
  place: Place,
  {
    record,
    dueMs,
    overdue,
    running,
    disk,
  }: {
    /** Of the place; `undefined` before the first run. */
    readonly record: BackupRecord | undefined;
    readonly dueMs: number | undefined;
    readonly overdue: boolean;
    readonly running: boolean;
    /** Of the store as it is now; `undefined`: it cannot be told, or it is a bucket. */
    readonly disk: DiskRoom | undefined;
  },
): BackupStatus {
  const success = record?.lastSuccess ?? null;
  const error = record?.lastError ?? null;
  return {
    ...place,
    kind: config.backups?.targets[place.target]?.kind ?? "files",
    lastSuccessAt: success?.at ?? null,
    unchangedAt: success?.unchangedAt ?? null,
    lastDurationSeconds: success === null ? null : success.durationMs / 1_000,
    sizeBytes: success?.storedBytes ?? null,
    verified: success !== null && record?.damaged?.some(({ id }) => id === success.id) !== true,
    nextAt: dueMs === undefined ? null : new Date(dueMs).toISOString(),
    overdue,
    running,
    lastError: error === null ? null : `${error.stage}: ${error.reason}`,
    ...(record?.copies === undefined ? {} : { copies: countsOf(record.copies) }),
    failures: Object.values(record?.failures ?? {}).reduce((sum, each) => sum + each, 0),
    failuresByStage: record?.failures ?? {},
    lastAttemptAt: record?.lastAttemptAt ?? null,
    ...(record === undefined ? {} : factsOf(record, disk)),
    ...(record?.damaged === undefined ? {} : { damaged: record.damaged }),
  };
}

function factsOf(record: BackupRecord, disk: DiskRoom | undefined): Pick<BackupStatus, "stoodAt" | "full" | "stored"> {
  const { full, base } = record.sizes ?? {};
  return {
    stoodAt: Object.fromEntries(
      LEVELS.flatMap((level) => {
        const at = stoodAt(record, level);
        return at === undefined ? [] : [[level, at]];
      }),
    ),
    full: { ...(full && { full: sizeOf(full) }), ...(base && { base: sizeOf(base) }) },
    ...(record.stock === undefined ? {} : { stored: storedOf(record.stock, disk) }),
  };
}

function sizeOf({ storedBytes, shrunk }: NonNullable<NonNullable<BackupRecord["sizes"]>["full"]>) {
  return { sizeBytes: storedBytes, shrunk: shrunk !== null };
}

function storedOf(
  { tiers, storedBytes, walBytes, oldestAt, newestAt }: NonNullable<BackupRecord["stock"]>,
  disk: DiskRoom | undefined,
): BackupStatus["stored"] {
  const [freeBytes, reserve] = disk === undefined ? [null, null] : [disk.freeBytes, reserveBytes(disk.totalBytes)];
  return { tiers, bytes: storedBytes, walBytes, oldestAt, newestAt, freeBytes, reserveBytes: reserve };
}

function countsOf({ pendingBytes, backups, storedBytes }: NonNullable<BackupRecord["copies"]>): BackupStatus["copies"] {
  return { pendingBytes, backups, storedBytes };
}
