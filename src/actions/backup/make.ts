/**
 * The action `backup`: one backup of one target. Everything is made and proven under a hidden name in the repository, and
 * appears by one rename; a kill at any line leaves what was there before. Old backups go only after a success.
 */
import { createHash, randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { BACKUP_EXIT, backupJobSchema, type BackupJob, type BackupLine } from "../../core/backup-job.ts";
import { backupId, emptyState, withVerification, type BackupKind, type Manifest } from "../../core/backup-manifest.ts";
import type { Attempt, BackupRecord } from "../../core/backup-record.ts";
import { sizesOf } from "../../core/pgbackrest.ts";
import { formatSize } from "../../core/size.ts";
import type { Clock } from "../../platform/clock.ts";
import { releaseProgramPages } from "../../platform/memory.ts";
import { defineAction } from "../contract.ts";
import { findBasis, type Basis } from "./basis.ts";
import { markOrphans, removeGone } from "./elsewhere.ts";
import { storeStream, type Stored } from "./encode.ts";
import { failed, Failure, type Stage } from "./failure.ts";
import { PAGE_TABLE } from "./pages.ts";
import { refuseNoRoom, sharersIn } from "./precheck.ts";
import { pruneLocked } from "./prune.ts";
import { hadSuccess, writeRecord } from "./record.ts";
import { Repository, type Draft } from "./repository.ts";
import { refuseFullDisk } from "./room.ts";
import type { Captured, Source } from "./source.ts";
import { openSource } from "./sources.ts";
import { markOf } from "./source-mark.ts";
import { noteStock } from "./stock.ts";
import { proveUnchanged, type UnchangedStep } from "./unchanged.ts";
import { verifyBackup } from "./verify.ts";

export interface BackupIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** A step that has just been done; tests end the process there. */
  readonly onStep?: (step: BackupStep | UnchangedStep) => void;
}

export const BACKUP_STEPS = ["locked", "begun", "captured", "stored", "verified", "published", "pruned"] as const;
export type BackupStep = (typeof BACKUP_STEPS)[number];

type Success = NonNullable<BackupRecord["lastSuccess"]>;

export const backupAction = defineAction({ jobSchema: backupJobSchema, run: makeBackup });

/** Makes one backup and returns the exit code; never throws. */
export async function makeBackup(job: BackupJob, io: BackupIo): Promise<number> {
  const repository = new Repository(job.folder, job.target.name);
  // One before a restore is no run of the schedule, and nothing that status may show as the last good one.
  const record = (attempt: Attempt): BackupRecord | undefined =>
    job.trigger === "pre-restore" ? undefined : writeRecord(job, io.clock, attempt);
  try {
    await stage("store", async () => makeFolder(job, repository));
    const lock = await stage("store", async () => repository.lock());
    if (lock === undefined)
      throw new Failure("lock", `another backup, restore or check of ${job.target.name} is under way`);
    try {
      io.onStep?.("locked");
      const orphans = await stage("prune", () => markOrphans(openSource(job.target), repository));
      const success = await makeLocked(job, io, repository);
      noteSuccess(success, record, io);
      if (orphans !== undefined) throw new Failure("prune", orphans);
      await prune(job, io, repository);
    } finally {
      const { retention } = job;
      if (job.trigger !== "pre-restore" && retention !== null) noteStock({ ...job, retention }, repository, io);
      lock.release();
    }
    return BACKUP_EXIT.done;
  } catch (error) {
    const failure = Failure.from(error);
    // Who holds the lock writes the record: a run that was not needed is no failure of the backup.
    if (failure.stage !== "lock") record({ kind: "failure", stage: failure.stage, reason: failure.message });
    return failed(failure, io.write);
  }
}

function noteSuccess(
  { success, made }: Done,
  record: (attempt: Attempt) => BackupRecord | undefined,
  io: BackupIo,
): void {
  if (made === undefined) record({ kind: "success", success, unchanged: true });
  else tellShrunk(record({ kind: "success", success, made }), success, io);
}

/** A table that was lost is found where its backup is, too: by its size. */
function tellShrunk(record: BackupRecord | undefined, { id }: Success, { write }: BackupIo): void {
  const size = Object.values(record?.sizes ?? {}).find((each) => each.id === id);
  if (size?.shrunk == null) return;
  const { fromBytes, toBytes } = size.shrunk;
  write({
    kind: "alarm",
    text: `${id} has ${formatSize(toBytes)}, less than half of the ${formatSize(fromBytes)} of the one before: look whether data was lost before older backups go`,
  });
}

/** Only before the first success: a folder that has gone since is a disk that is not mounted, and another would hide that. */
function makeFolder(job: BackupJob, repository: Repository): void {
  if (!repository.isThere() && hadSuccess(job.record))
    throw new Failure(
      "store",
      `the folder ${repository.folder} is not there, and ${job.target.name} was backed up to it before: mount its disk; or, if the store begins anew, make the folder (mkdir -p ${repository.folder})`,
    );
  repository.make();
}

/** What a run has done: `made` is how it packed the backup that it made; `undefined`: one that is there holds the same. */
interface Done {
  readonly success: Success;
  readonly made?: Pick<BackupJob, "compress">;
}

async function makeLocked(job: BackupJob, io: BackupIo, repository: Repository): Promise<Done> {
  const [startedMs, at] = [io.clock.monotonicMs(), io.clock.wallTime()];
  const source = openSource(job.target);
  // Before it is read: what is written in between makes the next mark another one.
  const mark = await markOf(job, source, at);
  if (job.trigger === "schedule") {
    const success = await stage("verify", () => proveUnchanged(job, repository, { mark, at, startedMs }, io));
    if (success !== undefined) return { success };
  }
  return { success: await makeNew(job, io, repository, { source, mark, startedMs }), made: job };
}

async function makeNew(
  job: BackupJob,
  io: BackupIo,
  repository: Repository,
  {
    source,
    mark,
    startedMs,
  }: { readonly source: Source; readonly mark: string | undefined; readonly startedMs: number },
): Promise<Success> {
  const room = await stage("source", source.measure);
  refuseNoRoom(job, repository, room);
  const [startedAt, random] = [io.clock.wallTime().toISOString(), randomBytes(3).toString("hex")];
  const idOf = (kind: BackupKind): string => backupId(job.target.name, kind, startedAt, random);
  const draft = repository.begin(idOf("full"));
  try {
    io.onStep?.("begun");
    // What the start has read of our own program is not needed again.
    releaseProgramPages();
    const basis = job.incremental ? basisIn(repository, io) : undefined;
    const filled = await fill(job, io, { draft, source, idOf, startedMs, basis, rawBytes: room.rawBytes });
    const manifest: Manifest = mark === undefined ? filled : { ...filled, sourceMark: mark };
    const level = job.verify;
    const verification = await verifyBackup({
      folder: draft.folder,
      manifest,
      level,
      scratch: draft.folder,
      identity: job.identity,
      clock: io.clock,
    });
    if (!verification.ok)
      throw new Failure("verify", `what was stored does not stand ${level}: ${verification.detail}`);
    io.onStep?.("verified");
    await stage("publish", async () => draft.publish(manifest, withVerification(emptyState, verification)));
    io.onStep?.("published");
    const { rawBytes, storedBytes } = sizesOf(manifest);
    const durationMs = Math.round(io.clock.monotonicMs() - startedMs);
    const { id } = manifest;
    io.write({ kind: "stored", id, rawBytes, storedBytes, durationMs, level });
    const { snapshotAt } = manifest;
    return { at: io.clock.wallTime().toISOString(), id, snapshotAt, durationMs, rawBytes, storedBytes, level };
  } finally {
    draft.discard();
  }
}

/** Only after a success, so that a backup that fails for weeks never costs the last good ones. */
async function prune({ retention, target }: BackupJob, io: BackupIo, repository: Repository): Promise<void> {
  if (retention !== null)
    await stage("prune", async () => {
      await removeGone(openSource(target), repository, io.write);
      pruneLocked(repository, { retention, dryRun: false, force: false }, io);
    });
  io.onStep?.("pruned");
}

/** Reads the source and stores it; returns the manifest, which is not written yet. */
async function fill(
  job: BackupJob,
  io: BackupIo,
  at: {
    readonly draft: Draft;
    readonly source: Source;
    readonly idOf: (kind: BackupKind) => string;
    readonly startedMs: number;
    readonly basis: Basis | undefined;
    /** What the source was measured to have. */
    readonly rawBytes: number;
  },
): Promise<Manifest> {
  const { draft, source, idOf, startedMs, basis, rawBytes } = at;
  const { signal } = new AbortController();
  const sharers = sharersIn(job);
  const onProgress = (progress: { step: string; doneBytes: number; totalBytes: number }): void =>
    io.write({ kind: "progress", ...progress });
  const captured = await stage("source", () =>
    source.capture({
      scratch: draft.scratch,
      signal,
      now: () => io.clock.wallTime(),
      onProgress: (progress) => {
        // A copy of the source lies on this disk meanwhile.
        refuseFullDisk(draft.folder, sharers);
        onProgress(progress);
      },
      basis,
    }),
  );
  if (captured.instead !== undefined) noteFull(io, captured.instead);
  io.onStep?.("captured");
  const { compress, recipients } = job;
  const stored = await stage("store", () =>
    storeStream(captured.raw, {
      folder: draft.folder,
      compress,
      recipients,
      signal,
      wide: true,
      onProgress: (doneBytes) => {
        refuseFullDisk(draft.folder, sharers);
        onProgress({ step: "storing", doneBytes, totalBytes: Math.max(doneBytes, rawBytes) });
      },
    }),
  );
  const facts = await stage("source", captured.facts);
  const pageTable = await stage("store", async () => keepPageTable(captured, draft));
  // What the proof unpacks takes its room.
  draft.discardScratch();
  io.onStep?.("stored");
  return {
    version: 1,
    id: idOf(captured.kind),
    target: job.target.name,
    type: job.target.kind,
    ...described(captured),
    trigger: job.trigger,
    createdAt: io.clock.wallTime().toISOString(),
    durationMs: Math.round(io.clock.monotonicMs() - startedMs),
    tool: job.tool,
    host: hostname(),
    origin: source.origin,
    raw: rawOf(captured, stored),
    codec: { compress, encrypt: recipients.length > 0 ? "age" : null, recipients },
    parts: [...stored.parts],
    ...facts,
    ...pageTable,
  };
}

function basisIn(repository: Repository, io: BackupIo): Basis | undefined {
  const basis = findBasis(repository);
  if (typeof basis !== "string") return basis;
  noteFull(io, basis);
  return undefined;
}

function noteFull(io: BackupIo, reason: string): void {
  io.write({ kind: "note", text: `a full backup is made instead of an incremental one: ${reason}` });
}

function rawOf({ rawName: name }: Captured, { bytes, crc32, xxh64 }: Stored): Manifest["raw"] {
  return { name, bytes, crc32, ...(xxh64 === undefined ? {} : { xxh64 }) };
}

function keepPageTable({ pageTable }: Captured, draft: Draft): Pick<Manifest, "pageTable"> {
  const hashes = pageTable?.();
  if (hashes === undefined) return {};
  draft.keep(PAGE_TABLE, hashes);
  const sha256 = createHash("sha256").update(hashes).digest("hex");
  return { pageTable: { name: PAGE_TABLE, bytes: hashes.length, sha256 } };
}

function described({ kind, base, snapshotAt }: Captured): Pick<Manifest, "kind" | "base" | "snapshotAt"> {
  return { kind, base, snapshotAt: snapshotAt.toISOString() };
}

/** Names the stage in which a deed failed, unless it did so itself. */
async function stage<Value>(name: Stage, deed: () => Promise<Value>): Promise<Value> {
  try {
    return await deed();
  } catch (error) {
    throw error instanceof Failure ? error : Failure.of(name, error);
  }
}
