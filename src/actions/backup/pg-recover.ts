/**
 * Recovers a PostgreSQL server to an instant, in a new data folder: the base, then the archived WAL up to that instant, played by a
 * server of our own that is ended in order. The living server is not touched.
 */
import {
  createWriteStream,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Manifest } from "../../core/backup-manifest.ts";
import { reserveBytes } from "../../core/backup-room.ts";
import type { RestoreJob } from "../../core/restore-job.ts";
import { formatSize } from "../../core/size.ts";
import { contiguousFrom, readSegment } from "../../core/wal.ts";
import type { Lock } from "../../platform/lock.ts";
import type { ScratchServer } from "../../platform/postgres-scratch.ts";
import { scratchUser } from "../../platform/postgres-scratch.ts";
import { decodeStream } from "./encode.ts";
import { Failure } from "./failure.ts";
import { OWN_FILES, readDatabases, startOn, unpackBase } from "./pg-base.ts";
import { readPart, Repository } from "./repository.ts";
import { say, type RestoreIo } from "./restore-steps.ts";
import { WalArchive } from "./wal-archive.ts";

/** The log's words of how far it came (xlogrecovery.c). */
const LAST = /last completed transaction was at log time ([^\n]+)/;
const TOO_SHORT = /recovery ended before configured recovery target was reached/;

type RecoverJob = RestoreJob & { readonly into: Extract<RestoreJob["into"], { kind: "instant" }> };

export function isRecoverJob(job: RestoreJob): job is RecoverJob {
  return job.into.kind === "instant";
}

/** Throws `Failure`; the folder is then removed again, or left as it was. */
export async function recover(job: RecoverJob, io: RestoreIo): Promise<void> {
  const startedMs = io.clock.monotonicMs();
  const { path, at } = job.into;
  const { folder, manifest, lock } = openBase(job);
  let madeHere = false;
  try {
    madeHere = prepare(path, manifest);
  } catch (cause) {
    lock.release();
    throw cause;
  }
  try {
    say(io, `unpacking and proving ${manifest.id} in ${path}`);
    const raw = decodeStream(manifest, { read: readPart.bind(undefined, folder), identity: job.identity });
    await unpackBase(raw, path, manifest);
    const upTo = await placeWal(job, manifest, path);
    const { reached, rows, short } = await play(path, manifest, { at, io, upTo });
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
    const common = { id: "", backup: manifest.id, rawBytes: manifest.raw.bytes, durationMs };
    io.write({ kind: "restored", ...common, aside: [], marked: [], troubles: short === undefined ? [] : [short] });
  } catch (cause) {
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
    if (madeHere) rmSync(path, { recursive: true, force: true });
    throw cause instanceof Failure ? cause : Failure.of("verify", cause);
  } finally {
    lock.release();
  }
}

interface OpenBase {
  readonly folder: string;
  readonly manifest: Manifest;
  /** None of its backups is deleted meanwhile. */
  readonly lock: Lock;
}

function openBase({ from, target }: RecoverJob): OpenBase {
  if (from.kind !== "backup") throw new Failure("source", "a file leads to no other instant; leave --at out");
  const repository = new Repository(from.folder, target.name);
  const lock = repository.isThere() ? repository.lock() : undefined;
  if (lock === undefined)
    throw new Failure("lock", `a backup or check of ${target.name} is under way; try again when it has ended`);
  const found = repository.list().backups.find(({ id }) => id === from.id);
  if (found?.manifest.kind === "base") return { folder: found.folder, manifest: found.manifest, lock };
  lock.release();
  throw new Failure("source", `there is no whole base backup ${from.id} in ${from.folder}`);
}

/** An empty folder for us alone; says whether it was made here. */
function prepare(path: string, { raw }: Manifest): boolean {
  let made = false;
  try {
    mkdirSync(path, { mode: 0o700 });
    made = true;
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw Failure.of("store", cause);
  }
  const other = readdirSync(path)[0];
  if (other !== undefined) throw new Failure("source", `${path} is not empty: ${other} is there; name an empty folder`);
  chmodSync(path, 0o700);
  const { bsize, bavail, blocks } = statfsSync(path);
  const [free, reserve] = [bavail * bsize, reserveBytes(blocks * bsize)];
  if (free - raw.bytes < reserve / 2)
    throw new Failure(
      "space",
      `${path} has ${formatSize(free)} free, and ${formatSize(raw.bytes)} and the WAL are needed`,
    );
  return made;
}

/** Puts the WAL since the base where the server finds it; returns the name of the last segment that is there. */
async function placeWal({ from, target, identity }: RecoverJob, { engine }: Manifest, path: string): Promise<string> {
  const [segmentBytes, first] = [engine["walSegmentBytes"], engine["walStart"]];
  const start =
    typeof first === "string" && typeof segmentBytes === "number" ? readSegment(first, segmentBytes) : undefined;
  if (start === undefined || typeof segmentBytes !== "number" || from.kind !== "backup")
    throw new Failure("verify", "the base does not say where its WAL begins");
  const archive = new WalArchive(new Repository(from.folder, target.name).folder, segmentBytes);
  const user = scratchUser();
  const give = (file: string): void => {
    chmodSync(file, 0o600);
    if (user !== undefined) chownSync(file, user.uid, user.gid);
  };
  const others = archive.others();
  const partial = others.flatMap(({ name }) => readSegment(name, segmentBytes) ?? []);
  const whole = archive.segments();
  const { usable, missing } = contiguousFrom([...whole, ...partial], start.number);
  for (const { name } of usable) {
    const file = join(path, "pg_wal", name);
    const unfinished = others.find((each) => each.name === name);
    if (unfinished !== undefined && !whole.some((each) => each.name === name))
      // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, they share a disk.
      await copyFile(unfinished.path, file);
    // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
    else await pipeline(archive.read(name, identity), createWriteStream(file, { mode: 0o600 }));
    give(file);
  }
  for (const { name, path: history } of others.filter((each) => each.name.endsWith(".history"))) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
    await copyFile(history, join(path, "pg_wal", name));
    give(join(path, "pg_wal", name));
  }
  const last = usable.at(-1)?.name;
  return last ?? `before segment ${missing}`;
}

interface Played {
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
  { at, io, upTo }: { readonly at: string; readonly io: RestoreIo; readonly upTo: string },
): Promise<Played> {
  const signal = join(path, "recovery.signal");
  writeFileSync(signal, "");
  const user = scratchUser();
  if (user !== undefined) chownSync(signal, user.uid, user.gid);
  // What is archived lies in its folder already.
  const settings = { restore_command: "/bin/false", recovery_target_action: "promote", wal_level: "replica" };
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
    short = `the WAL ends before ${at}, and all of it was played: nothing was committed since, or it is not archived (it goes up to ${upTo})`;
    server = await startOn(path, manifest, settings);
  }
  try {
    const last = LAST.exec(server.log)?.[1];
    // A base in whose WAL nothing was committed holds the state of its own end.
    const reached = instantOf(last) ?? Date.parse(manifest.snapshotAt);
    const rows = await readDatabases(server, manifest);
    await server.stop("stop");
    for (const name of OWN_FILES) rmSync(join(path, name), { force: true });
    return { reached, rows, short };
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
