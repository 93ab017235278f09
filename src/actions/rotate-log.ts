/**
 * The action `rotate-log`: moves the older part of a bot's output into a segment while the bot goes on writing.
 *
 * The order makes every kill harmless: (1) the intent, (2) the segment under its name, forced to the disk, (3) the index
 * says so, (4) a mark over the head of the live file, whose bytes the segment holds by now, (5) the index says that the cut
 * may have begun, (6) the cut, which takes the mark away, (7) the index without the intent. Whoever comes after a kill
 * reads the step from the index, and between (5) and (7) from the mark: it is there before the cut and gone after it.
 */
import { randomUUID } from "node:crypto";
import {
  chownSync,
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  cutBytes,
  markOf,
  restName,
  rotationDue,
  segmentName,
  surplus,
  type OutputIndex,
  type Pending,
} from "../core/output-log.ts";
import { rotateJobSchema, type RotateJob, type RotateLine } from "../core/rotate-job.ts";
import type { Clock } from "../platform/clock.ts";
import { collapseFront, collapseUnit } from "../platform/collapse.ts";
import { syncDir, writeFileAtomic } from "../platform/files.ts";
import { tryLock } from "../platform/lock.ts";
import { completed, isMarked } from "../platform/output-view.ts";
import { packRange } from "../platform/segment-file.ts";
import { defineAction } from "./contract.ts";
import { INDEX_MODE, loadIndex } from "./output-index.ts";
import { copyRest } from "./output-rest.ts";

/** Segments made by one worker; what is left is for the next one, which begins within seconds. */
const MAX_ROUNDS = 16;

/** Time between two words of a worker that goes on, ms. */
const PROGRESS_MS = 2_000;

/** A step that has just been done; tests end the process there. */
export const ROTATE_STEPS = [
  "intent",
  "packed",
  "renamed",
  "published",
  "marked",
  "cutting",
  "rest",
  "cut",
  "indexed",
  "pruned",
] as const;
export type RotateStep = (typeof ROTATE_STEPS)[number];

export interface RotateIo {
  readonly write: (line: RotateLine) => void;
  readonly clock: Clock;
  readonly onStep?: (step: RotateStep) => void;
}

export const rotateLogAction = defineAction({ jobSchema: rotateJobSchema, run: rotateLog });

/** Ends what an earlier worker left undone, then rotates as long as it is due. Returns the exit code; never throws. */
export async function rotateLog(job: RotateJob, io: RotateIo): Promise<number> {
  try {
    const lock = tryLock(job.lock);
    if (lock === undefined) {
      io.write({ kind: "busy" });
      return 0;
    }
    try {
      await rotateLocked(job, io);
    } finally {
      lock.release();
    }
    return 0;
  } catch (error) {
    io.write({ kind: "failed", reason: error instanceof Error ? error.message : String(error) });
    return 1;
  }
}

async function rotateLocked(job: RotateJob, io: RotateIo): Promise<void> {
  // Not O_APPEND: the mark goes to the head of the file.
  const fd = openSync(job.log, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!fstatSync(fd).isFile()) throw new Error(`${job.log} is not a regular file`);
    removeLeftovers(job);
    const rotation = new Rotation(job, io, fd, await loadIndex(job, fd, io));
    rotation.resume();
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      // One segment after the other: each begins where the last one ended.
      // oxlint-disable-next-line no-await-in-loop
      if (!(await rotation.next())) break;
    }
    rotation.prune();
  } finally {
    closeSync(fd);
  }
}

/** A worker that was killed while it wrote the index leaves a file under a name of its own; one before its cut, or of an earlier release, an empty rest. */
function removeLeftovers({ index, log }: RotateJob): void {
  for (const name of readdirSync(dirname(index)))
    if (name.startsWith(`.${basename(index)}.`) && name.endsWith(".tmp"))
      rmSync(join(dirname(index), name), { force: true });
  for (const name of readdirSync(dirname(log)))
    if (name.startsWith(`${basename(log)}.`) && name.endsWith("-rest")) removeIfEmpty(join(dirname(log), name));
}

/** An empty rest is in no index, so no pruning would ever come to it. */
function removeIfEmpty(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() === true && stat.size === 0) rmSync(path, { force: true });
}

class Rotation {
  readonly #job: RotateJob;
  readonly #io: RotateIo;
  readonly #fd: number;
  readonly #folder: string;
  #index: OutputIndex;
  #toldMs: number;

  constructor(job: RotateJob, io: RotateIo, fd: number, index: OutputIndex) {
    this.#job = job;
    this.#io = io;
    this.#fd = fd;
    this.#folder = dirname(job.log);
    this.#index = index;
    this.#toldMs = io.clock.monotonicMs();
  }

  /** Ends or takes back what a killed worker left. */
  resume(): void {
    const { pending } = this.#index;
    if (pending === null) return;
    if (pending.phase !== "copy") return this.#takeOut(pending);
    rmSync(this.#path(pending.name), { force: true });
    rmSync(this.#temporary(pending.name), { force: true });
    this.#save({ ...this.#index, pending: null });
  }

  /** Makes one segment when one is due, and says whether it did. */
  async next(): Promise<boolean> {
    const { maxSize, maxAgeMs } = this.#job;
    const { size } = fstatSync(this.#fd);
    const ageMs = this.#io.clock.wallTime().getTime() - Date.parse(this.#index.began);
    const due = rotationDue({ size, maxSize, maxAgeMs, ageMs });
    if (due === undefined) return false;
    const granularity = collapseUnit(this.#job.log);
    const bytes = cutBytes({ size, maxSize, granularity, due });
    if (bytes === 0) return false;
    const pending = await this.#copyOut(bytes, granularity === undefined ? "truncate" : "collapse");
    this.#takeOut(pending);
    this.prune();
    return true;
  }

  /** Removes the segments beyond `keep`; files first, so that none is forgotten. */
  prune(): void {
    const gone = surplus(this.#index.segments, this.#job.keep);
    if (gone.length === 0) return;
    for (const { name } of gone) rmSync(this.#path(name), { force: true });
    this.#io.onStep?.("pruned");
    this.#save({ ...this.#index, segments: this.#index.segments.slice(gone.length) });
  }

  async #copyOut(bytes: number, method: Pending["method"]): Promise<Pending> {
    const { log, compress } = this.#job;
    const at = this.#freeTime();
    const name = segmentName(basename(log), at, compress);
    const pending: Pending = { phase: "copy", method, name, bytes, at, token: randomUUID() };
    const temporary = this.#temporary(name);
    this.#save({ ...this.#index, pending });
    this.#io.onStep?.("intent");
    try {
      rmSync(temporary, { force: true });
      await packRange(this.#fd, bytes, temporary, { compress, onProgress: () => this.#tellProgress() });
      this.#io.onStep?.("packed");
      this.#giveToReaders(temporary);
      renameSync(temporary, this.#path(name));
      syncDir(this.#folder);
    } catch (error) {
      // The room is needed by whoever filled the disk; the intent is taken back by the next worker.
      rmSync(temporary, { force: true });
      throw new Error(`cannot write segment ${name}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    this.#io.onStep?.("renamed");
    const published: Pending = { ...pending, phase: "published" };
    this.#save({ ...this.#index, pending: published });
    this.#io.onStep?.("published");
    return published;
  }

  #takeOut(pending: Pending): void {
    const cutting: OutputIndex = { ...this.#index, pending: { ...pending, phase: "cut" } };
    // Somebody else has cut the file meanwhile: then there is nothing to take out.
    if (pending.phase === "published" && fstatSync(this.#fd).size >= pending.bytes) {
      const mark = Buffer.from(markOf(pending));
      writeSync(this.#fd, mark, 0, mark.length, 0);
      fdatasyncSync(this.#fd);
      this.#io.onStep?.("marked");
      this.#save(cutting);
      this.#io.onStep?.("cutting");
    }
    if (isMarked(this.#fd, cutting)) this.#cut(pending);
    fsyncSync(this.#fd);
    if (pending.method === "truncate") removeIfEmpty(this.#path(restName(pending.name)));
    this.#io.onStep?.("cut");
    this.#save(completed(cutting, this.#folder, this.#now()));
    this.#io.onStep?.("indexed");
    this.#io.write({ kind: "rotated", segment: pending.name, bytes: pending.bytes, method: pending.method });
  }

  #cut({ method, bytes, name }: Pending): void {
    if (method === "collapse") return collapseFront(this.#fd, bytes);
    copyRest(this.#fd, bytes, this.#path(restName(name)), () => this.#tellProgress());
    this.#io.onStep?.("rest");
    ftruncateSync(this.#fd, 0);
  }

  /** A worker that is silent for long is taken for one that hangs. */
  #tellProgress(): void {
    const nowMs = this.#io.clock.monotonicMs();
    if (nowMs - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = nowMs;
    this.#io.write({ kind: "progress" });
  }

  /** Readers by group of the live file may read its segments too. */
  #giveToReaders(path: string): void {
    if (process.getuid?.() === 0) chownSync(path, 0, fstatSync(this.#fd).gid);
  }

  /** Now, or the first millisecond after the newest segment's whose name is free, so that names sort as the stream does. */
  #freeTime(): string {
    const { log, compress } = this.#job;
    const newest = Date.parse(this.#index.segments.at(-1)?.at ?? "") || 0;
    for (let ms = Math.max(this.#io.clock.wallTime().getTime(), newest + 1); ; ms += 1) {
      const at = new Date(ms).toISOString();
      if (!existsSync(this.#path(segmentName(basename(log), at, compress)))) return at;
    }
  }

  #now(): string {
    return this.#io.clock.wallTime().toISOString();
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  #temporary(name: string): string {
    return join(this.#folder, `.${name}.tmp`);
  }

  #save(index: OutputIndex): void {
    writeFileAtomic(this.#job.index, `${JSON.stringify(index)}\n`, INDEX_MODE);
    this.#index = index;
  }
}
