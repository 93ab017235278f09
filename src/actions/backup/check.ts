/** The action `verify-backups`: proves stored backups again and remembers what was found beside them. */
import { BACKUP_EXIT, verifyJobSchema, type BackupLine, type VerifyJob } from "../../core/backup-job.ts";
import { withVerification } from "../../core/backup-manifest.ts";
import type { Clock } from "../../platform/clock.ts";
import { defineAction } from "../contract.ts";
import type { Proof } from "../../core/backup-record.ts";
import { failed, Failure } from "./failure.ts";
import { damagedOf } from "./kept.ts";
import { hadSuccess, writeProof } from "./record.ts";
import { Repository, type DamagedBackup, type StoredBackup } from "./repository.ts";
import { spanNow } from "./stock.ts";
import { verifyBackup } from "./verify.ts";

interface CheckIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

export const verifyAction = defineAction({ jobSchema: verifyJobSchema, run: checkBackups });

/** Returns the exit code; never throws. */
export async function checkBackups(job: VerifyJob, io: CheckIo): Promise<number> {
  const repository = new Repository(job.folder, job.target.name);
  try {
    if (!repository.isThere()) throw absence(job, repository);
    const lock = repository.lock();
    if (lock === undefined) throw new Failure("lock", `another deed on the backups of ${job.target.name} is under way`);
    try {
      return await checkLocked(job, io, repository);
    } finally {
      lock.release();
    }
  } catch (error) {
    return failed(error, io.write);
  }
}

/** Nobody has made a backup yet, or what was made is away. */
function absence({ record, target, ids }: VerifyJob, { folder }: Repository): Failure {
  if (ids.length > 0) return new Failure("source", `there is no backup ${ids.join(", ")}: ${folder} is not there`);
  // Without its record nobody knows.
  return record === undefined || hadSuccess(record)
    ? new Failure("source", `there is no folder ${folder}: is its disk mounted, was a backup ever made?`)
    : new Failure("verify", `no backup of ${target.name} is stored in ${folder}, which is not there`);
}

async function checkLocked(job: VerifyJob, io: CheckIo, repository: Repository): Promise<number> {
  const { backups, damaged } = repository.list();
  const wanted = chosen(job, backups, damaged);
  if (wanted.length + damaged.length === 0)
    throw new Failure("verify", `no backup of ${job.target.name} is stored in ${repository.folder}`);
  const all = job.ids.length > 0;
  const proofs: Proof[] = [];
  let faults = 0;
  for (const { id, reason } of damaged) {
    if (all && !job.ids.includes(id)) continue;
    faults += 1;
    io.write({ kind: "verified", id, level: job.level, ok: false, detail: reason });
  }
  for (const { id, folder, manifest, state } of wanted) {
    // One after the other: each unpacks as much as the disk gives.
    // oxlint-disable-next-line no-await-in-loop
    const verification = await verifyBackup({
      folder,
      manifest,
      level: job.level,
      scratch: repository.folder,
      identity: job.identity,
      checks: job.checks,
      unchangedAt: state.unchangedAt,
      clock: io.clock,
    });
    repository.writeState(id, withVerification(state, verification));
    if (!verification.ok) faults += 1;
    proofs.push({ id, at: verification.at, ok: verification.ok, detail: verification.detail });
    const { level, ok, detail, checks } = verification;
    io.write({ kind: "verified", id, level, ok, detail, ...(checks === undefined ? {} : { checks }) });
  }
  if (job.record !== undefined) {
    const now = repository.list();
    const seen = { damaged: damagedOf(now.backups, now.damaged), span: spanNow(now.backups, io.clock) };
    writeProof(job.record, job.level, proofs, seen);
  }
  return faults === 0 ? BACKUP_EXIT.done : BACKUP_EXIT.verification;
}

/** The whole ones of those named, or the newest that restores would take. Throws for a name that is not there. */
function chosen(
  { ids }: VerifyJob,
  backups: readonly StoredBackup[],
  damaged: readonly DamagedBackup[],
): readonly StoredBackup[] {
  if (ids.length === 0) return newestOfEach(backups);
  const found = backups.filter(({ id }) => ids.includes(id));
  const missing = ids.filter((id) => ![...backups, ...damaged].some((each) => each.id === id));
  if (missing.length > 0) throw new Failure("source", `there is no backup ${missing.join(", ")}`);
  return found;
}

/**
 * The newest full backup, since all that follows needs it, and the incremental one that is newer than that: its proof restores
 * what both make, but says nothing of the full one by itself. A base of a server says nothing of a dump.
 */
function newestOfEach(backups: readonly StoredBackup[]): readonly StoredBackup[] {
  const own = backups.filter(({ manifest }) => manifest.trigger !== "pre-restore");
  const full = own.findLast(({ manifest }) => manifest.kind === "full");
  const newest = own.findLast(({ manifest }) => manifest.kind !== "base");
  const base = own.findLast(({ manifest }) => manifest.kind === "base");
  return [full, newest === full ? undefined : newest, base].filter((each) => each !== undefined);
}
