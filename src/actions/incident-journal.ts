/**
 * The append-only journal of one incident on disk: what a restarted close must know is fsynced before it is done.
 *
 * It never stops the close: a disk that is full, read-only or hangs is counted, and the orders go out. What the disk does not
 * take is kept in memory and tried again; what it has not taken at the end is for whoever outlives us (`unwritten`).
 */
import { closeSync, fdatasync, lstatSync } from "node:fs";
import { join } from "node:path";
import type { CloseReport, Unwritten } from "../core/close-job.ts";
import { counted } from "../core/counted.ts";
import { IncidentFold } from "../core/incident.ts";
import type { IncidentHistory, IncidentLine } from "../core/incident.ts";
import { sleep } from "../platform/clock.ts";
import type { Clock } from "../platform/clock.ts";
import { setAside, writeFileAtomic } from "../platform/files.ts";
import { openForLines, writeLines } from "../platform/line-append.ts";
import { readJournal, renewJournal } from "./incident-history.ts";

/** Longest time that an order waits for its intent to reach the disk, ms: a hanging disk must not hold positions open. */
const MAX_SYNC_WAIT_MS = 250;
/** Wait after a failed write before the next try, ms: a disk that takes its time to say no must not hold up each order. */
const RETRY_MS = 250;
/** Most that is kept for a disk that takes nothing, bytes: some thousand orders. The end of the run is kept beside it. */
const MAX_HELD_BYTES = 1_048_576;

export class IncidentJournal {
  /** What earlier runs left; folded once, when the journal is opened. Empty when it cannot be read. */
  readonly history: IncidentHistory;
  readonly #clock: Clock;
  readonly #folder: string;
  readonly #incident: string;
  #fd: number | undefined;
  #failures = 0;
  /** Lines without their newlines that the disk has not taken yet, the oldest first. */
  readonly #held: string[] = [];
  #heldBytes = 0;
  /** Lines that were too many to be kept. */
  #lost = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;
  #unreported = false;
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
    this.#writeHeld();
  }

  /** Never throws. `alone`: nobody else writes it, so it may be begun anew when it is too large. */
  static open(folder: string, incident: string, clock: Clock, alone: boolean): IncidentJournal {
    return new IncidentJournal(folder, incident, clock, alone);
  }

  /** Writes that failed or came too late. */
  get failures(): number {
    return this.#failures;
  }

  /** What the disk has not taken so far. */
  get unwritten(): Unwritten {
    return { lines: this.#held, report: this.#unreported };
  }

  /** Appends a line; it survives the death of this process, and a power cut once `sync` returned, unless the disk does not take it. */
  append(line: IncidentLine): void {
    const text = JSON.stringify(line);
    const bytes = Buffer.byteLength(text);
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) {
      this.#lost += 1;
      this.#failures += 1;
    } else {
      this.#held.push(text);
      this.#heldBytes += bytes;
    }
    if (this.#clock.monotonicMs() >= this.#retryAtMs) this.#writeHeld();
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
    const { outcome, reason, rounds, calls, durationMs, errors } = report;
    const at = this.#clock.wallTime().toISOString();
    const end: IncidentLine[] = [{ kind: "end", at, outcome, reason, rounds, calls, durationMs, orders, errors }];
    if (this.#lost > 0) end.unshift({ kind: "step", at, text: lostText(this.#lost) });
    this.#held.push(...end.map((line) => JSON.stringify(line)));
    this.#writeHeld();
    await this.sync();
    const path = join(this.#folder, `${this.#incident}.json`);
    const done = this.#attempt(() => {
      writeFileAtomic(path, `${JSON.stringify(report, undefined, 2)}\n`);
      return true;
    });
    this.#unreported = done !== true;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) this.#attempt(() => closeSync(fd));
  }

  get #path(): string {
    return join(this.#folder, `${this.#incident}.ndjson`);
  }

  /** All that is held, in its order; what fails is counted once and tried again with a later line. */
  #writeHeld(): void {
    const done = this.#attempt(() => {
      this.#fd ??= openForLines(this.#path);
      writeLines(this.#fd, this.#held);
      return true;
    });
    this.#heldBytes = this.#held.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
    if (done === true) return;
    this.#retryAtMs = this.#clock.monotonicMs() + RETRY_MS;
    // Opened anew at the next try: it ends what is torn, and the disk may have been mounted again.
    this.close();
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

function lostText(count: number): string {
  return `${counted(count, "line")} of this journal ${count === 1 ? "is" : "are"} missing: the disk took none for too long`;
}
