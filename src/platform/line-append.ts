/** Whole lines at the end of a file whose last line may be torn: by a kill, a power cut, or a disk that became full. */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { ensureDir, syncDir } from "./files.ts";

/** Opens `path` for `writeLines`, made with its folder when absent. Throws when it cannot be, and for what is no regular file. */
export function openForLines(path: string): number {
  const folder = dirname(path);
  ensureDir(folder);
  // Readable too, for the look at the last byte; a FIFO would take some lines and then block us for ever.
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const fd = openSync(path, flags, 0o600);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`cannot append to ${path}: it is not a regular file`);
    // A torn line is ended first, so that ours does not join it.
    if (stat.size > 0 && lastByte(fd, stat.size) !== "\n") writeSync(fd, "\n");
    if (stat.size === 0) syncDir(folder);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Appends `lines` (without their newlines) and takes from the list what is written whole. Throws at the first that is not: the
 * file may then end with a part of it, which the next `openForLines` ends.
 */
export function writeLines(fd: number, lines: string[]): void {
  let count = 0;
  try {
    for (const line of lines) {
      const bytes = Buffer.from(`${line}\n`);
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      count += 1;
    }
  } finally {
    lines.splice(0, count);
  }
}

function lastByte(fd: number, size: number): string {
  const last = Buffer.alloc(1);
  readSync(fd, last, 0, 1, size - 1);
  return last.toString("latin1");
}
