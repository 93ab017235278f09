/**
 * The crash dumps of one bot, as the daemon sees them: when one is made, and the workers that make it. A dump never stops or
 * delays what saves the account: a bot that is to be ended politely waits two seconds at most for its capture, and nothing else waits.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { CaptureJob, PackJob, PackLine } from "../../core/dump-job.ts";
import { deathSignature, isDeath, judgeDeath, type Dumped } from "../../core/dump.ts";
import type { ExitInfo, State } from "../../core/lifecycle-types.ts";
import { sleep } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { glanceAt, glanceAtCgroup } from "../../platform/glance.ts";
import { isUndying, startWorker, type Worker, type WorkerRequest } from "../../platform/worker.ts";
import { captureJob, packJob, type Death, type JobDeps, type Subject } from "./dump-jobs.ts";
import type { Generation } from "./generation.ts";

/** Longest wait of a polite stop for the capture, ms. */
const READ_MS = 2_000;
/** Longest run of either worker, ms. */
const CAPTURE_MS = 5_000;
const PACK_MS = 30_000;
/** Wait of a daemon that ends for a dump that is being made, ms. */
const END_MS = 5_000;
const UNDYING = "the worker of the last one was killed and does not die, as it waits for a disk that does not answer";
const WORKER_MEMORY_BYTES = 512 * 1024 ** 2;
/** The packing begins this much after a death, ms: the next start comes first, and the last words are on file by then. */
const PACK_DELAY_MS = 100;
/** A death waits for what is being made, as a dump that somebody asked for, but not for more than this. */
const MAX_WAITING = 1;
/** Kinds of death that are remembered; of more the longest unseen is forgotten, and dumped again. */
const MAX_KINDS = 64;

export interface DumpsDeps extends JobDeps {
  readonly fact: (level: "info" | "warn", text: string) => void;
  /** The bot's part of the status. */
  readonly status: () => Promise<unknown>;
}

interface Capture {
  readonly generation: number;
  readonly folder: string;
  readonly worker: Worker;
}

/** A death, with the worker that may still read what is left of it. */
interface CapturedDeath extends Death {
  readonly captured: Capture | undefined;
}

export type DumpAnswer =
  | { readonly kind: "dumped"; readonly file: string }
  | { readonly kind: "failed"; readonly reason: string };

export class Dumps {
  readonly #deps: DumpsDeps;
  /** By signature; least recently seen first. */
  readonly #deaths = new Map<string, Dumped>();
  /** The death before, whose kind the next one mostly is: a restart does not wait for its signature to be made again. */
  #last: { readonly exit: ExitInfo; readonly signature: string } | undefined;
  #capture: Capture | undefined;
  /** Of a start that is being killed. */
  #glance: { readonly generation: number; readonly entries: PackJob["glance"] } | undefined;
  /** Dumps the last death, which was left out since the same was dumped shortly before. */
  #left: (() => void) | undefined;
  #closed = false;
  /** What is under way: dumps, and captures that are given up. */
  readonly #making = new Set<Promise<unknown>>();
  readonly #workers = new Set<Worker>();

  constructor(deps: DumpsDeps) {
    this.#deps = deps;
  }

  /**
   * A bot is about to be asked to stop. When that is since it hangs: resolves when what it can tell is read, or after two
   * seconds. `undefined`: nothing is to be waited for. Never rejects.
   */
  before(generation: Generation, state: State): Promise<void> | undefined {
    const { lastExit: exit } = state;
    const failed = state.kind === "stopping" && state.after.kind !== "stay" && state.after.kind !== "again";
    if (!failed || exit === undefined || !isDeath(exit) || !this.#wanted || this.#capture !== undefined)
      return undefined;
    if (this.#judge(this.#signatureOf(exit)).dump !== "full") return undefined;
    return this.#readBefore(generation, exit);
  }

  async #readBefore(generation: Generation, exit: ExitInfo): Promise<void> {
    const read = new AbortController();
    try {
      const hung = exit.cause === "heartbeat" || exit.cause === "progress";
      this.#capture = this.#startCapture(generation, { stack: this.#stack, hung }, () => read.abort());
      void this.#capture.worker.done.then(() => read.abort());
      await sleep(this.#deps.clock, READ_MS, read.signal);
    } catch (error) {
      this.#complain(error);
    }
  }

  /** A bot is about to be killed, and stands still. When that is for an emergency: what the kernel tells at once is kept. Never throws. */
  glance({ generation, child }: Generation, state: State): void {
    if (!isEndForEmergency(state) || !this.#wanted || this.#capture !== undefined) return;
    this.#glance = { generation, entries: glanceAt(child) };
  }

  /** Nothing lives of the start any more; one that was ended for an emergency is dumped whatever its end was. Returns at once; never throws. */
  after(generation: Generation, level: string, state: State): void {
    this.#left = undefined;
    const captured = this.#capture === undefined ? undefined : this.#takeCapture(generation.generation);
    const { lastExit: exit } = state;
    const glance = this.#glance === undefined ? undefined : this.#takeGlance(generation.generation);
    if (exit === undefined || (!isDeath(exit) && !isEndForEmergency(state))) return this.#discardSoon(captured);
    const signature = this.#signatureOf(exit);
    const last = this.#deaths.get(signature);
    const repeats = last?.repeats ?? 0;
    const { dump: due, next } = judgeDeath(last, this.#deps.clock.monotonicMs());
    const dump = due ?? (isEndForEmergency(state) ? "light" : undefined);
    this.#remember(signature, next);
    if (!this.#wanted || this.#making.size > MAX_WAITING) return this.#discardSoon(captured);
    const subject = { generation, level };
    const known = { exit, reason: exit.cause, signature, repeats, light: dump !== "full" };
    if (dump === undefined) {
      // A bot that dies all the time must not be kept from its next start by what hardly anybody will ask for.
      this.#left = () =>
        this.#makeSoon(subject, { ...known, captured: undefined, glance, status: this.#deps.status() });
      return this.#discardSoon(captured);
    }
    const status = this.#deps.status();
    // Now: the cgroup goes with its start.
    const counts = captured !== undefined || generation.leaf === undefined ? {} : glanceAtCgroup(generation.leaf);
    return this.#makeSoon(subject, { ...known, captured, glance: { ...glance, ...counts }, status });
  }

  /** Positions of the dead bot are about to be closed: its last death is dumped, also where the same was dumped shortly before. */
  atClose(): void {
    const make = this.#left;
    this.#left = undefined;
    if (this.#wanted) make?.();
  }

  /** Nothing but a timer now: what a promise's machinery needs at its first use takes as long as half a restart. */
  #makeSoon(subject: Subject, death: CapturedDeath): void {
    const earlier = [...this.#making];
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#making.add(promise);
    this.#deps.clock.after(PACK_DELAY_MS, () => {
      const made = Promise.allSettled(earlier).then(() => this.#make(subject, death));
      void made.finally(() => {
        this.#making.delete(promise);
        resolve();
      });
    });
  }

  /** Dumps the living bot, which goes on. Never rejects. */
  async now(subject: Subject): Promise<DumpAnswer> {
    if (this.#closed) return { kind: "failed", reason: "the supervisor is about to end" };
    if (this.#making.size > 0) return { kind: "failed", reason: "another dump of this bot is being made" };
    // Held on to, so that a daemon that ends waits for it.
    const made = this.#makeNow(subject);
    this.#keep(made);
    return made;
  }

  async #makeNow(subject: Subject): Promise<DumpAnswer> {
    try {
      // Not the stack: asking for it opens the inspector of a bot that lives on.
      const capture = this.#startCapture(subject.generation, { stack: "none", hung: false }, () => undefined);
      await capture.worker.done;
      const signature = deathSignature({ cause: "stopped", code: null, signal: null, detail: "manual" });
      const status = this.#deps.status();
      return await this.#make(subject, {
        exit: null,
        reason: "manual",
        signature,
        repeats: 0,
        light: false,
        captured: capture,
        glance: undefined,
        status,
      });
    } catch (error) {
      return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** The daemon ends, or lets go of the bot: a dump that is being made is waited for, and given up after some seconds. */
  async shutDown(): Promise<void> {
    this.#closed = true;
    const ended = new AbortController();
    void Promise.allSettled(this.#making).then(() => ended.abort());
    await sleep(this.#deps.clock, END_MS, ended.signal);
    for (const worker of this.#workers) worker.kill();
    await Promise.allSettled(this.#making);
    await this.#discard(this.#capture);
  }

  get #wanted(): boolean {
    return this.#deps.plan.config.dump.enabled && !this.#closed;
  }

  get #stack(): CaptureJob["stack"] {
    return this.#deps.plan.config.dump.stack;
  }

  #signatureOf(exit: ExitInfo): string {
    const last = this.#last;
    if (
      last?.exit.detail === exit.detail &&
      last.exit.cause === exit.cause &&
      last.exit.code === exit.code &&
      last.exit.signal === exit.signal
    )
      return last.signature;
    const signature = deathSignature(exit);
    this.#last = { exit, signature };
    return signature;
  }

  #judge(signature: string): ReturnType<typeof judgeDeath> {
    return judgeDeath(this.#deaths.get(signature), this.#deps.clock.monotonicMs());
  }

  #remember(signature: string, dumped: Dumped): void {
    this.#deaths.delete(signature);
    this.#deaths.set(signature, dumped);
    if (this.#deaths.size <= MAX_KINDS) return;
    const [longestUnseen = signature] = this.#deaths.keys();
    this.#deaths.delete(longestUnseen);
  }

  /** Holds on to what is under way until it has ended. */
  #keep(deed: Promise<unknown>): void {
    this.#making.add(deed);
    void deed.finally(() => this.#making.delete(deed));
  }

  /** Throws when it cannot be started, and while one of before is not gone that was killed: another one could be held as well. */
  #start(request: WorkerRequest): Worker {
    const givesUp = `${request.args.join(" ")} ${this.#deps.plan.files.dumps}`;
    if (isUndying(givesUp)) throw new Error(UNDYING);
    const worker = startWorker({ ...request, givesUp });
    this.#workers.add(worker);
    void worker.done.then(() => this.#workers.delete(worker));
    return worker;
  }

  #discardSoon(captured: Capture | undefined): void {
    if (captured !== undefined) this.#keep(this.#discard(captured));
  }

  /** What was captured of a death that is not dumped. */
  async #discard(captured: Capture | undefined): Promise<void> {
    if (captured === undefined) return;
    captured.worker.kill();
    await captured.worker.done;
    rmSync(captured.folder, { recursive: true, force: true });
  }

  #startCapture(generation: Generation, how: Pick<CaptureJob, "stack" | "hung">, onRead: () => void): Capture {
    ensureDir(this.#deps.plan.files.dumps, 0o700);
    const job = captureJob(this.#deps, generation, how);
    const worker = this.#start({
      args: ["__action", "capture-dump"],
      job: JSON.stringify(job),
      deadlineMs: CAPTURE_MS,
      memory: WORKER_MEMORY_BYTES,
      clock: this.#deps.clock,
      // It says one thing.
      onLine: onRead,
    });
    return { generation: generation.generation, folder: job.folder, worker };
  }

  #takeCapture(generation: number): Capture | undefined {
    const capture = this.#capture;
    this.#capture = undefined;
    return capture?.generation === generation ? capture : undefined;
  }

  #takeGlance(generation: number): PackJob["glance"] {
    const glance = this.#glance;
    this.#glance = undefined;
    return glance?.generation === generation ? glance.entries : undefined;
  }

  async #make(subject: Subject, of: CapturedDeath): Promise<DumpAnswer> {
    try {
      await of.captured?.worker.done;
      ensureDir(this.#deps.plan.files.dumps, 0o700);
      const line = await this.#pack(await packJob(this.#deps, subject, of));
      if (line.kind === "skipped") {
        this.#deps.fact("warn", `no crash dump: ${line.reason}`);
        return { kind: "failed", reason: line.reason };
      }
      const known =
        of.repeats === 0
          ? ""
          : `; ${of.repeats} ${of.repeats === 1 ? "death" : "deaths"} of this kind before it not dumped`;
      this.#deps.fact("info", `crash dump ${line.file} (${line.bytes} bytes)${known}`);
      return { kind: "dumped", file: line.file };
    } catch (error) {
      return this.#complain(error);
    }
  }

  async #pack(job: PackJob): Promise<PackLine> {
    // Of no use to a start.
    const { packLineSchema } = await import("../../core/dump-job.ts");
    let said: PackLine | undefined;
    const worker = this.#start({
      args: ["__action", "pack-dump"],
      job: JSON.stringify(job),
      deadlineMs: PACK_MS,
      memory: WORKER_MEMORY_BYTES,
      clock: this.#deps.clock,
      stderrPath: join(job.dumps, ".last-error"),
      onLine: (line) => {
        said = packLineSchema.safeParse(parseJson(line)).data ?? said;
      },
    });
    const { code, signal, timedOut } = await worker.done;
    if (said !== undefined) return said;
    throw new Error(`its worker ${timedOut ? "overran its deadline" : `ended with ${signal ?? `code ${code}`}`}`);
  }

  #complain(error: unknown): DumpAnswer {
    const reason = error instanceof Error ? error.message : String(error);
    this.#deps.fact("warn", `cannot make a crash dump: ${reason}`);
    return { kind: "failed", reason };
  }
}

function isEndForEmergency(state: State): boolean {
  return state.kind === "stopping" && state.after.kind === "recover";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
