/** A lock that one process holds and the kernel drops when it dies: flock(2) on a file that stays in place. */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, statSync, writeSync } from "node:fs";
import { takeDescriptor } from "./exec.ts";
import { readTextIfExists } from "./files.ts";
import { kernelLocks, type KernelLock } from "./kernel-locks.ts";
import { libc } from "./libc.ts";
import { isForeignNamespace, pidNamespace } from "./pid-namespace.ts";

export interface Lock {
  /** The descriptor that holds it. */
  readonly fd: number;
  /** Gives the lock up; a second call does nothing. */
  readonly release: () => void;
}

const LOCK_EX = 2;
const LOCK_NB = 4;
/** Attempts when the file is removed or replaced between opening and locking it. */
const MAX_ATTEMPTS = 5;
/**
 * Looks at a lock that is held, and the time between two of them, ms: a program that the last holder has just started keeps it
 * for the instant until its exec has closed what it does not inherit, which comes after the holder goes on (execve(2)).
 */
const LOOKS = 5;
const LOOK_MS = 5;
/** A lock file holds one pid and the name of its namespace; more is somebody else's file. */
const MAX_LOCK_FILE_BYTES = 64;
/**
 * The lock on `path`, or `undefined` while another open of the file, in this or any process, holds it.
 * Throws when the file cannot be opened. The descriptor is close-on-exec, so no child keeps the lock alive.
 */
export function tryLock(path: string): Lock | undefined {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const fd = openLockFile(path);
    if (!flockSoon(fd)) {
      closeSync(fd);
      return undefined;
    }
    if (isLockAt(fd, path)) return holdLock(fd);
    closeSync(fd);
  }
  throw new Error(`cannot lock ${path}: the file was replaced ${MAX_ATTEMPTS} times meanwhile`);
}

/**
 * The lock on the file that is at `path`, which is neither made nor written to, nor is a link followed: for folders that others own.
 * `none`: no file is there. `undefined` and throws as `tryLock`.
 */
export function tryLockThere(path: string): Lock | "none" | undefined {
  const fd = openThere(path);
  if (fd === undefined) return "none";
  if (fstatSync(fd).isFile()) {
    // One that was replaced meanwhile is in other hands by now.
    if (flockSoon(fd) && isLockAt(fd, path)) return releasable(fd, () => {});
    closeSync(fd);
    return undefined;
  }
  closeSync(fd);
  throw new Error(`cannot open lock file ${path}: it is no file`);
}

/**
 * The lock on `path` that the program before us in this very process held and passed on by its descriptor, or `undefined`
 * when it is not that lock: then the descriptor is left as it is.
 */
export function inheritLock(path: string, fd: number): Lock | undefined {
  if (!isLockAt(fd, path) || !flockNow(fd)) return undefined;
  return takeDescriptor(fd) ? holdLock(fd) : undefined;
}

/**
 * Pid of the holder as this process may name it, for messages to people; it proves nothing. It is what the last holder wrote, or,
 * where that one lives in another PID namespace, what the kernel says. `undefined`: none, unreadable, or out of sight.
 */
export function lockHolder(path: string): number | undefined {
  try {
    const [word = "", namespace] = (readTextIfExists(path, MAX_LOCK_FILE_BYTES) ?? "").split(/\s+/);
    const pid = Number.parseInt(word, 10);
    if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
    return isForeignNamespace(namespace) ? kernelHolder(path) : pid;
  } catch {
    return undefined;
  }
}

/**
 * Pid of the holder by the kernel's word, which shows each lock whose holder is seen from here, with the pid that it has here.
 * `undefined`: nobody, or out of sight. Throws when the file is not there.
 */
export function kernelHolder(path: string): number | undefined {
  const { dev, ino } = statSync(path, { bigint: true });
  return kernelLocks().find((lock) => namesHolder(lock) && lock.dev === dev && lock.ino === ino)?.pid;
}

function namesHolder({ kind, waits, pid }: KernelLock): boolean {
  return kind === "FLOCK" && !waits && pid > 0;
}

function openLockFile(path: string): number {
  try {
    // O_CLOEXEC is set by the runtime on every open.
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (cause) {
    throw new Error(`cannot open lock file ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

function openThere(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new Error(`cannot open lock file ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

function flockSoon(fd: number): boolean {
  for (let look = 1; look < LOOKS; look += 1) {
    if (flockNow(fd)) return true;
    Bun.sleepSync(LOOK_MS);
  }
  return flockNow(fd);
}

/** flock by libc; without FFI the tool flock(1) locks the same open file on our behalf and leaves it locked. */
function flockNow(fd: number): boolean {
  const c = libc();
  if (c !== undefined) return c.flock(fd, LOCK_EX | LOCK_NB) === 0;
  const tool = Bun.spawnSync({ cmd: ["flock", "-x", "-n", "3"], stdio: ["ignore", "ignore", "ignore", fd] });
  return tool.exitCode === 0;
}

/** Whether the file that the descriptor has open is the one at `path` now. */
export function isLockAt(fd: number, path: string): boolean {
  try {
    const [held, named] = [fstatSync(fd), statSync(path)];
    return held.ino === named.ino && held.dev === named.dev;
  } catch {
    return false;
  }
}

function holdLock(fd: number): Lock {
  notePid(fd, `${process.pid} ${pidNamespace()}\n`);
  return releasable(fd, () => notePid(fd, ""));
}

function releasable(fd: number, beforeRelease: () => void): Lock {
  let held = true;
  return {
    fd,
    release() {
      if (!held) return;
      held = false;
      beforeRelease();
      closeSync(fd);
    },
  };
}

/** The note is for people: a full disk must not cost us the lock. */
function notePid(fd: number, text: string): void {
  try {
    ftruncateSync(fd, 0);
    if (text !== "") writeSync(fd, text, 0);
  } catch {
    // The lock itself is held by the kernel and needs no content.
  }
}
