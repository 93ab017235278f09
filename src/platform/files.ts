/** Files that survive a crash on any line: written aside, fsynced, renamed, and the folder fsynced (rename(2), fsync(2)). */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";

/** Damaged copies of one file set aside within one second; more means something writes garbage in a loop. */
const MAX_SET_ASIDE = 100;
/** Size of a file that is rewritten in place: an identity takes some 500 bytes, a page 4096. */
const REWRITTEN_BYTES = 2_048;

/** Replaces `path` as a whole or not at all, also across a power cut. Throws `cannot write PATH: why`; the old file then stands. */
export function writeFileAtomic(path: string, text: string | Buffer, mode = 0o600): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
    try {
      fchmodSync(fd, mode);
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncDir(dirname(path));
  } catch (cause) {
    removeQuietly(temporary);
    throw new Error(`cannot write ${path}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Replaces `path` as a whole or not at all for everybody who reads it, also when we are killed on any line; a power cut
 * may lose it. For what says nothing after a reboot. Throws as `writeFileAtomic`.
 */
export function replaceFile(path: string, text: string | Buffer, mode = 0o600): void {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    const fd = openNew(temporary, mode);
    try {
      fchmodSync(fd, mode);
      writeFileSync(fd, text);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (cause) {
    removeQuietly(temporary);
    throw new Error(`cannot write ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** A file that was not there; one that somebody of our pid has left when he was killed is removed first. */
function openNew(path: string, mode: number): number {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  try {
    return openSync(path, flags, mode);
  } catch (cause) {
    if (codeOf(cause) !== "EEXIST") throw cause;
    removeIfThere(path);
    return openSync(path, flags, mode);
  }
}

/**
 * Replaces the content of a small file that is written often, in place and padded with spaces to one size: on ext4 a rename
 * over a file starts writing to the disk, which costs more than all the rest of a restart. One write below the size of a
 * page is whole or not there for whoever comes after a kill; what a power cut leaves may be mixed. The file is made by
 * `replaceFile` where there is none of that size. `isThere`: as far as the caller knows. Throws as `writeFileAtomic`.
 */
export function rewriteFile(path: string, text: string, mode = 0o600, isThere = existsSync(path)): void {
  if (Buffer.byteLength(text) >= REWRITTEN_BYTES) return replaceFile(path, text, mode);
  rewritten.fill(SPACE, rewritten.write(text));
  rewritten[REWRITTEN_BYTES - 1] = NEWLINE;
  if (!isThere || !overwriteWhole(path, rewritten)) replaceFile(path, rewritten, mode);
  return undefined;
}

/** Kept: a restart waits for what is written with it. */
const rewritten = Buffer.alloc(REWRITTEN_BYTES);
const [SPACE, NEWLINE] = [0x20, 0x0a];

/** False when the file is not there, or not one of ours. */
function overwriteWhole(path: string, bytes: Buffer): boolean {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd);
      return stat.isFile() && stat.size === bytes.length && writeSync(fd, bytes, 0, bytes.length, 0) === bytes.length;
    } finally {
      closeSync(fd);
    }
  } catch {
    // A file in the way that is not ours to write is replaced, if that can be done.
    return false;
  }
}

/** Forces the file and its name to the disk, in a thread of the runtime. Rejects when it cannot. */
export async function syncFile(path: string): Promise<void> {
  // Only here: the import costs each command half a millisecond.
  const { open } = await import("node:fs/promises");
  for (const each of [path, dirname(path)]) {
    // Safe: the file is on the disk before the folder that names it.
    // oxlint-disable-next-line no-await-in-loop
    const handle = await open(each, constants.O_RDONLY);
    try {
      // Safe: the file is on the disk before the folder that names it.
      // oxlint-disable-next-line no-await-in-loop
      await handle.sync();
    } finally {
      // Safe: the file is on the disk before the folder that names it.
      // oxlint-disable-next-line no-await-in-loop
      await handle.close();
    }
  }
}

/** Removes the file; one that is not there is removed. */
export function removeIfThere(path: string): void {
  // Cheaper than an exception for the usual case.
  if (!existsSync(path)) return;
  try {
    unlinkSync(path);
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw cause;
  }
}

/** The same, and forced to the disk. */
export function removeDurably(path: string): void {
  try {
    unlinkSync(path);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return;
    throw cause;
  }
  syncDir(dirname(path));
}

/**
 * Text of the regular file `path`; `undefined` when there is none.
 * Throws for a file above `maxBytes` (read no further), a FIFO or device, and one that cannot be read.
 */
export function readTextIfExists(path: string, maxBytes: number): string | undefined {
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO in the file's place would block us for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw new Error(`cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  try {
    return readWhole(fd, path, maxBytes);
  } finally {
    closeSync(fd);
  }
}

/** The last `maxBytes` of a file of lines, which may begin within one. Throws where `readTextIfExists` does, but for the size. */
export function readTail(path: string, maxBytes: number): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`cannot read ${path}: it is not a regular file`);
    const bytes = Buffer.alloc(Math.min(stat.size, maxBytes));
    return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, stat.size - bytes.length));
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes the folder and its parents. A folder that it makes gets exactly `mode`, whatever the umask; one that exists keeps its own.
 * Whether it was made just now.
 */
export function ensureDir(path: string, mode = 0o700): boolean {
  try {
    const made = mkdirSync(path, { recursive: true, mode });
    if (made !== undefined) for (const folder of foldersBetween(made, path)) chmodSync(folder, mode);
    return made !== undefined;
  } catch (cause) {
    throw new Error(`cannot make folder ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** From the topmost new folder down to `path`, nearest last: from each of them the umask has taken bits. */
function foldersBetween(top: string, path: string): readonly string[] {
  const above = dirname(path);
  return path === top || path === above ? [path] : [...foldersBetween(top, above), path];
}

/**
 * Renames a damaged file to NAME.damaged-TIMESTAMP, with the reason beside it in NAME.damaged-TIMESTAMP.reason.
 * Returns the new path; never deletes. Throws when the rename fails.
 */
export function setAside(path: string, reason: string, clock: Clock = systemClock): string {
  const stamp = clock
    .wallTime()
    .toISOString()
    .replace(/[-:]|\.\d+/g, "");
  for (let n = 0; n < MAX_SET_ASIDE; n += 1) {
    const target = `${path}.damaged-${stamp}${n === 0 ? "" : `-${n}`}`;
    if (existsSync(target)) continue;
    renameSync(path, target);
    try {
      writeFileAtomic(`${target}.reason`, `${reason}\n`);
    } catch {
      // The damaged file is safe under its new name; the note is a courtesy.
    }
    return target;
  }
  throw new Error(`cannot set ${path} aside: ${MAX_SET_ASIDE} damaged copies of ${stamp} exist`);
}

/** Makes a rename or a new name in `folder` durable. */
export function syncDir(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function readWhole(fd: number, path: string, maxBytes: number): string {
  if (!fstatSync(fd).isFile()) throw new Error(`cannot read ${path}: it is not a regular file`);
  const chunks: Buffer[] = [];
  let total = 0;
  while (total <= maxBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(65_536, maxBytes + 1 - total));
    const count = readSync(fd, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks).toString("utf8");
    chunks.push(chunk.subarray(0, count));
    total += count;
  }
  throw new Error(`cannot read ${path}: it is larger than ${maxBytes} bytes`);
}

/** Closes a descriptor; nothing more can be done for one that does not close. */
export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Its file is flushed or it is not: the caller has asked before.
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The next write removes it first.
  }
}

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * Makes a file of `bytes` with its room on the disk taken, for `overwrite`: `text` and zeros after it. An existing one of
 * that size is left as it is. An empty one is not forced to the disk: whether its file outlives a power cut is told by
 * `true`, and left to the caller.
 */
export function reserveFile(path: string, bytes: number, text = ""): boolean {
  if (existsSync(path) && statSync(path).size === bytes) return true;
  const whole = Buffer.alloc(Math.max(bytes, Buffer.byteLength(text)));
  whole.write(text);
  if (text === "") replaceFile(path, whole);
  else writeFileAtomic(path, whole);
  return text !== "";
}

/** Writes `text` over the start of a reserved file and zeros over its rest, and forces it to the disk; takes no new room. */
export function overwrite(path: string, text: string): void {
  const fd = openSync(path, constants.O_RDWR);
  try {
    const bytes = Buffer.alloc(fstatSync(fd).size);
    const written = bytes.write(text);
    if (written < Buffer.byteLength(text)) throw new Error(`cannot write ${path}: the text is longer than the file`);
    writeSync(fd, bytes, 0, bytes.length, 0);
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
