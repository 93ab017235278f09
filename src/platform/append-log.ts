/** An append-only NDJSON log in numbered files that no full disk can stop: a line that cannot be written is dropped and counted. */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "./clock.ts";
import { closeQuietly } from "./files.ts";

export interface AppendLogOptions {
  /** Folder of the files 000001.ndjson, 000002.ndjson, …; made when absent. */
  readonly dir: string;
  /** A file is followed by the next one before it grows beyond this. */
  readonly maxBytes: number;
  /** Number of files kept, the current one included. */
  readonly keep: number;
  readonly clock: Clock;
  /** Mode of new files; default 0640. */
  readonly mode?: number;
}

/** Waits between attempts to open or write again after a failure, ms: soon enough to lose little, seldom enough to cost nothing. */
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
/** While the next file cannot be made, the current one may grow to this many times `maxBytes`. */
const OVERSHOOT_FACTOR = 2;
/** Time between two looks for whether the file was deleted, ms: what was written since the last look is gone with it anyway. */
const LOOK_MS = 50;
const FILE_NAME = /^(\d{6,9})\.ndjson$/;
const NEWLINE = 10;

export class AppendLog {
  /** Lines lost since the start, for the alert and the metrics. */
  dropped = 0;
  /** Why the last line was lost; `undefined` once a later one was written. */
  lastError: string | undefined;
  readonly #options: AppendLogOptions;
  #fd: number | undefined;
  #number = 0;
  #bytes = 0;
  #torn = false;
  #freshFile = false;
  #retryDelayMs = 0;
  #retryAtMs = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: AppendLogOptions) {
    this.#options = options;
  }

  /** File that the next line goes to. */
  get path(): string {
    return this.#pathOf(Math.max(this.#number, 1));
  }

  /**
   * Appends one line (without its newline) and says whether it was written; with `sync`, whether it is also on the disk.
   * Never throws. After a failure lines are dropped without a try until the back-off is over, except with `sync`. One that is not
   * `counted` says only that others are missing.
   */
  append(
    line: string,
    { sync = false, counted = true }: { readonly sync?: boolean; readonly counted?: boolean } = {},
  ): boolean {
    if (!sync && this.#options.clock.monotonicMs() < this.#retryAtMs) {
      this.dropped += Number(counted);
      return false;
    }
    try {
      if (sync) this.#lookedAtMs = Number.NEGATIVE_INFINITY;
      this.#write(`${line}\n`);
      if (sync) this.#sync();
      this.#retryDelayMs = 0;
      this.#retryAtMs = 0;
      this.lastError = undefined;
      return true;
    } catch (cause) {
      this.dropped += Number(counted);
      this.#fail(cause);
      return false;
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeQuietly(this.#fd);
    this.#fd = undefined;
  }

  #write(text: string): void {
    const line = Buffer.from(text);
    const fd = this.#fileFor(line.length);
    // A line cut short by a full disk or a power cut is ended first, so that the next one can be parsed.
    const output = this.#torn ? Buffer.from(`\n${text}`) : line;
    const bytes = output.length;
    const written = writeSync(fd, output);
    this.#bytes += written;
    if (written === bytes) {
      this.#torn = false;
      return;
    }
    if (written > 0) this.#torn = true;
    throw new Error(`cannot append to ${this.path}: it took ${written} of ${bytes} bytes, so the disk is full`);
  }

  #sync(): void {
    if (this.#fd === undefined) return;
    fsyncSync(this.#fd);
    if (!this.#freshFile) return;
    const folder = openSync(this.#options.dir, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
    this.#freshFile = false;
  }

  /** Descriptor with room for `bytes` more: reopened when the file was deleted, followed by the next file when full. */
  #fileFor(bytes: number): number {
    this.#lookForFile();
    if (this.#fd === undefined) this.#openLast();
    const fits = this.#bytes === 0 || this.#bytes + bytes <= this.#options.maxBytes;
    if (!fits) this.#rotate();
    if (this.#fd === undefined) throw new Error(`internal error: ${this.path} is not open`);
    return this.#fd;
  }

  /** Lets go of a file that somebody has deleted. By its descriptor: to look for its name takes longer after a rest. */
  #lookForFile(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#fd === undefined || nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    if (fstatSync(this.#fd).nlink === 0) this.close();
  }

  #openLast(): void {
    mkdirSync(this.#options.dir, { recursive: true, mode: 0o750 });
    const last = listNumbers(this.#options.dir).at(-1) ?? Math.max(this.#number, 1);
    try {
      this.#open(last);
    } catch (cause) {
      // Something that no line can be written to has the name of the last file: it stays there, and the next one is begun.
      if (existsSync(this.#pathOf(last)) || isLink(this.#pathOf(last))) return this.#open(last + 1);
      throw cause;
    }
  }

  #rotate(): void {
    const before = this.#fd;
    try {
      this.#open(this.#number + 1);
    } catch (cause) {
      if (this.#bytes > this.#options.maxBytes * OVERSHOOT_FACTOR) throw cause;
      return;
    }
    if (before !== undefined) closeSync(before);
    this.#prune();
  }

  /** Opens file `number` and takes it into use; on a throw everything is as before. */
  #open(number: number): void {
    const path = this.#pathOf(number);
    const fresh = !existsSync(path);
    // A FIFO in the file's place would take some lines and then block us for ever.
    const flags =
      constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = openSync(path, flags, this.#options.mode ?? 0o640);
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      closeSync(fd);
      throw new Error(`cannot append to ${path}: it is not a regular file`);
    }
    const bytes = stat.size;
    this.#torn = bytes > 0 && lastByte(fd, bytes) !== NEWLINE;
    this.#fd = fd;
    this.#number = number;
    this.#bytes = bytes;
    this.#freshFile ||= fresh;
  }

  #prune(): void {
    for (const number of listNumbers(this.#options.dir).slice(0, -this.#options.keep)) {
      try {
        rmSync(this.#pathOf(number), { force: true });
      } catch {
        // The next rotation tries again; a file too many is no reason to lose a line, nor to keep the others.
      }
    }
  }

  #fail(cause: unknown): void {
    this.lastError = cause instanceof Error ? cause.message : String(cause);
    this.#retryDelayMs = Math.min(this.#retryDelayMs === 0 ? FIRST_RETRY_MS : this.#retryDelayMs * 2, MAX_RETRY_MS);
    this.#retryAtMs = this.#options.clock.monotonicMs() + this.#retryDelayMs;
    // Reopened at the next try: the disk may have been remounted, and the last byte tells whether the line is torn.
    this.close();
  }

  #pathOf(number: number): string {
    return join(this.#options.dir, `${String(number).padStart(6, "0")}.ndjson`);
  }
}

/** Numbers of the log files in `dir`, oldest first. */
function listNumbers(dir: string): number[] {
  return readdirSync(dir)
    .flatMap((name) => FILE_NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function lastByte(fd: number, bytes: number): number | undefined {
  const last = Buffer.alloc(1);
  return readSync(fd, last, 0, 1, bytes - 1) === 1 ? last[0] : undefined;
}
