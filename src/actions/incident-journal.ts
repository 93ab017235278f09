/**
 * The append-only journal of one incident on disk: what a restarted close must know is fsynced before it is done.
 *
 * It never stops the close: a disk that is full, read-only or hangs is counted, and the orders go out.
 */
import { closeSync, constants, fdatasync, fstatSync, lstatSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { CloseReport } from "../core/close-job.ts";
import { IncidentFold } from "../core/incident.ts";
import type { IncidentHistory, IncidentLine } from "../core/incident.ts";
import { sleep } from "../platform/clock.ts";
import type { Clock } from "../platform/clock.ts";
import { ensureDir, setAside, syncDir, writeFileAtomic } from "../platform/files.ts";
import { readJournal, renewJournal } from "./incident-history.ts";

/** Longest time that an order waits for its intent to reach the disk, ms: a hanging disk must not hold positions open. */
const MAX_SYNC_WAIT_MS = 250;

export class IncidentJournal {
  /** What earlier runs left; folded once, when the journal is opened. Empty when it cannot be read. */
  readonly history: IncidentHistory;
  readonly #clock: Clock;
  readonly #folder: string;
  readonly #incident: string;
  readonly #fd: number | undefined;
  #failures = 0;
  /** The fsync that runs now, and the one that starts after it: all who wait meanwhile share the latter. */
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor(folder: string, incident: string, clock: Clock, alone: boolean) {
    this.#clock = clock;
    this.#folder = folder;
    this.#incident = incident;
    this.#attempt(() => setAsideIfNoFile(this.#path));
    const found = this.#attempt(() => readJournal(this.#path));
    this.history = found?.history ?? new IncidentFold().history;
    if (found !== undefined && alone)
      this.#attempt(() => renewJournal(this.#path, found, clock.wallTime().toISOString()));
    this.#fd = this.#attempt(() => openForAppend(folder, this.#path));
  }

  /** Never throws. `alone`: nobody else writes it, so it may be begun anew when it is too large. */
  static open(folder: string, incident: string, clock: Clock, alone: boolean): IncidentJournal {
    return new IncidentJournal(folder, incident, clock, alone);
  }

  /** Writes that failed or came too late. */
  get failures(): number {
    return this.#failures;
  }

  /** Appends a line; it survives the death of this process, and a power cut once `sync` returned. */
  append(line: IncidentLine): void {
    this.#attempt(() => {
      if (this.#fd === undefined) throw new Error(`cannot append to ${this.#path}: it is not open`);
      const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
    });
  }

  /** Resolves when all appended lines are on disk, or after 250 ms. Concurrent callers share one fsync. */
  async sync(): Promise<void> {
    const over = new AbortController();
    const done = this.#sync().then(() => true);
    const late = sleep(this.#clock, MAX_SYNC_WAIT_MS, over.signal).then(() => false);
    if (!(await Promise.race([done, late]))) this.#failures += 1;
    over.abort();
  }

  /** Appends the end line, with the ids of the run's `orders`, and writes `ID.json`. */
  async finish(report: CloseReport, orders: string[]): Promise<void> {
    const { outcome, reason, rounds, calls, durationMs } = report;
    const at = this.#clock.wallTime().toISOString();
    this.append({ kind: "end", at, outcome, reason, rounds, calls, durationMs, orders });
    await this.sync();
    const path = join(this.#folder, `${this.#incident}.json`);
    this.#attempt(() => writeFileAtomic(path, `${JSON.stringify(report, undefined, 2)}\n`));
  }

  close(): void {
    const fd = this.#fd;
    if (fd !== undefined) this.#attempt(() => closeSync(fd));
  }

  get #path(): string {
    return join(this.#folder, `${this.#incident}.ndjson`);
  }

  #sync(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#flush().finally(() => (this.#running = undefined));
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.#sync();
    });
    return this.#next;
  }

  #flush(): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      fdatasync(fd, (error) => {
        if (error !== null) this.#failures += 1;
        resolve();
      });
    });
  }

  #attempt<T>(deed: () => T): T | undefined {
    try {
      return deed();
    } catch {
      this.#failures += 1;
      return undefined;
    }
  }
}

/** What is no file takes no lines, and a FIFO would block the close for ever. */
function setAsideIfNoFile(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile()) setAside(path, "the journal of an incident must be a regular file");
}

/** A torn last line of a killed run is ended first, so that ours does not join it. */
function openForAppend(folder: string, path: string): number {
  ensureDir(folder);
  // Readable too, for the look at the last byte.
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o600);
  const { size } = fstatSync(fd);
  const last = Buffer.alloc(1);
  if (size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last.toString() !== "\n") writeSync(fd, "\n");
  if (size === 0) syncDir(folder);
  return fd;
}
