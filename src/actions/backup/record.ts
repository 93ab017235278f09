/** Keeps the record of a target's backups (core/backup-record.ts); a record that is damaged begins anew, the old one set aside. */
import { dirname } from "node:path";
import type { BackupJob } from "../../core/backup-job.ts";
import { backupRecordSchema, withAttempt, type Attempt, type BackupRecord } from "../../core/backup-record.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir, readTextIfExists, setAside, writeFileAtomic } from "../../platform/files.ts";

/** A record is some hundred bytes. */
const MAX_RECORD_BYTES = 65_536;
/** Who may ask the daemon for its status may read what it shows. */
const RECORD_MODE = 0o640;

/** Adds an attempt to the record; never throws, since a backup that was made is one without its record too. */
export function writeRecord(job: BackupJob, clock: Clock, attempt: Attempt): void {
  try {
    ensureDir(dirname(job.record), 0o750);
    const names = { target: job.target.name, store: job.store, incremental: job.incremental };
    const record = withAttempt(readRecord(job.record), names, clock.wallTime().toISOString(), attempt);
    writeFileAtomic(job.record, `${JSON.stringify(record)}\n`, RECORD_MODE);
  } catch {
    // The backup itself is what counts; the next attempt writes the record again.
  }
}

/** A backup has succeeded here before, as far as the record tells. */
export function hadSuccess(path: string): boolean {
  try {
    return (readRecord(path)?.lastSuccess ?? null) !== null;
  } catch {
    // A record that cannot even be set aside says nothing.
    return false;
  }
}

function readRecord(path: string): BackupRecord | undefined {
  try {
    const text = readTextIfExists(path, MAX_RECORD_BYTES);
    return text === undefined ? undefined : backupRecordSchema.parse(JSON.parse(text));
  } catch (cause) {
    setAside(path, cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
}
