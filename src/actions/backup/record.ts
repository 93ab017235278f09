/** Keeps the record of a target's backups (core/backup-record.ts); a record that is damaged begins anew, the old one set aside. */
import { dirname } from "node:path";
import type { Level } from "../../core/backup-manifest.ts";
import {
  backupRecordSchema,
  withAttempt,
  withDamaged,
  withProof,
  type Attempt,
  type BackupRecord,
  type Proof,
} from "../../core/backup-record.ts";
import type { Span, Stock } from "../../core/backup-stock.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir, readTextIfExists, setAside, writeFileAtomic } from "../../platform/files.ts";

/** A record is some hundred bytes. */
const MAX_RECORD_BYTES = 65_536;
/** Who may ask the daemon for its status may read what it shows. */
const RECORD_MODE = 0o640;

type Damaged = NonNullable<BackupRecord["damaged"]>;

interface RecordOf {
  readonly record: string;
  readonly target: { readonly name: string };
  readonly store: string;
  readonly incremental?: boolean;
}

/** Adds an attempt to the record, and returns it; never throws, since a backup that was made is one without its record too. */
export function writeRecord(
  job: RecordOf,
  clock: Clock,
  attempt: Attempt,
  copies?: BackupRecord["copies"],
): BackupRecord | undefined {
  try {
    ensureDir(dirname(job.record), 0o750);
    const names = { target: job.target.name, store: job.store, incremental: job.incremental ?? false };
    const record = withAttempt(readRecord(job.record), names, clock.wallTime().toISOString(), attempt);
    const all = copies === undefined ? record : { ...record, copies };
    writeFileAtomic(job.record, `${JSON.stringify(all)}\n`, RECORD_MODE);
    return all;
  } catch {
    // The backup itself is what counts; the next attempt writes the record again.
    return undefined;
  }
}

/**
 * Remembers proofs, of which the last counts, which of the backups that are there are damaged, and between which instants the others
 * are; never throws. A target that was never backed up from here has no record.
 */
export function writeProof(
  path: string,
  asked: Level,
  proofs: readonly Proof[],
  { damaged, span }: { readonly damaged: Damaged; readonly span: Span },
): void {
  const last = proofs.find(({ ok }) => !ok) ?? proofs.at(-1);
  try {
    const record = readRecord(path);
    if (record === undefined) return;
    const proven = last === undefined ? record : withProof(record, asked, last);
    const stock = proven.stock && { stock: { ...proven.stock, ...span } };
    writeFileAtomic(path, `${JSON.stringify({ ...withDamaged(proven, damaged), ...stock })}\n`, RECORD_MODE);
  } catch {
    // What the backup's own state says is what counts.
  }
}

/** Remembers what is there, and returns what was; never throws. A target that was never backed up from here has no record. */
export function writeStock(path: string, stock: Stock, damaged: Damaged): Stock | undefined {
  try {
    const record = readRecord(path);
    if (record !== undefined)
      writeFileAtomic(path, `${JSON.stringify({ ...withDamaged(record, damaged), stock })}\n`, RECORD_MODE);
    return record?.stock;
  } catch {
    // The next run writes it again.
    return undefined;
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

/** `undefined` before the first attempt. Throws when a damaged record cannot be set aside. */
export function readRecord(path: string): BackupRecord | undefined {
  try {
    const text = readTextIfExists(path, MAX_RECORD_BYTES);
    return text === undefined ? undefined : backupRecordSchema.parse(JSON.parse(text));
  } catch (cause) {
    setAside(path, cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
}
