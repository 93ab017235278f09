/** Metrics of backups and drills, by target and store: from the records that their workers write, so that no restart resets them. */
import { STAGES } from "../core/backup-job.ts";
import { LEVELS } from "../core/backup-manifest.ts";
import { TIERS } from "../core/backup-retention.ts";
import type { BackupStatus } from "../core/status.ts";
import { counter, gauge, ofBackup, ofBackupBy, ofDrill, secondsOf, type Row } from "./metric-source.ts";

/** Where a backup or a copy of one fails: the others are of restores, and one that waits for another run is no failure. */
const BACKUP_STAGES = STAGES.filter((stage) => !["lock", "bots", "swap"].includes(stage));

/** Backups that are whole by themselves. */
const KINDS = ["full", "base"] as const;

export const BACKUP_METRICS: readonly Row[] = [
  gauge(
    "supervisor_backup_last_success_timestamp_seconds",
    "When the last backup of the target was stored and proven, in seconds since 1970.",
    ofBackup(({ lastSuccessAt }) => secondsOf(lastSuccessAt)),
  ),
  gauge(
    "supervisor_backup_last_attempt_timestamp_seconds",
    "When the last run ended, whatever came of it, in seconds since 1970; NaN before the first.",
    ofBackup(({ lastAttemptAt }) => secondsOf(lastAttemptAt)),
  ),
  gauge(
    "supervisor_backup_last_duration_seconds",
    "How long the last backup took, its proof included.",
    ofBackup(({ lastDurationSeconds }) => lastDurationSeconds),
  ),
  gauge(
    "supervisor_backup_last_size_bytes",
    "Stored bytes of the last backup.",
    ofBackup(({ sizeBytes }) => sizeBytes),
  ),
  gauge(
    "supervisor_backup_last_verification_success",
    "1 when the last backup stood its verification and was not found damaged since; 0 when it was, or there is none.",
    ofBackup(({ verified }) => Number(verified)),
  ),
  gauge(
    "supervisor_backup_last_verified_timestamp_seconds",
    "When a backup there last stood this level or a higher one, in seconds since 1970; NaN: none did.",
    ofBackupBy("level", LEVELS, ({ stoodAt }, level) => secondsOf(stoodAt?.[level])),
  ),
  gauge(
    "supervisor_backup_last_full_size_bytes",
    "Stored bytes of the newest backup that is whole by itself, by kind: full, and base of a PostgreSQL server; NaN: there is none, or it is a copy.",
    ofBackupBy("kind", KINDS, ({ full }, kind) => full?.[kind]?.sizeBytes ?? null),
  ),
  gauge(
    "supervisor_backup_shrunk",
    "1 when that one has less than half of the bytes of the one before it, in its data or, packed alike, in what is stored; NaN: there is none.",
    ofBackupBy("kind", KINDS, ({ full }, kind) => numberOf(full?.[kind]?.shrunk)),
  ),
  gauge(
    "supervisor_backup_kept",
    "Backups in the store after the last run or prune, each counted under the first rule that keeps it; other: pinned, of the minimum, and the like.",
    ofBackupBy("tier", TIERS, ({ stored }, tier) => stored?.tiers[tier] ?? null),
  ),
  gauge(
    "supervisor_backup_repo_bytes",
    "Bytes of all backups of the target in the store after the last run or prune, with archived WAL in a directory and what pgBackRest's repository has of them.",
    ofBackup(({ stored, wal }) =>
      stored === undefined ? null : stored.bytes + (wal?.archivedBytes ?? stored.walBytes ?? 0),
    ),
  ),
  gauge(
    "supervisor_backup_repo_free_bytes",
    "Free bytes on the disk of the store now; NaN of a bucket, and of a disk that is not there or does not answer.",
    ofBackup(({ stored }) => stored?.freeBytes ?? null),
  ),
  gauge(
    "supervisor_backup_repo_reserve_bytes",
    "Free bytes of that disk that backups leave alone; NaN of a bucket.",
    ofBackup(({ stored }) => stored?.reserveBytes ?? null),
  ),
  gauge(
    "supervisor_backup_oldest_recoverable_timestamp_seconds",
    "Instant of the oldest backup that is proven, in seconds since 1970; NaN: none is.",
    ofBackup(({ stored }) => secondsOf(stored?.oldestAt)),
  ),
  gauge(
    "supervisor_backup_newest_recoverable_timestamp_seconds",
    "Instant of the newest backup that is proven, or at which its source was last seen unchanged, or, with archived WAL, until which everything that was committed can be recovered, in seconds since 1970; NaN: there is none.",
    ofBackup(({ stored, wal }) => newer(secondsOf(stored?.newestAt), secondsOf(wal?.recoverableTo))),
  ),
  gauge(
    "supervisor_backup_overdue",
    "1 when a run of the schedule has not succeeded for more than an hour.",
    ofBackup(({ overdue }) => Number(overdue)),
  ),
  gauge(
    "supervisor_backup_pending_bytes",
    "Of a bucket: bytes that the last run left to be copied; NaN of a directory.",
    ofBackup(({ copies }) => copies?.pendingBytes ?? null),
  ),
  gauge(
    "supervisor_drill_last_success_timestamp_seconds",
    "When the last drill ended that restored everything within the objectives, in seconds since 1970; NaN: none did.",
    ofDrill(({ lastSuccessAt }) => secondsOf(lastSuccessAt)),
  ),
  gauge(
    "supervisor_drill_success",
    "1 when the last drill restored everything within the objectives, else 0; NaN before the first.",
    ofDrill(({ ok }) => (ok === null ? null : Number(ok))),
  ),
  gauge(
    "supervisor_drill_rto_seconds",
    "How long the last drill took to restore all targets.",
    ofDrill(({ rtoSeconds }) => rtoSeconds),
  ),
  gauge(
    "supervisor_drill_rpo_seconds",
    "How old the oldest of the data was that the last drill restored; NaN: a target was not restored.",
    ofDrill(({ rpoSeconds }) => rpoSeconds),
  ),
  gauge(
    "supervisor_drill_overdue",
    "1 when a drill of the schedule has not been done for more than an hour.",
    ofDrill(({ overdue }) => Number(overdue)),
  ),
  gauge(
    "supervisor_backup_slot_retained_bytes",
    "WAL that a PostgreSQL server keeps for us until it is archived; NaN of other targets.",
    ofBackup(({ wal }) => wal?.slotRetainedBytes ?? null),
  ),
  gauge(
    "supervisor_backup_wal_lag_bytes",
    "WAL that a PostgreSQL server has written and that was not received yet; NaN of other targets, and while nobody receives it.",
    ofBackup(({ wal }) => wal?.lagBytes ?? null),
  ),
  gauge(
    "supervisor_backup_wal_paused",
    "1 while no WAL is received since the disk of the store is full, and the PostgreSQL server keeps it; NaN of other targets.",
    ofBackup(({ wal }) => numberOf(wal?.paused)),
  ),
  gauge(
    "supervisor_backup_wal_gaps",
    "Gaps in the archived WAL since the newest base, behind which nothing can be recovered; of a bucket 1 for any since its oldest base; NaN of targets whose WAL does not go there.",
    ofBackup(gapsOf),
  ),
  gauge(
    "supervisor_backup_wal_waiting_segments",
    "Archived WAL segments that are not in every bucket yet; NaN of targets whose WAL goes to none.",
    ofBackup(({ wal }) =>
      wal?.copies === undefined ? null : Math.max(0, ...wal.copies.map(({ waiting }) => waiting)),
    ),
  ),
  counter(
    "supervisor_backup_failures_total",
    "Attempts that failed, by the stage in which they did.",
    ofBackupBy("stage", BACKUP_STAGES, ({ failuresByStage }, stage) => failuresByStage?.[stage] ?? 0),
  ),
];

function numberOf(claim: boolean | undefined): number | null {
  return claim === undefined ? null : Number(claim);
}

/** Either may be NaN. */
function newer(a: number, b: number): number {
  return Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.max(a, b);
}

/** The state of a bucket's WAL is told by the place that receives it. */
function gapsOf({ target, store, wal }: BackupStatus, all: readonly BackupStatus[]): number | null {
  if (wal !== undefined) return wal.gaps ?? null;
  const copies = all.flatMap((each) => (each.target === target ? (each.wal?.copies ?? []) : []));
  const gap = copies.find((each) => each.store === store)?.gap;
  return numberOf(gap);
}
