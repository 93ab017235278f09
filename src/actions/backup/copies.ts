/**
 * The action `remote-backups`: sends backups to a bucket, shows, proves, thins out and fetches what is there. One deed on the
 * copies of a target at a time changes them: the lock lies beside their record, so a prefix belongs to one installation.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { BACKUP_EXIT, type BackupLine, type RemoteSummary } from "../../core/backup-job.ts";
import { isRefuted, provenLevel, readBackupId, type Manifest, refutation } from "../../core/backup-manifest.ts";
import type { Attempt, BackupRecord } from "../../core/backup-record.ts";
import { planCopies, remoteJobSchema, type RemoteDeed, type RemoteJob } from "../../core/backup-remote.ts";
import type { Kept } from "../../core/backup-retention.ts";
import { keptElsewhere } from "../../core/pgbackrest.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { tryLock } from "../../platform/lock.ts";
import { defineAction } from "../contract.ts";
import { failed, Failure } from "./failure.ts";
import { fetchCopy } from "./fetch.ts";
import { asKept } from "./kept.ts";
import { verifyCopies } from "./copies-verify.ts";
import { doomedOf } from "./prune.ts";
import { readRecord, writeRecord } from "./record.ts";
import { RemoteRepository, type RemoteBackup, type RemoteListing, type RemoteStep } from "./remote.ts";
import { manifestText, Repository, sumOf, type StoredBackup } from "./repository.ts";
import { Bucket } from "./s3.ts";
import { noteCopies } from "./stock.ts";
import { WalBucket } from "./wal-bucket.ts";
import { fetchWal } from "./wal-fetch.ts";

export interface RemoteIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** A step that has just been done; tests end the process there. */
  readonly onStep?: (step: RemoteStep) => void;
}

/** A copy that was broken off is of use to whoever goes on with it; after so long nobody will, ms. */
const UNFINISHED_MS = 2 * 86_400_000;
/** A line to the supervisor holds a megabyte; more tables are not named. */
const MAX_TABLES_CHARS = 100_000;
/** Tries of a probe: a person waits for it. */
const PROBE_TRIES = 2;

export const remoteAction = defineAction({ jobSchema: remoteJobSchema, run: runRemote });

/** Does one deed and returns the exit code; never throws. */
export async function runRemote(job: RemoteJob, io: RemoteIo): Promise<number> {
  try {
    await perform(job, io);
    return BACKUP_EXIT.done;
  } catch (error) {
    return failed(error, io.write);
  }
}

async function perform(job: RemoteJob, io: RemoteIo): Promise<void> {
  switch (job.deed) {
    case "copy":
      return withLock(job, () => copy(job, io));
    case "verify":
      return withLock(job, () => verifyCopies(openRemote(job, io), job, io));
    case "prune":
      return job.dryRun ? prune(job, io) : withLock(job, () => prune(job, io));
    case "look":
      return look(job, io);
    case "fetch":
      return fetch(job, io);
    case "probe":
      return probe(job, io);
  }
}

async function fetch(job: RemoteDeed<"fetch">, io: RemoteIo): Promise<void> {
  await fetchCopy(job, openRemote(job, io), io);
  const { until, into, target, remote, id } = job;
  if (until === undefined) return;
  const repository = new Repository(into, target);
  const manifest = repository.list().backups.find((each) => each.id === id)?.manifest;
  if (manifest === undefined) throw new Failure("verify", `${id} was fetched, and does not stand`);
  const bucket = new WalBucket(new Bucket(remote, { clock: io.clock }), remote, target);
  await fetchWal({ bucket, manifest, folder: repository.folder, write: io.write });
}

function openRemote({ remote, target }: RemoteJob, { clock, onStep }: RemoteIo): RemoteRepository {
  return new RemoteRepository(new Bucket(remote, { clock }), remote, target, onStep);
}

async function withLock(
  { record, target, store }: RemoteJob & { readonly record: string },
  deed: () => Promise<void>,
): Promise<void> {
  ensureDir(dirname(record), 0o750);
  const lock = tryLock(record.replace(/\.json$/, ".lock"));
  if (lock === undefined) throw new Failure("lock", `another deed on the copies of ${target} in ${store} is under way`);
  try {
    await deed();
  } finally {
    lock.release();
  }
}

/** What is known of a run that copies, for its record. */
interface Tally {
  pendingBytes: number;
  there: readonly RemoteBackup[];
  /** Copies that were found damaged at the begin; what is sent anew is in `there`. */
  damaged: RemoteListing["damaged"];
}

async function copy(job: RemoteDeed<"copy">, io: RemoteIo): Promise<void> {
  const startedMs = io.clock.monotonicMs();
  const tally: Tally = { pendingBytes: 0, there: [], damaged: [] };
  const note = (attempt: Attempt, upTo: string | null): void => {
    const known = attempt.kind === "success" ? job.unchangedAt : readRecord(job.record)?.copies?.unchangedAt;
    const unchanged = known === undefined ? {} : { unchangedAt: known };
    const copies = { upTo, ...unchanged, pendingBytes: tally.pendingBytes, ...totalsOf(tally.there) };
    writeRecord({ ...job, target: { name: job.target } }, io.clock, attempt, copies);
  };
  try {
    const remote = openRemote(job, io);
    await copyAll(job, remote, tally, io);
    const success = newestOf(tally.there, io.clock.wallTime(), Math.round(io.clock.monotonicMs() - startedMs));
    if (success !== undefined) note({ kind: "success", success }, job.newest);
    await pruneCopies(remote, tally, { ...job, dryRun: false, force: false }, io);
  } catch (error) {
    const failure = Failure.from(error);
    note(
      { kind: "failure", stage: failure.stage, reason: failure.message },
      readRecord(job.record)?.copies?.upTo ?? null,
    );
    throw failure;
  }
}

async function copyAll(job: RemoteDeed<"copy">, remote: RemoteRepository, tally: Tally, io: RemoteIo): Promise<void> {
  const repository = new Repository(job.folder, job.target);
  if (!repository.isThere()) throw new Failure("source", `there is no folder ${repository.folder} to copy from`);
  // Without its data a copy would be none.
  const local = repository.list().backups.filter(({ manifest }) => keptElsewhere(manifest) === undefined);
  const listing = await remote.list(local.map(({ id }) => id));
  tally.there = listing.backups;
  tally.damaged = listing.damaged;
  // What was begun is ended first: a copy that is half deleted may be wanted again.
  for (const id of listing.doomed) await remote.remove(id);
  const plan = planCopies(local.map(asKept), standing(listing.backups), job.retention, io.clock.wallTime().getTime());
  const byId = new Map(local.map((each) => [each.id, each]));
  const wanted = plan.send.map((id) => byId.get(id)).filter((each) => each !== undefined);
  tally.pendingBytes = wanted.reduce((sum, { manifest }) => sum + storedBytesOf(manifest), 0);
  const rotten = new Set([...plan.replace, ...listing.damaged.map(({ id }) => id)]);
  const faults: string[] = [];
  for (const backup of wanted) {
    // The newest is what counts most, and one that cannot be read must not keep the others back.
    const fault = await sendOne(remote, backup, rotten.has(backup.id), tally, io);
    if (fault !== undefined) faults.push(`${backup.id}: ${fault}`);
  }
  await tellUnchanged(remote, local, tally);
  for (const id of listing.unfinished)
    if (!plan.send.includes(id) && isForgotten(id, io.clock)) await remote.remove(id);
  if (faults.length > 0) throw new Failure("verify", `cannot copy ${faults.join("; ")}`);
}

/** What was learnt here of backups that are there: when the source was last seen to hold the same. */
async function tellUnchanged(remote: RemoteRepository, local: readonly StoredBackup[], tally: Tally): Promise<void> {
  const seen = new Map(local.map(({ id, state }) => [id, state.unchangedAt]));
  const there: RemoteBackup[] = [];
  for (const backup of tally.there) {
    const unchangedAt = seen.get(backup.id);
    if (unchangedAt === undefined || unchangedAt === backup.state.unchangedAt) there.push(backup);
    else {
      const state = { ...backup.state, unchangedAt };
      await remote.writeState(backup.id, state);
      there.push({ ...backup, state });
    }
  }
  tally.there = there;
}

/** Returns what is wrong with what is stored here; throws what is wrong with the other store. */
async function sendOne(
  remote: RemoteRepository,
  backup: StoredBackup,
  rotten: boolean,
  tally: Tally,
  io: RemoteIo,
): Promise<string | undefined> {
  const { id, folder, manifest } = backup;
  const state = { ...backup.state, copiedAt: io.clock.wallTime().toISOString() };
  const startedMs = io.clock.monotonicMs();
  const totalBytes = storedBytesOf(manifest);
  try {
    if (rotten) await remote.remove(id, manifest.parts);
    const sentBytes = await remote.send({ ...backup, state }, (doneBytes) =>
      io.write({ kind: "progress", step: "copying", doneBytes, totalBytes }),
    );
    tally.pendingBytes -= totalBytes;
    tally.there = [
      ...tally.there.filter((each) => each.id !== id),
      { id, manifest, state, manifestSha256: sumOf(manifestText(folder)) },
    ];
    io.write({ kind: "copied", id, sentBytes, durationMs: Math.round(io.clock.monotonicMs() - startedMs) });
    return undefined;
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    // The retention took it meanwhile: it is not wanted any more.
    if (existsSync(folder)) return cause instanceof Error ? cause.message : String(cause);
    io.write({ kind: "note", text: `${id} was deleted while it was copied` });
    return undefined;
  }
}

async function pruneCopies(
  remote: RemoteRepository,
  { there, damaged }: Pick<Tally, "there" | "damaged">,
  how: Pick<RemoteDeed<"prune">, "record" | "retention" | "dryRun" | "force">,
  io: RemoteIo,
): Promise<void> {
  const doomed = doomedOf(there, how, io);
  const parts = new Map(there.map(({ id, manifest }) => [id, manifest.parts]));
  // One after the other: deltas before their bases.
  for (const id of doomed) await remote.remove(id, parts.get(id));
  if (doomed.length > 0) io.write({ kind: "pruned", ids: [...doomed] });
  const left = there.filter(({ id }) => !doomed.includes(id));
  if (!how.dryRun) noteCopies(how, { there: left, damaged }, io.clock);
}

async function prune(job: RemoteDeed<"prune">, io: RemoteIo): Promise<void> {
  const remote = openRemote(job, io);
  const { backups, damaged, doomed } = await remote.list();
  if (!job.dryRun) for (const id of doomed) await remote.remove(id);
  await pruneCopies(remote, { there: backups, damaged }, job, io);
}

async function look(job: RemoteDeed<"look">, io: RemoteIo): Promise<void> {
  const { backups, damaged } = await openRemote(job, io).list(job.known);
  for (const { id, reason } of damaged) io.write({ kind: "found", id, damage: reason, backup: null });
  for (const backup of backups) io.write({ kind: "found", id: backup.id, damage: null, backup: summaryOf(backup) });
}

/** Lists, writes, reads and deletes, as a copy does. */
async function probe({ remote }: RemoteDeed<"probe">, { clock }: RemoteIo): Promise<void> {
  const bucket = new Bucket(remote, { clock, maxTries: PROBE_TRIES });
  const key = `${remote.prefix === "" ? "" : `${remote.prefix}/`}.check-${randomBytes(6).toString("hex")}`;
  const text = Buffer.from("written by supervisor config check --online, and deleted at once\n");
  await bucket.page(remote.prefix, 1);
  await bucket.put(key, text, { bytes: text.length, md5: createHash("md5").update(text).digest("base64") });
  try {
    if ((await bucket.get(key, text.length)) !== text.toString())
      throw new Failure("remote", `what was written to ${bucket.place} reads otherwise`);
  } finally {
    await bucket.remove(key);
  }
}

function summaryOf({ manifest, state }: RemoteBackup): RemoteSummary {
  const { type, kind, base, snapshotAt, createdAt, raw, codec, trigger, content } = manifest;
  const { tables } = content;
  const damage = refutation(state);
  return {
    type,
    ...(kind === "base" ? { physical: true } : {}),
    base,
    snapshotAt,
    ...(state.unchangedAt === undefined ? {} : { unchangedAt: state.unchangedAt }),
    createdAt,
    ...(state.copiedAt === undefined ? {} : { copiedAt: state.copiedAt }),
    trigger,
    rawBytes: raw.bytes,
    storedBytes: storedBytesOf(manifest),
    encrypted: codec.encrypt !== null,
    proven: provenLevel(state) ?? null,
    refuted: isRefuted(state),
    ...(damage === undefined ? {} : { damage }),
    pinned: state.pinned,
    tables: tables === undefined || JSON.stringify(tables).length > MAX_TABLES_CHARS ? null : tables,
  };
}

/** The copies as the retention judges them; one whose full backup is not there is none. */
function standing(backups: readonly RemoteBackup[]): readonly Kept[] {
  const whole = new Set(backups.filter(({ state }) => !isRefuted(state)).map(({ id }) => id));
  return backups.map((backup): Kept => {
    const orphan = backup.manifest.base !== null && !whole.has(backup.manifest.base);
    return orphan ? { ...asKept(backup), verified: false } : asKept(backup);
  });
}

function newestOf(
  there: readonly RemoteBackup[],
  now: Date,
  durationMs: number,
): NonNullable<BackupRecord["lastSuccess"]> | undefined {
  const proven = there.filter(({ state }) => provenLevel(state) !== undefined);
  const [newest] = proven.toSorted((a, b) => Date.parse(b.manifest.snapshotAt) - Date.parse(a.manifest.snapshotAt));
  if (newest === undefined) return undefined;
  const { id, manifest, state } = newest;
  return {
    at: now.toISOString(),
    id,
    snapshotAt: manifest.snapshotAt,
    ...(state.unchangedAt === undefined ? {} : { unchangedAt: state.unchangedAt }),
    durationMs,
    rawBytes: manifest.raw.bytes,
    storedBytes: storedBytesOf(manifest),
    level: provenLevel(state) ?? "L0",
  };
}

function totalsOf(there: readonly RemoteBackup[]): { readonly backups: number; readonly storedBytes: number } {
  return {
    backups: there.length,
    storedBytes: there.reduce((sum, { manifest }) => sum + storedBytesOf(manifest), 0),
  };
}

function isForgotten(id: string, clock: Clock): boolean {
  const stamp = readBackupId(id)?.stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z");
  return clock.wallTime().getTime() - Date.parse(stamp ?? "") > UNFINISHED_MS;
}

function storedBytesOf({ parts }: Pick<Manifest, "parts">): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
