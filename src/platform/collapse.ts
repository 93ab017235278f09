/** Takes bytes out of the front of a file that another process appends to, by fallocate(2) with FALLOC_FL_COLLAPSE_RANGE (ext4, xfs). */
import { closeSync, constants, fstatSync, openSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ERRNO, libc } from "./libc.ts";

const FALLOC_FL_COLLAPSE_RANGE = 0x08;
/** Multiples tried beside the block size: ext4 with bigalloc and xfs on a realtime device count in larger units. */
const LARGER_UNITS = [65_536, 1_048_576];
/** A signal may interrupt the call; it changes nothing then. */
const MAX_TRIES = 10;

/**
 * Bytes whose multiples the file system takes out of `file`, found by doing it to a file of its own beside it;
 * `undefined` where it cannot (tmpfs, btrfs, NFS) or where there is no FFI. Throws when the folder cannot be written to.
 */
export function collapseUnit(file: string): number | undefined {
  if (libc() === undefined) return undefined;
  const path = join(dirname(file), `.${basename(file)}.collapse.tmp`);
  rmSync(path, { force: true });
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    return [fstatSync(fd).blksize, ...LARGER_UNITS].find((unit) => {
      writeSync(fd, Buffer.alloc(2 * unit), 0, 2 * unit, 0);
      return tryCollapse(fd, unit) === 0;
    });
  } finally {
    closeSync(fd);
    rmSync(path, { force: true });
  }
}

/**
 * Takes the first `bytes` out: the byte after them becomes the file's first, and appends that run meanwhile lose nothing,
 * since the kernel does both under the file's lock. Throws when the kernel refuses; the file is then as it was.
 */
export function collapseFront(fd: number, bytes: number): void {
  const errno = tryCollapse(fd, bytes);
  if (errno !== 0) throw new Error(`cannot take ${bytes} bytes out of the file: fallocate failed with errno ${errno}`);
}

function tryCollapse(fd: number, bytes: number): number {
  const c = libc();
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    if (c?.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, bytes) === 0) return 0;
    const errno = c?.errno() ?? -1;
    if (errno !== ERRNO.EINTR) return errno;
  }
  return ERRNO.EINTR;
}
