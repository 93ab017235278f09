/** A bot's output file as the daemon sees it: when it is rotated (in a worker), where each start began, what an ended one said last. */
import { existsSync, lstatSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rotationDue } from "../../core/output-log.ts";
import { rotateLineSchema, type RotateJob, type RotateLine } from "../../core/rotate-job.ts";
import { formatSize } from "../../core/size.ts";
import type { Clock } from "../../platform/clock.ts";
import { removeIfThere } from "../../platform/files.ts";
import { endOfOutput, readIndex, readLive, viewOutput, type OutputFiles } from "../../platform/output-view.ts";
import { isUndying, startWorker, type Worker } from "../../platform/worker.ts";
import type { BotPlan } from "./bot-plan.ts";
import { LogFileWatch } from "./log-file-watch.ts";
import { OutputNotes } from "./output-notes.ts";

/** Longest run of one worker, ms: packs 16 segments of 100 MiB on a slow disk. */
const WORKER_MS = 600_000;
/**
 * Longest silence of a worker, ms, which speaks every other second while it packs: what follows is an fsync(2) of as much as it has
 * packed, on a disk that takes a byte each microsecond.
 */
const SILENCE_MS = 30_000;
const SILENCE_BYTES_PER_MS = 1_000;
/** Memory above which a worker is killed, bytes; it takes some 100 MiB whatever the segment's size. */
const WORKER_MEMORY_BYTES = 512 * 1024 ** 2;
/** Workers at a time for all bots: rotation must not take the machine from the bots. */
const MAX_WORKERS = 2;
/** Time until the next try after a failure, and after a worker that found nothing to cut, ms. */
const RETRY_MS = 15_000;
const IDLE_MS = 60_000;
/** A file this many times larger than `maxSize` is an alert of its own: at once when it cannot be rotated, else when it stays so for a while, ms. */
const EMERGENCY_FACTOR = 4;
const EMERGENCY_AFTER_MS = 30_000;
/** Last words kept of each ended start, bytes. */
const LAST_WORDS_BYTES = 64 * 1024;
/** Time until they are copied, ms: longer than a restart takes, which must not wait for the copy. */
const LAST_WORDS_DELAY_MS = 20;

export interface OutputDeps {
  readonly plan: {
    readonly files: Pick<BotPlan["files"], "log" | "outputIndex" | "outputLock" | "runs" | "exits">;
    readonly config: Pick<BotPlan["config"], "output">;
  };
  readonly clock: Clock;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
  /** Program to start instead of our own, for tests. */
  readonly program?: readonly string[];
}

/** A start that has ended, whose last words are not kept yet. */
interface Ended {
  readonly generation: number;
  /** Where it began; `undefined` for one of an earlier daemon. */
  readonly from: number | undefined;
  /** Where the next start began; `undefined` while there is none. */
  to: number | undefined;
  readonly cancel: () => void;
}

/** Workers that run now, for all bots. */
let workers = 0;

/** Counts one more; the answer takes it back, once. */
function takeSlot(): () => void {
  let held = 1;
  workers += held;
  return () => {
    workers -= held;
    held = 0;
  };
}

/** Calls back once when it was not renewed for so long. */
function deadline(clock: Clock, afterMs: number, onOver: () => void): { renew: () => void; cancel: () => void } {
  let over = false;
  const fire = (): void => {
    over = true;
    onOver();
  };
  let cancel = clock.after(afterMs, fire);
  return {
    renew: () => {
      if (over) return;
      cancel();
      cancel = clock.after(afterMs, fire);
    },
    cancel: () => {
      over = true;
      cancel();
    },
  };
}

export class Output {
  readonly #deps: OutputDeps;
  readonly #files: OutputFiles;
  readonly #watch: LogFileWatch;
  readonly #notes: OutputNotes;
  #working = false;
  #worker: Worker | undefined;
  #closed = false;
  #firstLook = true;
  #nextLookMs = 0;
  #beganMs: number | undefined;
  #trouble: string | undefined;
  #hugeSinceMs: number | undefined;
  #saidHuge = false;
  #saidTruncate = false;
  /** What fails since it was said; one of the deeds below each. */
  readonly #failing = new Set<string>();
  #ended: Ended | undefined;
  #start: { readonly generation: number; readonly offset: number } | undefined;
  #startUnnoted = false;

  constructor(deps: OutputDeps) {
    const { log, outputIndex, runs } = deps.plan.files;
    this.#deps = deps;
    this.#files = { log, index: outputIndex };
    this.#watch = new LogFileWatch({ log, fact: deps.fact });
    this.#notes = new OutputNotes(runs, deps.clock);
  }

  /** Once a second: starts a worker when the file is to be rotated, or when an earlier worker was killed at it. */
  look(): void {
    const { clock } = this.#deps;
    if (this.#closed) return;
    const stat = lstatSync(this.#files.log, { throwIfNoEntry: false });
    this.#watch.look(stat);
    // A link or a device is where somebody put it, and not ours to cut.
    if (stat?.isFile() !== true) return;
    this.#noteTime(stat.mtimeMs);
    this.#warnOfHugeFile(stat.size);
    if (this.#working || isUndying(this.#files.log)) return;
    if (workers >= MAX_WORKERS || clock.monotonicMs() < this.#nextLookMs) return;
    const { maxSize, maxAge } = this.#deps.plan.config.output;
    // Wall time: an age must outlive the daemon, and a clock that jumps costs a rotation too early or too late.
    const ageMs = maxAge === undefined ? 0 : clock.wallTime().getTime() - this.#began(stat.birthtimeMs);
    const due = rotationDue({ size: stat.size, maxSize, maxAgeMs: maxAge, ageMs }) !== undefined;
    const unfinished = this.#firstLook && this.#isUnfinished();
    this.#firstLook = false;
    if (due || unfinished) void this.#rotate(stat.size);
  }

  /** The daemon ends, and a rotation with it: the next daemon completes it or takes it back. */
  async shutDown(): Promise<void> {
    this.#closed = true;
    this.#closeEnded();
    this.#worker?.kill();
    await this.#worker?.done;
  }

  /** A start comes: sees where its output begins. Never throws. */
  begin(generation: number): void {
    this.#tryDisk("see where the output of a start begins", () => {
      const offset = endOfOutput(this.#files);
      if (this.#ended !== undefined) this.#ended.to = offset;
      this.#ended = undefined;
      this.#start = { generation, offset };
      this.#startUnnoted = true;
    });
  }

  /** A start of this config has its output open, by now or since an earlier daemon. Never throws. */
  opened(): void {
    if (this.#deps.plan.config.output.to === "file") this.#tryDisk("see the output file", () => this.#watch.opened());
  }

  /**
   * Made at a start, notes for people where its output began: no restart waits for that, nor does a bot that is started
   * together with others. Never throws.
   */
  noteOfStart(generation: number): () => void {
    const start = this.#start;
    const at = this.#deps.clock.wallTime().toISOString();
    return () => {
      this.#startUnnoted = false;
      if (start?.generation !== generation) return;
      this.#tryDisk("note the start in the run marks", () => this.#notes.noteStart({ ...start, at }));
    };
  }

  /** Never before a start that began earlier: marks are in the order of the stream. */
  #noteTime(changeMs: number): void {
    if (this.#startUnnoted) return;
    const end = (): number => endOfOutput(this.#files);
    this.#tryDisk("note the time in the run marks", () => this.#notes.look(changeMs, end));
  }

  /**
   * The start has ended: what it wrote until now is told from what the next one writes. Its last words are kept a moment
   * later, for which the next start does not wait.
   */
  end(generation: number): void {
    this.#closeEnded();
    this.#watch.closed();
    const from = this.#start?.generation === generation ? this.#start.offset : undefined;
    const cancel = this.#deps.clock.after(LAST_WORDS_DELAY_MS, () => this.#keep(ended));
    const ended: Ended = { generation, from, to: undefined, cancel };
    this.#ended = ended;
  }

  /** What waits is kept now. */
  #closeEnded(): void {
    const ended = this.#ended;
    if (ended === undefined) return;
    ended.cancel();
    this.#keep(ended);
  }

  /** Last words reach to where the next start began, or to where the file ends now. */
  #keep(ended: Ended): void {
    if (this.#ended === ended) this.#ended = undefined;
    this.#tryDisk("keep the last words", () => {
      const { generation, from, to } = ended;
      this.#keepLastWords(generation, from ?? this.#notes.beginOf(generation), to ?? endOfOutput(this.#files));
    });
  }

  /** The last start that was noted, for when the identity does not tell; 0 when none can be read. */
  get lastGeneration(): number {
    try {
      return this.#notes.lastGeneration;
    } catch {
      return 0;
    }
  }

  #keepLastWords(generation: number, from: number, to: number): void {
    const { config, files } = this.#deps.plan;
    // Not the oldest alone: ends that nobody saw have left theirs, and fewer may be kept than before.
    for (const name of existsSync(files.exits) ? readdirSync(files.exits) : [])
      if (Number(/^(\d+)\.log$/.exec(name)?.[1] ?? Number.NaN) <= generation - config.output.keep)
        removeIfThere(join(files.exits, name));
    if (from === to) return;
    const view = viewOutput(this.#files);
    // A file that ends before the start began was emptied since, and holds nothing older.
    const start = Math.max(from > to ? 0 : from, view.liveStart, to - LAST_WORDS_BYTES);
    if (start >= to) return;
    const text = readLive(this.#files, view, start, to - start);
    if (text !== undefined) writeFileSync(join(files.exits, `${generation}.log`), text, { mode: 0o640 });
  }

  /** When the live file began, ms of wall time. */
  #began(birthMs: number): number {
    if (this.#beganMs !== undefined) return this.#beganMs;
    try {
      const began = Date.parse(readIndex(this.#files.index).began);
      this.#beganMs = began > 0 ? began : birthMs;
    } catch {
      // Damaged: the worker makes it anew.
      this.#beganMs = 0;
    }
    return this.#beganMs;
  }

  #isUnfinished(): boolean {
    try {
      return readIndex(this.#files.index).pending !== null;
    } catch {
      return true;
    }
  }

  async #rotate(size: number): Promise<void> {
    const { clock, program } = this.#deps;
    this.#working = true;
    const release = takeSlot();
    let rotated = false;
    let failure: string | undefined;
    const silenceMs = Math.min(WORKER_MS, SILENCE_MS + size / SILENCE_BYTES_PER_MS);
    const silence = deadline(clock, silenceMs, () => {
      failure = `the worker made no progress for ${Math.round(silenceMs / 1_000)} s and was ended`;
      this.#worker?.kill();
      // On a disk that hangs it may be beyond even that, and is not to hold up the other bots.
      release();
      if (!this.#closed) this.#tellOutcome(failure);
    });
    try {
      const worker = startWorker({
        args: ["__action", "rotate-log"],
        job: JSON.stringify(this.#job()),
        deadlineMs: WORKER_MS,
        memory: WORKER_MEMORY_BYTES,
        clock,
        // The lock of the output keeps another one, of the next daemon, from its work.
        givesUp: this.#files.log,
        ...(program === undefined ? {} : { program }),
        onLine: (text) => {
          silence.renew();
          const line = readLine(text);
          if (line === undefined) return;
          if (line.kind === "failed") failure = line.reason;
          if (line.kind === "note") this.#deps.fact("warn", line.text);
          if (line.kind !== "rotated") return;
          rotated = true;
          this.#tellSegment(line.segment, line.bytes, line.method);
        },
      });
      this.#worker = worker;
      const { code, signal, timedOut } = await worker.done;
      if (code !== 0)
        failure ??= `the worker ${timedOut ? "overran its deadline" : `ended with ${signal ?? `code ${code}`}`}`;
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    silence.cancel();
    release();
    this.#working = false;
    this.#worker = undefined;
    if (this.#closed) return;
    this.#beganMs = undefined;
    const pauseMs = failure !== undefined ? RETRY_MS : rotated ? 0 : IDLE_MS;
    this.#nextLookMs = clock.monotonicMs() + pauseMs;
    this.#tellOutcome(failure);
  }

  #job(): RotateJob {
    const { files, config } = this.#deps.plan;
    const { maxSize, maxAge, keep, compress } = config.output;
    const { log, outputIndex: index, outputLock: lock } = files;
    return {
      version: 1,
      log,
      index,
      lock,
      maxSize,
      keep,
      compress,
      ...(maxAge === undefined ? {} : { maxAgeMs: maxAge }),
    };
  }

  #tellSegment(segment: string, bytes: number, method: "collapse" | "truncate"): void {
    this.#deps.fact("info", `output rotated: ${formatSize(bytes)} are now in ${segment}`);
    if (method === "collapse" || this.#saidTruncate) return;
    this.#saidTruncate = true;
    this.#deps.fact(
      "warn",
      "the file system of the output cannot take bytes out of a file (fallocate), so it is copied and truncated: what the bot writes in the instant between the two is lost",
    );
  }

  /** Said once until it works again: a full disk lasts. */
  #tellOutcome(failure: string | undefined): void {
    if (failure !== undefined && this.#trouble === undefined)
      this.#deps.fact(
        "alert",
        `cannot rotate the output: ${failure}; nothing is deleted, and it is tried again every ${RETRY_MS / 1_000} s`,
      );
    if (failure === undefined && this.#trouble !== undefined) this.#deps.fact("info", "the output is rotated again");
    this.#trouble = failure;
  }

  /** Said once until the file is small again. */
  #warnOfHugeFile(size: number): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (size <= EMERGENCY_FACTOR * this.#deps.plan.config.output.maxSize) {
      this.#hugeSinceMs = undefined;
      this.#saidHuge = false;
      return;
    }
    this.#hugeSinceMs ??= nowMs;
    const isLasting = this.#trouble !== undefined || nowMs - this.#hugeSinceMs >= EMERGENCY_AFTER_MS;
    if (this.#saidHuge || !isLasting) return;
    this.#saidHuge = true;
    const why =
      this.#trouble !== undefined
        ? `cannot be rotated: ${this.#trouble}`
        : this.#working
          ? "its rotation does not keep up with it"
          : "waits for the rotations of other bots";
    this.#deps.fact(
      "alert",
      `the output has grown to ${formatSize(size)}, more than ${EMERGENCY_FACTOR} times maxSize, and ${why}; make room, nothing of it is deleted`,
    );
  }

  /** Marks and last words are for people who look back: a full disk costs them, once said, and not the start. */
  #tryDisk(what: string, deed: () => void): void {
    try {
      deed();
      this.#failing.delete(what);
    } catch (error) {
      // When it is the index that cannot be read, a worker makes it anew.
      this.#firstLook = true;
      if (this.#failing.has(what)) return;
      this.#failing.add(what);
      this.#deps.fact("warn", `cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function readLine(text: string): RotateLine | undefined {
  try {
    const parsed = rotateLineSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
