/**
 * The mark of a source: a checksum of what changes whenever it does, taken before it is read, so that two equal marks mean
 * that nothing was written from the first to the second. It is in the manifest; what it was made of is nowhere.
 *
 * The times of a file say nothing of a write within the same tick of its file system's clock, as in git's index ("racy git"):
 * a file that was written a moment ago has no mark. Nor has one on a file system whose times and sizes may be old or made up.
 */
import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  statfsSync,
  type BigIntStats,
} from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import type { BackupJob } from "../../core/backup-job.ts";
import { networkFileSystem } from "../../core/state-tables.ts";
import type { Source } from "./source.ts";

/** Coarsest clock of a file system that is in use: FAT's. */
const SETTLED_MS = 2_000;
const CHUNK_BYTES = 1_024 ** 2;

/** Also of all that decides how a backup looks. `undefined`: nobody can be sure that an equal one means the same data. */
export async function markOf(
  { target, compress, recipients, tool }: Pick<BackupJob, "target" | "compress" | "recipients" | "tool">,
  source: Source,
  now: Date,
): Promise<string | undefined> {
  try {
    const facts = await source.facts?.(now);
    if (facts === undefined) return undefined;
    const named = { ...target, password: undefined };
    const look = {
      version: 1,
      host: hostname(),
      tool,
      target: named,
      compress,
      recipients: recipients.toSorted(),
      facts,
    };
    return createHash("sha256").update(JSON.stringify(look)).digest("hex");
  } catch {
    // What cannot be read now, the run finds out by itself.
    return undefined;
  }
}

/** Length of the header of a database file, and of a log's (https://sqlite.org/fileformat.html). */
const DATABASE_HEAD_BYTES = 100;
const WAL_HEAD_BYTES = 32;
/** Both copies of the header of the log's index: counter, length and salts of the last commit (https://sqlite.org/walformat.html). */
const INDEX_HEAD_BYTES = 96;
/** First bytes of a journal whose transaction has not ended. */
const JOURNAL_MAGIC = "d9d505f920a163d7";

/**
 * Every commit changes the counter in the header of the database, or in the log's index, which is read from the pages that
 * are mapped by the writers; SQLite itself writes database and log by pwrite(2) alone, which moves their times. Call while
 * this process has the database not open: closing a file drops all locks of its process on it (fcntl(2)).
 */
export function sqliteFacts(path: string, now: Date): object | undefined {
  const database = realpathSync(path);
  // A file may be mounted by itself, as into a container; its log lies in the folder.
  const places = [database, dirname(database)];
  if (places.some((place) => networkFileSystem(statfsSync(place).type) !== undefined)) return undefined;
  if (headOf(`${database}-journal`, JOURNAL_MAGIC.length / 2)?.head === JOURNAL_MAGIC) return undefined;
  const main = headOf(database, DATABASE_HEAD_BYTES);
  const log = headOf(`${database}-wal`, WAL_HEAD_BYTES);
  // Whoever opens the database may make an empty log, and an index of nothing.
  const wal = log === undefined || log.stats.size === 0n ? undefined : log;
  const index = wal === undefined ? undefined : headOf(`${database}-shm`, INDEX_HEAD_BYTES);
  const files = [main, wal].filter((each) => each !== undefined);
  if (main === undefined || !files.every(({ stats }) => isSettled(stats, now))) return undefined;
  return { files: files.map(({ stats, head }) => [database, ...shapeOf(stats), head]), index: index?.head ?? null };
}

/** Its first bytes in hexadecimal; `undefined` when it is not there. */
function headOf(path: string, bytes: number): { readonly stats: BigIntStats; readonly head: string } | undefined {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  const fd = openSync(path, "r");
  try {
    const stats = fstatSync(fd, { bigint: true });
    const buffer = Buffer.alloc(bytes);
    return { stats, head: buffer.subarray(0, readSync(fd, buffer, 0, bytes, 0)).toString("hex") };
  } finally {
    closeSync(fd);
  }
}

/**
 * Every file, link and folder at and below the paths; with `contents` also the bytes of the files, which a program may write
 * through a mapping without moving their times. More than `maxFiles` have no mark.
 */
export function filesFacts(
  paths: readonly string[],
  { now, contents, maxFiles }: { readonly now: Date; readonly contents: boolean; readonly maxFiles: number },
): object | undefined {
  const sum = createHash("sha256");
  const devices = new Set<bigint>();
  let files = 0;
  for (const path of paths)
    for (const [at, stats] of walk(path)) {
      files += 1;
      if (files > maxFiles || !isSettled(stats, now)) return undefined;
      // A link is not followed: it lies where its folder does.
      const place = stats.isSymbolicLink() ? dirname(at) : at;
      if (!devices.has(stats.dev) && networkFileSystem(statfsSync(place).type) !== undefined) return undefined;
      devices.add(stats.dev);
      const link = stats.isSymbolicLink() ? readlinkSync(at) : null;
      const read = contents && stats.isFile() ? sumOf(at) : null;
      note(sum, [at, ...shapeOf(stats), stats.mode, stats.uid, stats.gid, stats.rdev, link, read]);
    }
  return { files, sha256: sum.digest("hex") };
}

function note(sum: Hash, values: readonly (string | bigint | null)[]): void {
  sum.update(`${JSON.stringify(values.map((value) => (typeof value === "bigint" ? String(value) : value)))}\n`);
}

/** Links are not followed; the names of a folder come in one order. */
function* walk(path: string): Generator<readonly [string, BigIntStats]> {
  const stats = lstatSync(path, { bigint: true });
  yield [path, stats];
  if (stats.isDirectory()) for (const name of readdirSync(path).toSorted()) yield* walk(join(path, name));
}

/** Beside times, sizes and SHA-256 of all that, a fast checksum will do: nobody forges a file of their own. */
function sumOf(path: string): string {
  const fd = openSync(path, "r");
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  try {
    let sum = 0n;
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer))
      sum = Bun.hash.xxHash64(buffer.subarray(0, count), sum);
    return sum.toString(16);
  } finally {
    closeSync(fd);
  }
}

/** What tells one writing of a file from every other. */
function shapeOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): readonly string[] {
  return [dev, ino, size, mtimeNs, ctimeNs].map(String);
}

/** Also false for a time of the future: the clock has been set back, and may come by that instant again. */
function isSettled({ mtimeMs, ctimeMs }: BigIntStats, now: Date): boolean {
  return [mtimeMs, ctimeMs].every((ms) => now.getTime() - Number(ms) >= SETTLED_MS);
}
