/**
 * The action `restore`: unpacks a backup beside its target, proves it there, stops the bots, and puts it in place by renames
 * that a journal can finish or take back after a kill at any line. What was there is moved aside, never copied, never deleted.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, realpathSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { filesUnpacked } from "../../core/backup-unpacked.ts";
import { restoreJobSchema, type RestoreJob } from "../../core/restore-job.ts";
import { swapMoves, type Move, type RestoreJournal } from "../../core/restore-journal.ts";
import { ensureDir, syncDir } from "../../platform/files.ts";
import type { Lock } from "../../platform/lock.ts";
import { removeTree } from "../../platform/remove-tree.ts";
import { defineAction } from "../contract.ts";
import { failed, Failure } from "./failure.ts";
import { openReading, rawPath, refuseOtherKind, type Reading } from "./reading.ts";
import { Repository } from "./repository.ts";
import { keepBots, type Keeper } from "./restore-bots.ts";
import {
  asideName,
  discard,
  doMoves,
  finish,
  isThere,
  lockRestore,
  refuseHeld,
  rollBack,
  settleLocked,
  unmark,
  writeJournal,
} from "./restore-journal.ts";
import { kindOf, type RestoreKind } from "./restore-kinds.ts";
import { restoreDatabase } from "./pg-run.ts";
import { isPgJob } from "./pg-restore.ts";
import { isRecoverJob, recover, refuseNoBase } from "./pg-recover.ts";
import { settleDatabases } from "./pg-settle.ts";
import { refuseLittleRoom } from "./room.ts";
import { say, stopBots, tellFailure, tellRestored, type RestoreIo, type RestoreSteps } from "./restore-steps.ts";
import { requireTables, restoreTables } from "./restore-tables.ts";
import { freshFolder, readArchive, unpackArchive, unpackDatabase, unpackDump } from "./unpack.ts";

export const restoreAction = defineAction({ jobSchema: restoreJobSchema, run: restoreBackup });

/** Restores and returns the exit code; never throws. */
export async function restoreBackup(job: RestoreJob, io: RestoreIo): Promise<number> {
  const locks: Lock[] = [];
  try {
    if (isRecoverJob(job)) {
      refuseNoBase(job);
      locks.push(...takeLocks(job));
      await settleBefore(job, io);
      await recover(job, io);
      return BACKUP_EXIT.done;
    }
    const reading = openReading(job.from, job.target.name, job);
    refuseOtherKind(reading, job.target.kind);
    if (job.into.kind === "folder") {
      await restoreToFolder(job.into.path, reading, io);
      return BACKUP_EXIT.done;
    }
    locks.push(...takeLocks(job));
    await settleBefore(job, io);
    return isPgJob(job) ? await restoreDatabase(job, io, reading) : await restoreLocked(job, io, reading);
  } catch (error) {
    return failed(error, io.write);
  } finally {
    for (const lock of locks) lock.release();
  }
}

/** What an earlier restore of the target has left is ended first. */
async function settleBefore({ stateDir, target }: RestoreJob, io: RestoreIo): Promise<void> {
  const before = settleLocked(stateDir, target.name, io.clock);
  if (before?.outcome === "failed") throw new Failure("bots", before.detail);
  if (before?.outcome === "server" && target.kind === "postgres") await settleDatabases(target, stateDir, io.clock);
  io.onStep?.("locked");
}

/** Of the restores of this target, and of its backups, so that none is deleted meanwhile. */
function takeLocks({ stateDir, target, from }: RestoreJob): readonly Lock[] {
  const own = lockRestore(stateDir, target.name);
  if (own === undefined) throw new Failure("lock", `another restore of ${target.name} is under way`);
  if (from.kind === "file") return [own];
  const backups = new Repository(from.folder, target.name).lock();
  if (backups !== undefined) return [own, backups];
  own.release();
  throw new Failure("lock", `a backup or check of ${target.name} is under way; try again when it has ended`);
}

export interface RestoreRun extends RestoreSteps {
  readonly kind: RestoreKind;
}

async function restoreLocked(job: RestoreJob, io: RestoreIo, reading: Reading): Promise<number> {
  const kind = await kindOf(job.target, reading);
  const startedMs = io.clock.monotonicMs();
  // A bot that the restore will stop may have it open until then.
  if (job.bots.length === 0) refuse(() => refuseHeld(kind.watched()));
  const run: RestoreRun = { job, io, reading, kind, journal: beginJournal(job, io, reading, kind), startedMs };
  let keeper: Keeper | undefined;
  try {
    io.onStep?.("journaled");
    await unpack(run);
    if (job.into.kind === "tables") await requireTables(run, job.into.tables);
    io.onStep?.("unpacked");
    // Not earlier: without a daemon it holds the state folder, which an emergency close may need.
    keeper = await keepBots(job, io.clock);
    await stopBots(run, keeper, startOf(kind));
    await stopServer(run);
    refuse(() => refuseHeld(kind.watched()));
    const aside = job.into.kind === "tables" ? await restoreTables(run, job.into.tables) : await swap(run, keeper.up);
    tellRestored(run, aside, await keeper.start(keeper.up));
    return BACKUP_EXIT.done;
  } catch (error) {
    return await giveUp(run, keeper, error);
  } finally {
    keeper?.release();
  }
}

async function stopServer({ io, kind }: RestoreRun): Promise<void> {
  if (kind.startCommand !== undefined) say(io, "stopping the server");
  await kind.stop?.().catch((cause: unknown) => {
    throw Failure.of("bots", cause);
  });
}

function startOf({ startCommand }: RestoreKind): Pick<RestoreJournal, "start"> {
  return startCommand === undefined ? {} : { start: [...startCommand] };
}

function beginJournal(job: RestoreJob, io: RestoreIo, reading: Reading, kind: RestoreKind): RestoreJournal {
  const now = io.clock.wallTime();
  const stamp = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const id = `${stamp}-${randomBytes(3).toString("hex")}`;
  const parents = [...new Set(kind.places.map(({ live }) => dirname(live)))];
  const missing = parents.find((parent) => !existsSync(parent));
  if (missing !== undefined)
    throw new Failure("source", `there is no folder ${missing} to restore into; make it first`);
  const journal: RestoreJournal = {
    version: 1,
    id,
    target: job.target.name,
    backup: reading.label,
    snapshotAt: reading.snapshotAt,
    startedAt: now.toISOString(),
    phase: "prepared",
    into: job.into.kind === "tables" ? "tables" : "live",
    bots: job.bots,
    ...(kind.folder === undefined ? {} : { folder: kind.folder }),
    stopped: [],
    moves: [],
    strays: Object.fromEntries(kind.places.map(({ live, sidecars }) => [live, [...sidecars]])),
    scratch: parents.map((parent) => join(parent, `.restore-${id}`)),
    aside: job.into.kind === "tables" ? [] : parents.map((parent) => join(parent, asideName(id))),
  };
  for (const parent of parents) refuseFull(parent, reading);
  writeJournal(job.stateDir, journal);
  return journal;
}

/** Into scratch on the disks of the target, proven there. Nothing that lives is touched. */
async function unpack({ journal, kind, reading, io }: RestoreRun): Promise<void> {
  say(io, `unpacking and proving ${reading.label}`);
  for (const folder of journal.scratch) freshFolder(folder);
  await kind.unpack(reading, (live) => join(dirname(live), `.restore-${journal.id}`), io.write);
}

/** The renames, and their proof; returns the folders of what was there before. */
async function swap(
  { job, io, kind, journal, reading }: RestoreRun,
  stopped: readonly string[],
): Promise<readonly string[]> {
  const { stateDir } = job;
  const { id } = journal;
  const places = kind.places.map(({ live, sidecars }) => ({
    live,
    fresh: kind.fresh(live, join(dirname(live), `.restore-${id}`)),
    aside: join(dirname(live), asideName(id)),
    present: [live, ...sidecars].filter(isThere),
  }));
  for (const folder of journal.aside) freshFolder(folder);
  const swapping: RestoreJournal = {
    ...journal,
    phase: "swapping",
    stopped: [...stopped],
    moves: [...swapMoves(places)],
    ...startOf(kind),
  };
  const checked: RestoreJournal = { ...swapping, phase: "checked" };
  say(io, "moving what is there aside and the restored data in its place", true);
  writeJournal(stateDir, swapping);
  io.onStep?.("swapping");
  try {
    doMoves(swapping.moves, (move) => afterMove(move, swapping, io));
    io.onStep?.("swapped");
    await kind.check(reading);
    writeJournal(stateDir, checked);
  } catch (error) {
    throw new SwapError(swapping, error);
  }
  io.onStep?.("checked");
  try {
    finish(stateDir, checked, io.clock);
  } catch (error) {
    throw new UnfinishedError(error);
  }
  io.onStep?.("done");
  return checked.aside.filter(isThere);
}

/** A log that appears beside a file that was just moved aside is somebody's who must not be there. */
function afterMove({ from, to }: Move, { strays, moves }: RestoreJournal, io: RestoreIo): void {
  io.onStep?.("moved");
  const next = moves[moves.findIndex((move) => move.from === from && move.to === to) + 1];
  const stray = next === undefined ? undefined : strays[next.to]?.find(isThere);
  if (stray !== undefined) throw new Error(`${stray} has appeared: somebody uses it`);
}

/** It failed when some of the renames may have been done. */
class SwapError extends Error {
  readonly journal: RestoreJournal;

  constructor(journal: RestoreJournal, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.journal = journal;
  }
}

/** The restored data stands and is proven, and the rest cannot be written. */
class UnfinishedError extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Leaves what was there before, and the bots as they were. */
async function giveUp(
  { job, io, journal, kind }: RestoreRun,
  keeper: Keeper | undefined,
  error: unknown,
): Promise<number> {
  const startAgain = async (): Promise<readonly string[]> => [
    // The bots find their server when they start.
    ...(await startServer(kind)),
    ...((await keeper?.start(keeper.up)) ?? []),
  ];
  if (error instanceof UnfinishedError) {
    const reason = `the restored data is in its place, but what is left to do failed: ${error.message}; no bot is started, and the next command on backups tries again`;
    io.write({ kind: "failed", stage: "swap", reason });
    return BACKUP_EXIT.halfRolledBack;
  }
  if (!(error instanceof SwapError)) {
    discard(job.stateDir, journal);
    unmark(job.stateDir, journal);
    return tellFailure(error, await startAgain(), io);
  }
  try {
    await kind.stop?.();
    rollBack(job.stateDir, error.journal);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const reason = `the restore failed (${error.message}), and the old data cannot be put back: ${why}; it is in ${journal.aside.join(", ")}, no bot is started, and the next command on backups tries again`;
    io.write({ kind: "failed", stage: "swap", reason });
    return BACKUP_EXIT.halfRolledBack;
  }
  const failure = new Failure("swap", `${error.message}; the old data is in its place again`, { cause: error });
  return tellFailure(failure, await startAgain(), io);
}

async function startServer({ start }: RestoreKind): Promise<readonly string[]> {
  try {
    await start?.();
    return [];
  } catch (cause) {
    return [cause instanceof Error ? cause.message : String(cause)];
  }
}

function refuse(deed: () => void): void {
  try {
    deed();
  } catch (cause) {
    throw Failure.of("bots", cause);
  }
}

function refuseFull(folder: string, reading: Reading): void {
  const hint = "make room, or restore elsewhere with --to";
  refuseLittleRoom(folder, { bytes: reading.rawBytes, files: filesUnpacked(reading), reserveShare: 0.5, hint });
}

/** Into an empty folder, touching nothing else: made under a hidden name in it, and named when it is whole. */
async function restoreToFolder(folder: string, reading: Reading, io: RestoreIo): Promise<void> {
  const startedMs = io.clock.monotonicMs();
  ensureDir(folder);
  const place = realpathSync(folder);
  const other = readdirSync(place)[0];
  if (other !== undefined)
    throw new Failure("source", `${folder} is not empty: ${other} is there; name an empty folder`);
  refuseFull(place, reading);
  const scratch = join(place, ".restore");
  freshFolder(scratch);
  say(io, `unpacking and proving ${reading.label}`);
  if (reading.holds === "sqlite") await unpackDatabase(reading, rawPath(scratch, reading), io.write);
  else if (reading.holds === "postgres") await unpackDump(reading, rawPath(scratch, reading), io.write);
  else if (reading.holds === "redis") {
    const { proveDump } = await import("./redis-restore.ts");
    await proveDump(reading, join(scratch, "dump.rdb"));
  } else {
    await readArchive(reading);
    await unpackArchive(reading, scratch, undefined);
  }
  // A check may leave an empty log beside the database.
  const only = { sqlite: basename(rawPath(scratch, reading)), redis: "dump.rdb", tar: undefined, postgres: undefined }[
    reading.holds
  ];
  const leftover = (name: string): boolean => only !== undefined && name !== only;
  for (const name of readdirSync(scratch)) if (!leftover(name)) renameSync(join(scratch, name), join(place, name));
  removeTree(scratch);
  syncDir(place);
  const durationMs = Math.round(io.clock.monotonicMs() - startedMs);
  const common = { backup: reading.label, rawBytes: reading.rawBytes, durationMs };
  io.write({ kind: "restored", id: "", ...common, aside: [], marked: [], troubles: [] });
}
