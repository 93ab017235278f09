/** Unpacks what is restored into scratch beside its place, proven there, on the disk, with owner and mode as they shall be. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  createReadStream,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { Parser, type ReadEntry } from "tar";
import type { BackupLine } from "../../core/backup-job.ts";
import { syncDir } from "../../platform/files.ts";
import { newestProgram } from "../../platform/postgres-tools.ts";
import { feedProgram } from "../../platform/program-pipe.ts";
import { readContent } from "../../platform/sqlite.ts";
import { checkDatabase } from "../../platform/sqlite-check.ts";
import { checkFully } from "./check-database.ts";
import { Failure } from "./failure.ts";
import { feed, FILE_TYPES, isOutside, pathInTar, unpackTar } from "./files.ts";
import { startsOf } from "./pg-file.ts";
import { writeRawFile } from "./raw-file.ts";
import type { Reading } from "./reading.ts";
import { compareContent } from "./sqlite.ts";

/** Entries of an archive; a backup of ours has at most 100 000 files. */
const MAX_ENTRIES = 400_000;

type Write = (line: BackupLine) => void;

/** The database in a new file, proven by SQLite and by the manifest (L2). Throws `Failure`. */
export async function unpackDatabase(reading: Reading, file: string, write: Write): Promise<void> {
  await writeStream(reading, file, write);
  try {
    const findings = await (reading.stood ? checkDatabase(file, { quick: true }) : checkFully(file));
    if (findings.length > 0) throw new Error(findings.join("; "));
    const found = await readContent(file);
    if (reading.content !== undefined) compareContent({ content: reading.content }, found);
  } catch (cause) {
    throw new Failure("verify", `${reading.label} is no sound database: ${messageOf(cause)}`, { cause });
  }
}

/** A dump of PostgreSQL in a new file, read to its end by pg_restore where it is an archive. Throws `Failure`. */
export async function unpackDump(reading: Reading, file: string, write: Write): Promise<void> {
  await writeStream(reading, file, write);
  try {
    const { holds, stream } = await startsOf(createReadStream(file));
    if (holds === "archive")
      await feedProgram({ command: [newestProgram("pg_restore"), "-f", "/dev/null"], env: { LC_ALL: "C" } }, stream);
  } catch (cause) {
    throw new Failure("verify", `${reading.label} is no sound dump: ${messageOf(cause)}`, { cause });
  }
}

/** The raw stream in a new file, flushed. */
function writeStream(reading: Reading, file: string, write: Write): Promise<void> {
  const totalBytes = reading.rawBytes;
  const onProgress = (doneBytes: number): void => write({ kind: "progress", step: "restoring", doneBytes, totalBytes });
  return writeRawFile(readable(reading), file, { mode: 0o600, flush: true, onProgress });
}

/** The stream; what is wrong with it is a fault of what is stored. */
export async function* readable({ label, open }: Reading): AsyncGenerator<Uint8Array> {
  try {
    yield* open();
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const unread = Failure.ofProof(cause);
    if (unread !== undefined) throw new Failure(unread.stage, `cannot read ${label}: ${messageOf(cause)}`, { cause });
    throw new Failure("verify", `${label} is damaged: ${messageOf(cause)}`, { cause });
  }
}

/** Gives a new file the owner and mode of the one that it replaces, or of a database that only its owner may read. */
export function dressLike(file: string, live: string): void {
  const old = statSync(live, { throwIfNoEntry: false });
  const { uid, gid } = old ?? statSync(dirname(live));
  chmodSync(file, old === undefined ? 0o600 : old.mode & 0o7777);
  const now = statSync(file);
  if (now.uid === uid && now.gid === gid) return;
  try {
    chownSync(file, uid, gid);
    // Giving a file away takes bits off it.
    if (old !== undefined) chmodSync(file, old.mode & 0o7777);
  } catch (cause) {
    throw new Failure(
      "store",
      `cannot give ${file} to uid ${uid} and gid ${gid} as ${live} has: run the restore as root`,
      {
        cause,
      },
    );
  }
}

export interface Archive {
  /** Paths in the archive, without the first slash and the last. */
  readonly paths: readonly string[];
  readonly files: number;
}

/** What the archive holds; reads it to its end, so that nothing is written of one that is damaged. Throws `Failure`. */
export async function readArchive(reading: Reading): Promise<Archive> {
  const paths: string[] = [];
  let files = 0;
  const onReadEntry = (entry: ReadEntry): void => {
    if (FILE_TYPES.includes(entry.type)) files += 1;
    paths.push(pathInTar(entry.path));
    entry.resume();
  };
  try {
    await feed(readable(reading), new Parser({ strict: true, onReadEntry }));
  } catch (cause) {
    throw cause instanceof Failure
      ? cause
      : new Failure("verify", `${reading.label} is damaged: ${messageOf(cause)}`, { cause });
  }
  if (paths.length > MAX_ENTRIES)
    throw new Failure("verify", `${reading.label} holds more than ${MAX_ENTRIES} entries`);
  const outside = paths.find(isOutside);
  if (outside !== undefined)
    throw new Failure(
      "verify",
      `${reading.label} holds ${outside}, which leads out of the folder; nothing of it is unpacked`,
    );
  if (reading.content?.files !== undefined && reading.content.files !== files)
    throw new Failure("verify", `${reading.label} holds ${files} files instead of ${reading.content.files}`);
  return { paths, files };
}

/** Unpacks what lies at and below `only`, paths in the archive, into the folder; all of it for `undefined`. Flushed. */
export async function unpackArchive(
  reading: Reading,
  folder: string,
  only: readonly string[] | undefined,
): Promise<void> {
  const wanted = (path: string): boolean => only === undefined || only.some((each) => isWithin(path, each));
  const preserveOwner = process.getuid?.() === 0;
  try {
    await unpackTar(readable(reading), folder, { preserveOwner, wanted });
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const failure = Failure.of("verify", cause);
    throw new Failure(failure.stage, `cannot unpack ${reading.label}: ${messageOf(cause)}`, { cause });
  }
  syncTree(folder);
}

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The path as an archive of ours has it. */
export function inArchive(path: string): string {
  return relative("/", path);
}

/** A power cut after the renames must not leave names without their bytes. */
function syncTree(path: string): void {
  const stats = lstatSync(path);
  if (stats.isDirectory()) {
    for (const name of readdirSync(path)) syncTree(join(path, name));
    syncDir(path);
  } else if (stats.isFile()) {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/** A folder that must not exist yet, for us alone. */
export function freshFolder(path: string): void {
  mkdirSync(path, { mode: 0o700 });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
