/** Files and folders of an installation: looked at without following links, written with mode and owner under a temporary name, renamed. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeFileSync,
  writeSync,
  type Stats,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { syncDir } from "./files.ts";

export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** Text, or the path of a file whose bytes are taken. */
export type Source = { readonly text: string } | { readonly copyOf: string };

const COPY_BYTES = 1_048_576;

/** Where a file is made before it gets its name; a run that was killed may leave it. */
export function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

/**
 * Writes `path` as a whole or not at all, also across a power cut. The temporary name is always the same, so that a run after one that
 * was killed leaves nothing beside it; its ending is one that logrotate(8) and systemd pass over. One process at a time.
 */
export function installFile(path: string, source: Source, mode: number, { uid, gid }: Ids): void {
  const temporary = temporaryOf(path);
  try {
    rmSync(temporary, { force: true });
    const fd = openSync(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      if ("text" in source) writeFileSync(fd, source.text);
      else copyInto(fd, source.copyOf);
      fchownSync(fd, uid, gid);
      fchmodSync(fd, mode);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncDir(dirname(path));
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw new Error(`cannot write ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function copyInto(fd: number, path: string): void {
  const from = openSync(path, constants.O_RDONLY);
  try {
    const chunk = Buffer.allocUnsafe(COPY_BYTES);
    for (let count = readSync(from, chunk); count > 0; count = readSync(from, chunk))
      for (let at = 0; at < count;) at += writeSync(fd, chunk, at, count - at);
  } finally {
    closeSync(from);
  }
}

/**
 * Makes one folder with exactly this mode and owner; its parent has to be there. As for a file: a folder that is there is whole.
 * Its first name cannot be foreseen, and owner and mode are given to what was opened, never to a link in its place.
 */
export function installFolder(path: string, mode: number, ids: Ids): void {
  const prefix = `${temporaryOf(path)}-`;
  let temporary: string | undefined;
  try {
    for (const name of readdirSync(dirname(path)))
      if (name.startsWith(basename(prefix))) dropEmpty(dirname(path), name);
    temporary = mkdtempSync(prefix);
    giveFolder(temporary, mode, ids);
    renameSync(temporary, path);
    syncDir(dirname(path));
  } catch (cause) {
    if (temporary !== undefined) dropEmpty(dirname(path), basename(temporary));
    throw new Error(`cannot make folder ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

function giveFolder(path: string, mode: number, { uid, gid }: Ids): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    fchownSync(fd, uid, gid);
    fchmodSync(fd, mode);
  } finally {
    closeSync(fd);
  }
}

/** What a run that was killed has left is empty; anything else is somebody's. */
function dropEmpty(folder: string, name: string): void {
  try {
    rmdirSync(join(folder, name));
  } catch {
    // It stays.
  }
}

/** Removes the file; `folderToo`: also its folder, where that holds nothing else. */
export function removeInstalled(path: string, folderToo: boolean): void {
  const folder = dirname(path);
  rmSync(path, { force: true });
  syncDir(folder);
  if (folderToo && readdirSync(folder).length === 0) rmdirSync(folder);
}

/** What is at the path itself, no link followed; `undefined`: nothing. Throws when it cannot be told. */
export function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && (cause.code === "ENOENT" || cause.code === "ENOTDIR"))
      return undefined;
    throw cause;
  }
}

/** What it is in words, for one that is not what it should be. */
export function kindOf(stats: Stats): string {
  if (stats.isFile()) return "a file";
  if (stats.isDirectory()) return "a folder";
  if (stats.isSymbolicLink()) return "a symbolic link";
  if (stats.isFIFO()) return "a FIFO";
  return stats.isSocket() ? "a socket" : "a device";
}

/** Whether the regular file has these very bytes. */
export function hasBytes(path: string, source: Source): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if ("copyOf" in source) return hasBytesOf(fd, source.copyOf);
    const wanted = Buffer.from(source.text);
    const { size } = fstatSync(fd);
    if (size !== wanted.length) return false;
    const found = Buffer.alloc(size);
    return size === 0 || (readSync(fd, found, 0, size, 0) === size && found.equals(wanted));
  } finally {
    closeSync(fd);
  }
}

function hasBytesOf(fd: number, path: string): boolean {
  const other = openSync(path, constants.O_RDONLY);
  try {
    if (fstatSync(fd).size !== fstatSync(other).size) return false;
    const [one, two] = [Buffer.allocUnsafe(COPY_BYTES), Buffer.allocUnsafe(COPY_BYTES)];
    for (;;) {
      const count = readSync(fd, one);
      // Two regular files of one size: a read is short at the end only.
      if (count !== readSync(other, two) || !one.subarray(0, count).equals(two.subarray(0, count))) return false;
      if (count === 0) return true;
    }
  } finally {
    closeSync(other);
  }
}
