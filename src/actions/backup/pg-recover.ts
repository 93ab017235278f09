/**
 * Recovers a PostgreSQL server to an instant, in a new data folder: the base, then the archived WAL up to that instant, played by a
 * server of our own that is ended in order. The living server is not touched.
 */
import { randomBytes } from "node:crypto";
import {
  createWriteStream,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Manifest } from "../../core/backup-manifest.ts";
import { bytesUnpacked, filesUnpacked } from "../../core/backup-unpacked.ts";
import { keptElsewhere, type PgBackRestSettings } from "../../core/pgbackrest.ts";
import type { RestoreJob } from "../../core/restore-job.ts";
import type { RestoreJournal } from "../../core/restore-journal.ts";
import { contiguousFrom, readSegment, systemOfControl } from "../../core/wal.ts";
import { archiveGetCommand } from "../../platform/pgbackrest.ts";
import type { ScratchServer } from "../../platform/postgres-scratch.ts";
import { scratchUser } from "../../platform/postgres-scratch.ts";
import { decodeStream } from "./encode.ts";
import { Failure } from "./failure.ts";
import { OWN_FILES, readDatabases, startOn, unpackBase } from "./pg-base.ts";
import { readPart, Repository } from "./repository.ts";
import { placeNow, restoreElsewhere } from "./pgbackrest.ts";
import { discard, doMoves, openJournal, rollBack, writeJournal } from "./restore-journal.ts";
import { say, type RestoreIo } from "./restore-steps.ts";
import { refuseLittleRoom } from "./room.ts";
import { freshFolder } from "./unpack.ts";
import { systemOfFile } from "./wal-archive.ts";
import { archiveFor } from "./wal-systems.ts";

/** The data folder as the server sees it. */
const FD_FOLDER = "/proc/self/fd/3";
/** Holds pg_control. */
const LAST_MOVED = "global";

/** The log's words of how far it came (xlogrecovery.c). */
const LAST = /last completed transaction was at log time ([^\n]+)/;
const TOO_SHORT = /recovery ended before configured recovery target was reached/;

type RecoverJob = RestoreJob & { readonly into: Extract<RestoreJob["into"], { kind: "instant" }> };

export function isRecoverJob(job: RestoreJob): job is RecoverJob {
  return job.into.kind === "instant";
}

/** Before anything is locked or made. Throws `Failure`. */
export function refuseNoBase({ from, target }: RecoverJob): void {
  if (from.kind !== "backup") throw new Failure("source", "a file leads to no other instant; leave --at out");
  if (!new Repository(from.folder, target.name).isThere())
    throw new Failure("source", `there is no folder of ${target.name} in ${from.folder}`);
}

/**
 * For who holds the locks of the target. Everything is made under a hidden name in the wanted folder and moved up by a journal, so
 * that a kill at any line leaves it whole or empty. Throws `Failure`; the folder is then removed again, or as it was.
 */
export async function recover(job: RecoverJob, io: RestoreIo): Promise<void> {
  const startedMs = io.clock.monotonicMs();
  const { at } = job.into;
  const base = openBase(job, io);
  const { path, madeHere } = prepare(job.into.path, base.manifest);
  const place = join(path, `.restore-${base.id}`);
  const journal = beginJournal(job, { ...base, place }, io);
  try {
    writeJournal(job.stateDir, journal);
    io.onStep?.("journaled");
    freshFolder(place);
    if (job.from.kind !== "backup") throw new Failure("source", "a file leads to no other instant");
    const { target, from, identity } = job;
    const recovery = { target, store: from.folder, backup: base, identity, at, into: job.into.path };
    const { reached, rows, short } = await recoverBase(recovery, place, io);
    io.onStep?.("unpacked");
    raise(job, { path, place, journal }, io);
    const durationMs = Math.round(io.clock.monotonicMs() - startedMs);
    const held = Object.entries(rows)
      .map(([database, tables]) => `${database}: ${Object.values(tables).reduce((sum, each) => sum + each, 0)} rows`)
      .join(", ");
    const [last, tookSeconds] = [new Date(reached).toISOString(), (durationMs / 1_000).toFixed(1)];
    const lostSeconds = (Math.max(0, Date.parse(at) - reached) / 1_000).toFixed(3);
    const loss =
      short === undefined
        ? `everything up to ${at} is in it, the last transaction of ${last} (RPO 0 s)`
        : `the last transaction in it is of ${last}, ${lostSeconds} s before the wanted instant (RPO)`;
    say(io, `${loss}; it took ${tookSeconds} s (RTO); ${held}`);
    const { manifest } = base;
    const common = { id: "", backup: manifest.id, rawBytes: manifest.raw.bytes, durationMs };
    io.write({ kind: "restored", ...common, aside: [], marked: [], troubles: short === undefined ? [] : [short] });
  } catch (cause) {
    const raised = openJournal(job.stateDir, job.target.name);
    // It stands, and the next command tidies up.
    if (raised?.phase === "checked") throw Failure.of("store", cause);
    if (raised?.phase === "swapping") rollBack(job.stateDir, raised);
    else discard(job.stateDir, journal);
    if (madeHere) rmSync(path, { recursive: true, force: true });
    // A program or a repository that is not there says nothing against the backup.
    throw cause instanceof Failure ? cause : (Failure.ofProof(cause) ?? Failure.of("verify", cause));
  }
}

interface OpenBase {
  /** Of this restore. */
  readonly id: string;
  readonly folder: string;
  readonly manifest: Manifest;
}

function openBase({ from, target }: RecoverJob, { clock }: RestoreIo): OpenBase {
  const all = from.kind === "backup" ? new Repository(from.folder, target.name).list().backups : [];
  const found = from.kind === "backup" ? all.find(({ id }) => id === from.id) : undefined;
  if (found?.manifest.kind !== "base") throw new Failure("source", "there is no such whole base backup any more");
  const stamp = clock
    .wallTime()
    .toISOString()
    .replace(/[-:]|\.\d+/g, "");
  return {
    id: `${stamp}-${randomBytes(3).toString("hex")}`,
    folder: found.folder,
    manifest: found.manifest,
  };
}

function beginJournal(
  { target }: RecoverJob,
  { id, manifest, place }: OpenBase & { readonly place: string },
  io: RestoreIo,
): RestoreJournal {
  return {
    version: 1,
    id,
    target: target.name,
    backup: manifest.id,
    snapshotAt: manifest.snapshotAt,
    startedAt: io.clock.wallTime().toISOString(),
    phase: "prepared",
    into: "folder",
    bots: [],
    stopped: [],
    moves: [],
    strays: {},
    scratch: [place],
    aside: [],
  };
}

export interface Recovery {
  readonly target: { readonly name: string; readonly pgbackrest?: PgBackRestSettings | undefined };
  /** Folder of the store. */
  readonly store: string;
  readonly backup: { readonly folder: string; readonly manifest: Manifest };
  readonly identity: string | undefined;
  readonly at: string;
  /** Where it will be, for people. */
  readonly into: string;
  /** Asks the recovered server, before it is ended. */
  readonly ask?: (server: ScratchServer) => Promise<void>;
}

/** The data of the base, the WAL since, played up to the instant, in a folder that is there and empty. Throws. */
export async function recoverBase(recovery: Recovery, place: string, io: Pick<RestoreIo, "write">): Promise<Played> {
  const { target, store, backup, identity, at, into, ask } = recovery;
  const { folder, manifest } = backup;
  say(io, `unpacking and proving ${manifest.id} in ${into}`);
  const made = keptElsewhere(manifest);
  if (made !== undefined) {
    const elsewhere = placeNow(made, target.pgbackrest);
    await restoreElsewhere(elsewhere, place);
    const restoreCommand = archiveGetCommand(elsewhere, FD_FOLDER);
    const upTo = `what ${elsewhere.stanza} has at pgBackRest`;
    return play(place, manifest, { at, io, restoreCommand, wal: { upTo, receivedAt: undefined }, ask });
  }
  const raw = decodeStream(manifest, { read: readPart.bind(undefined, folder), identity });
  await unpackBase(raw, place, manifest);
  const wal = await placeWal({ target: target.name, store, identity }, manifest, place);
  // What is archived lies in its folder already.
  return play(place, manifest, { at, io, restoreCommand: "/bin/false", wal, ask });
}

/** Moves what is whole up into the wanted folder; without `global`, which comes last, no server starts on it. */
function raise(
  { stateDir }: RecoverJob,
  { path, place, journal }: { readonly path: string; readonly place: string; readonly journal: RestoreJournal },
  io: RestoreIo,
): void {
  const user = scratchUser();
  if (user !== undefined) chownSync(path, user.uid, user.gid);
  const names = readdirSync(place).toSorted((a, b) => Number(a === LAST_MOVED) - Number(b === LAST_MOVED));
  const moves = names.map((name) => ({ from: join(place, name), to: join(path, name) }));
  const swapping: RestoreJournal = { ...journal, phase: "swapping", moves };
  writeJournal(stateDir, swapping);
  io.onStep?.("swapping");
  doMoves(moves, () => io.onStep?.("moved"));
  io.onStep?.("swapped");
  const checked: RestoreJournal = { ...swapping, phase: "checked" };
  writeJournal(stateDir, checked);
  io.onStep?.("checked");
  discard(stateDir, checked);
  io.onStep?.("done");
}

/** An empty folder for us alone. */
function prepare(path: string, manifest: Manifest): { readonly path: string; readonly madeHere: boolean } {
  let made = false;
  try {
    mkdirSync(path, { mode: 0o700 });
    made = true;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT")
      throw new Failure("store", `there is no folder ${dirname(path)} to make ${path} in; make it`);
    if (code !== "EEXIST") throw Failure.of("store", cause);
  }
  const other = readdirSync(path)[0];
  if (other !== undefined) throw new Failure("source", `${path} is not empty: ${other} is there; name an empty folder`);
  chmodSync(path, 0o700);
  const [bytes, files] = [bytesUnpacked(manifest), filesUnpacked(manifest)];
  refuseLittleRoom(path, { bytes, files, reserveShare: 0.5, hint: "the WAL comes on top of it" });
  return { path: realpathSync(path), madeHere: made };
}

interface PlacedWal {
  /** Name of the last segment that is there, and why no more, for people. */
  readonly upTo: string;
  /** Everything that was committed until then is in it, ms since 1970; `undefined`: nobody knows. */
  readonly receivedAt: number | undefined;
}

/** Puts the WAL since the base where the server finds it, of this server alone. */
async function placeWal(
  {
    target,
    store,
    identity,
  }: { readonly target: string; readonly store: string; readonly identity: string | undefined },
  { engine }: Manifest,
  path: string,
): Promise<PlacedWal> {
  const [segmentBytes, first] = [engine["walSegmentBytes"], engine["walStart"]];
  const start =
    typeof first === "string" && typeof segmentBytes === "number" ? readSegment(first, segmentBytes) : undefined;
  if (start === undefined || typeof segmentBytes !== "number")
    throw new Failure("verify", "the base does not say where its WAL begins");
  const systemId = systemOfControl(readFileSync(join(path, "global", "pg_control")));
  const archive = archiveFor(new Repository(store, target).folder, segmentBytes, systemId);
  const user = scratchUser();
  const give = (file: string): void => {
    chmodSync(file, 0o600);
    if (user !== undefined) chownSync(file, user.uid, user.gid);
  };
  const others = archive.others();
  const partial = others.flatMap(({ name }) => readSegment(name, segmentBytes) ?? []);
  const whole = archive.segments();
  const { usable, missing } = contiguousFrom([...whole, ...partial], start.number);
  let last = `before segment ${missing}`;
  let receivedAt: number | undefined;
  for (const { name } of usable) {
    const file = join(path, "pg_wal", name);
    const unfinished = whole.some((each) => each.name === name) ? undefined : others.find((each) => each.name === name);
    const read = unfinished === undefined ? archive.read(name, identity) : unfinished.read(identity);
    // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, they share a disk.
    await pipeline(read, createWriteStream(file, { mode: 0o600 }));
    const system = systemOfFile(file);
    if (system !== undefined && systemId !== undefined && system !== systemId) {
      rmSync(file);
      last = `${last}; ${name} is of another server, whose system identifier is ${system} and not ${systemId}`;
      break;
    }
    give(file);
    last = name;
    // A whole segment says nothing of what came after it.
    receivedAt = unfinished?.receivedAt?.getTime();
  }
  for (const { name, read } of others.filter((each) => each.name.endsWith(".history"))) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
    await pipeline(read(identity), createWriteStream(join(path, "pg_wal", name), { mode: 0o600 }));
    give(join(path, "pg_wal", name));
  }
  return { upTo: last, receivedAt };
}

interface PlayOptions {
  readonly at: string;
  readonly io: Pick<RestoreIo, "write">;
  readonly wal: PlacedWal;
  readonly restoreCommand: string;
  readonly ask: Recovery["ask"];
}

interface Played {
  readonly wal: PlacedWal;
  /** Of the last transaction that was played, ms since 1970. */
  readonly reached: number;
  /** Why not all of it was played. */
  readonly short: string | undefined;
  readonly rows: Awaited<ReturnType<typeof readDatabases>>;
}

/**
 * Lets a server play the WAL up to the instant. The target may lie behind the last transaction of all: then everything is played,
 * and the instant of the last transaction says how much that is.
 */
async function play(
  path: string,
  manifest: Manifest,
  { at, io, wal, restoreCommand, ask }: PlayOptions,
): Promise<Played> {
  const signal = join(path, "recovery.signal");
  // pgBackRest leaves one that nobody may write.
  rmSync(signal, { force: true });
  writeFileSync(signal, "");
  const user = scratchUser();
  if (user !== undefined) chownSync(signal, user.uid, user.gid);
  const settings = { restore_command: restoreCommand, recovery_target_action: "promote", wal_level: "replica" };
  say(io, `playing the WAL up to ${at}`);
  let server: ScratchServer;
  let short: string | undefined;
  try {
    server = await startOn(path, manifest, {
      ...settings,
      recovery_target_time: at.replace("T", " ").replace("Z", "+00"),
    });
  } catch (cause) {
    if (!(cause instanceof Error) || !TOO_SHORT.test(cause.message)) throw cause;
    short = `the WAL ends before ${at}, and all of it was played: nothing was committed since, or it is not archived (it goes up to ${wal.upTo})`;
    server = await startOn(path, manifest, settings);
  }
  try {
    const last = LAST.exec(server.log)?.[1];
    // A base in whose WAL nothing was committed holds the state of its own end.
    const reached = instantOf(last) ?? Date.parse(manifest.snapshotAt);
    const rows = await readDatabases(server, manifest);
    await ask?.(server);
    await server.stop("stop");
    for (const name of OWN_FILES) rmSync(join(path, name), { force: true });
    return { reached, rows, short, wal };
  } catch (cause) {
    await server.stop();
    throw cause;
  }
}

/** `2026-01-31 12:00:00.123+00` of the server's log. */
function instantOf(text: string | undefined): number | undefined {
  const ms = text === undefined ? Number.NaN : Date.parse(text.trim().replace(" ", "T").replace(/\+00$/, "Z"));
  return Number.isNaN(ms) ? undefined : ms;
}
