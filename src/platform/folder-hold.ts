/** Folders that some read and one takes away, by flock(2) on the folder itself: readers share it, and who takes it away has it alone. */
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { ERRNO, libc } from "./libc.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Keeps `folder` from being taken away until the returned function is called, or this process ends; `undefined` when it is gone, or is
 * going. Where folders cannot be locked (no FFI, some network file systems) nothing is held, and the function does nothing.
 */
export function holdFolder(folder: string): (() => void) | undefined {
  const fd = openFolder(folder);
  if (fd === undefined) return undefined;
  if (lock(fd, LOCK_SH) !== "held" && isAt(fd, folder)) return () => closeSync(fd);
  closeSync(fd);
  return undefined;
}

/** Whether somebody holds it, in this or any process. */
export function isHeld(folder: string): boolean {
  return !whileFree(folder, () => {});
}

/** Does `deed` while nobody holds the folder, nor can begin to; `false` when somebody holds it. Throws what `deed` throws. */
export function whileFree(folder: string, deed: () => void): boolean {
  const fd = openFolder(folder);
  try {
    if (fd !== undefined && lock(fd, LOCK_EX) === "held") return false;
    deed();
    return true;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function openFolder(folder: string): number | undefined {
  try {
    return openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return undefined;
  }
}

/** "held": by somebody else, in a way that excludes this one. "unknown": this file system or runtime cannot tell. */
function lock(fd: number, kind: number): "ours" | "held" | "unknown" {
  const c = libc();
  if (c === undefined) return "unknown";
  if (c.flock(fd, kind | LOCK_NB) === 0) return "ours";
  return c.errno() === ERRNO.EAGAIN ? "held" : "unknown";
}

/** It was not taken away between its opening and its lock. */
function isAt(fd: number, folder: string): boolean {
  const [opened, named] = [fstatSync(fd), statSync(folder, { throwIfNoEntry: false })];
  return named !== undefined && opened.ino === named.ino && opened.dev === named.dev;
}
