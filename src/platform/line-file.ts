/** A log of lines in one file that others rotate by renaming it (logrotate without copytruncate), and that no full disk can stop. */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "./clock.ts";
import { closeQuietly } from "./files.ts";

/** Wait after a failure before the next try, ms: a full disk lasts, and each try costs a few system calls. */
const RETRY_MS = 1_000;
const MODE = 0o640;
const NEWLINE = 10;

export class LineFile {
  /** Lines lost since the start. */
  dropped = 0;
  /** Why the last line was lost; `undefined` once a later one was written. */
  lastError: string | undefined;
  readonly #path: string;
  readonly #clock: Clock;
  #fd: number | undefined;
  #torn = false;
  #retryAtMs = 0;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Appends one line (without its newline) and says whether it was written; after a failure without a try for a second. Never throws. */
  append(line: string): boolean {
    if (this.#clock.monotonicMs() < this.#retryAtMs) {
      this.dropped += 1;
      return false;
    }
    try {
      this.#write(line);
      this.lastError = undefined;
      return true;
    } catch (cause) {
      this.dropped += 1;
      this.lastError = cause instanceof Error ? cause.message : String(cause);
      this.#retryAtMs = this.#clock.monotonicMs() + RETRY_MS;
      this.close();
      return false;
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeQuietly(this.#fd);
    this.#fd = undefined;
  }

  #write(line: string): void {
    if (this.#fd !== undefined && !this.#isStillThere(this.#fd)) this.close();
    this.#fd ??= this.#open();
    // A line cut short by a full disk is ended first, so that the next one stands by itself.
    const bytes = Buffer.from(this.#torn ? `\n${line}\n` : `${line}\n`);
    const written = writeSync(this.#fd, bytes);
    this.#torn = written > 0 ? written < bytes.length : this.#torn;
    if (written < bytes.length)
      throw new Error(
        `cannot append to ${this.#path}: it took ${written} of ${bytes.length} bytes, so the disk is full`,
      );
  }

  /** Whether the path still leads to the open file: one look for each line, so that no signal is needed. */
  #isStillThere(fd: number): boolean {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    const ours = fstatSync(fd);
    return there !== undefined && there.ino === ours.ino && there.dev === ours.dev;
  }

  /** A FIFO without a reader, a device or a folder is refused: the first would block us, and none is a log. */
  #open(): number {
    mkdirSync(dirname(this.#path), { recursive: true });
    const fresh = statSync(this.#path, { throwIfNoEntry: false }) === undefined;
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
    const fd = openSync(this.#path, flags, MODE);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new Error(`cannot append to ${this.#path}: it is not a regular file`);
      // The umask of a service may be stricter than who reads the log needs.
      if (fresh) fchmodSync(fd, MODE);
      this.#torn = stat.size > 0 && lastByte(fd, stat.size) !== NEWLINE;
      return fd;
    } catch (cause) {
      closeSync(fd);
      throw cause;
    }
  }
}

function lastByte(fd: number, bytes: number): number | undefined {
  const last = Buffer.alloc(1);
  return readSync(fd, last, 0, 1, bytes - 1) === 1 ? last[0] : undefined;
}
