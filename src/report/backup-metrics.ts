/** Metrics of backups and drills, by target and store: from the records that their workers write, so that no restart resets them. */
import { counter, gauge, ofBackup, ofDrill, secondsOf, type Row } from "./metric-source.ts";

export const BACKUP_METRICS: readonly Row[] = [
  gauge(
    "supervisor_backup_last_success_timestamp_seconds",
    "When the last backup of the target was stored and proven, in seconds since 1970.",
    ofBackup(({ lastSuccessAt }) => secondsOf(lastSuccessAt)),
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
    "1 when the last backup stood its verification; 0 when there is none that did.",
    ofBackup(({ verified }) => Number(verified)),
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
    "supervisor_backup_wal_waiting_segments",
    "Archived WAL segments that are not in every bucket yet; NaN of targets whose WAL goes to none.",
    ofBackup(({ wal }) =>
      wal?.copies === undefined ? null : Math.max(0, ...wal.copies.map(({ waiting }) => waiting)),
    ),
  ),
  counter(
    "supervisor_backup_failures_total",
    "Attempts that failed.",
    ofBackup(({ failures }) => failures),
  ),
];
