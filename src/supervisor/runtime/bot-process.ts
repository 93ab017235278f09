/** The process of one bot, start after start: spawned or adopted, asked to stop, and swept until nothing of it lives. */
import type { Hook, State } from "../../core/lifecycle-types.ts";
import type { Identity } from "../../core/identity.ts";
import { adoptProcess, takeExit } from "../../platform/adopt.ts";
import { Census } from "../../platform/census.ts";
import { sleep } from "../../platform/clock.ts";
import { processAgeSeconds } from "../../platform/proc.ts";
import { UNSEEN, type TreeMarks } from "../../platform/tree.ts";
import type { User } from "../../platform/user.ts";
import { createProbe } from "../../probes/index.ts";
import type { BotDeps } from "./bot-deps.ts";
import type { BotLimits } from "./bot-limits.ts";
import { fenceMarks, type BotPlan } from "./bot-plan.ts";
import { judgeBefore } from "./bot-setup.ts";
import { saysDegraded, type Level } from "./bot-signs.ts";
import type { Dumps } from "./dumps.ts";
import { doubtfulIn, doubtText, killAll, leftOf, livingIn, livingText, withoutSessions, type Fence } from "./fence.ts";
import type { FlightRecorder } from "./flight-recorder.ts";
import { Generation, type GenerationDeps } from "./generation.ts";
import { runHook } from "./hooks.ts";
import { withPlan, type LivePlan } from "./live-plan.ts";
import type { Input, Loop } from "./loop.ts";
import { outdatedText } from "./narrate.ts";
import type { Output } from "./output.ts";
import { excusedText, type ProbeView } from "./schedule.ts";
import type { Starter } from "./starter.ts";

/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_GRACE_MS = 1_000;

/** Least time between the two looks for what an earlier supervisor may have left, ms. */
const SECOND_LOOK_MS = 500;

const FOREIGN = "another supervisor has the state folder of this one; end one of the two";

export interface BotProcessDeps extends Pick<
  BotDeps,
  "clock" | "drain" | "machine" | "carried" | "endedCleanly" | "foreign"
> {
  readonly live: LivePlan;
  readonly user: User | undefined;
  readonly starter: Starter;
  readonly limits: BotLimits;
  readonly output: Output;
  readonly recorder: FlightRecorder;
  readonly dumps: Dumps;
  /** What earlier supervisors, or this account's bot under another name, may have left alive. */
  readonly earlier: Fence;
  /** Its folder was made just now: no earlier supervisor has left anything in it. */
  readonly isNew: boolean;
  /** As in `BotDeps`, at this moment. */
  readonly alone: () => boolean;
  /** It is made after the process, whose ends it hears of. */
  readonly loop: () => Loop;
  readonly level: () => Level;
  /** What the level is made of may have changed. */
  readonly setLevel: () => void;
  readonly onVerdict: (probe: ProbeView) => void;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
}

export class BotProcess {
  readonly #deps: BotProcessDeps;
  #generation: Generation | undefined;
  /** Empty once what was left of earlier days is ended. */
  #earlier: Fence;
  /** When the first look found nobody of earlier days; `undefined` while a second one has no use. */
  #foundNobodyAtMs: number | undefined;
  /** Ends the `preStop` that runs; `undefined` while none does. */
  #hook: AbortController | undefined;
  #outdated = false;
  /** What was told last of survivors that a person has to end. */
  #told: string | undefined;
  /** Resolves when the runtime has seen the end of the last main process. */
  #exited: Promise<void> = Promise.resolve();

  constructor(deps: BotProcessDeps) {
    this.#deps = deps;
    this.#earlier = deps.earlier;
  }

  /** The last start; `undefined` before the first. */
  get generation(): Generation | undefined {
    return this.#generation;
  }

  /** It was adopted, and the config would start it otherwise now. */
  get outdated(): boolean {
    return this.#outdated || this.#deps.limits.unmet.length > 0;
  }

  get #plan(): BotPlan {
    return this.#deps.live.now;
  }

  get #state(): State {
    return this.#deps.loop().state;
  }

  #post(input: Input): void {
    this.#deps.loop().post(input);
  }

  /** By what anything of the bot that may still live is recognised. */
  get fence(): Fence {
    return [this.#generation?.marks ?? this.#marks, ...this.#earlier];
  }

  get #marks(): TreeMarks {
    const environ = fenceMarks(this.#plan.files, undefined);
    return { environ, cgroup: this.#deps.starter.cgroup, root: undefined, known: [], orphans: this.#deps.alone() };
  }

  /** Goes on with the bot of an earlier supervisor, if it lives and is beyond doubt the one. */
  adopt(before: Identity | undefined): boolean {
    const { limits, output, starter, fact, clock, carried } = this.#deps;
    if (before === undefined) return false;
    const judged = judgeBefore(this.#plan, before, carried === undefined ? undefined : "adopt");
    if (judged.kind === "end" && this.#noteExit(before)) return true;
    // After a clean end of the supervisor its bots are gone, as they should be.
    if (judged.kind === "end" && !(judged.gone && this.#deps.endedCleanly === true))
      fact("info", `the bot of the earlier supervisor is not adopted: ${judged.reason}`);
    if (judged.kind !== "adopt") return false;
    this.#outdated = judged.outdated;
    const { generation, invocationId, pid, startTimeTicks, ready } = before;
    const ended = Promise.withResolvers<void>();
    const child = adoptProcess({ pid, startTicks: startTimeTicks }, clock, ({ code, signal }) => {
      ended.resolve();
      output.end(generation);
      this.#post({ kind: "exited", generation, code, signal, oom: limits.wasOom() });
    });
    if (child === undefined) return this.#noteExit(before);
    this.#exited = ended.promise;
    const adopted = this.#createGeneration({
      generation,
      invocationId,
      child,
      env: starter.environmentOf(before),
      cgroup: before.cgroup ?? undefined,
      ageMs: (processAgeSeconds(startTimeTicks) ?? 0) * 1_000,
      watchdogMs: before.watchdogMs,
      degradedBefore: saysDegraded(this.#plan.files.level),
    });
    this.#generation = adopted;
    starter.adopt(before, () => adopted.treePids());
    // A config that has changed may have sent its output elsewhere.
    if (!judged.outdated) output.opened();
    this.#post({ kind: "adopted", generation, ready });
    if (judged.outdated) fact("warn", outdatedText(this.#plan.name));
    return true;
  }

  /** The bot ended while one version took the place of the other: its end is handled as if it had been seen at once. */
  #noteExit(before: Identity): boolean {
    const { limits, output, starter } = this.#deps;
    const { generation, pid, startTimeTicks, ready } = before;
    const end = takeExit({ pid, startTicks: startTimeTicks });
    if (end === undefined) return false;
    starter.adopt(before);
    output.end(generation);
    this.#post({ kind: "adopted", generation, ready });
    this.#post({ kind: "exited", generation, ...end, oom: end.signal === "SIGKILL" && limits.wasOom() });
    return true;
  }

  /** Starts the bot; what came of it is posted. */
  spawn(generation: number): void {
    const { starter, recorder, output, foreign, isNew, clock } = this.#deps;
    const post = this.#post.bind(this);
    // That one may have locked the bot, or start it in the next moment; and it would read what we note of the start.
    if (foreign?.() === true) return post({ kind: "spawnFailed", generation, permanent: false, reason: FOREIGN });
    this.#outdated = false;
    // What an earlier supervisor did not live to seal.
    if (this.#generation === undefined && !isNew) recorder.seal(generation - 1);
    output.begin(generation);
    const started = starter.start({ ...this.#state, generation }, ({ code, signal, oom }) => {
      output.end(generation);
      post({ kind: "exited", generation, code, signal, oom, proven: this.provenGone });
    });
    clock.after(0, output.noteOfStart(generation));
    if (started.kind === "failed") {
      const { permanent, waits = false, reason } = started;
      return post({ kind: "spawnFailed", generation, permanent, waits, reason });
    }
    const { child, env, invocationId, exited } = started;
    this.#exited = exited;
    output.opened();
    this.#generation = this.#createGeneration({ generation, invocationId, child, env, cgroup: starter.cgroup });
    post({ kind: "spawned", generation });
    starter.prepareSoon();
  }

  #createGeneration(
    start: Pick<
      GenerationDeps,
      "generation" | "invocationId" | "child" | "env" | "cgroup" | "ageMs" | "watchdogMs" | "degradedBefore"
    >,
  ): Generation {
    const { live, user, clock, alone, drain, machine, onVerdict, fact } = this.#deps;
    const more: Omit<GenerationDeps, "plan"> = {
      ...start,
      restarts: this.#state.restarts,
      user,
      clock,
      alone,
      createProbe,
      post: this.#post.bind(this),
      drain,
      disturbance: () => machine?.disturbance(),
      onExcused: (probe) => fact("info", excusedText(probe)),
      onVerdict,
      onStranger: (pid) => fact("warn", `notify messages of pid ${pid} are ignored: it is not of the bot's processes`),
    };
    return new Generation(withPlan(live, more));
  }

  /** SIGCONT follows, so that a stopped bot hears the signal too (systemd.kill(5)). */
  async askToStop(): Promise<void> {
    const { generation } = this;
    const { dumps } = this.#deps;
    if (generation === undefined) return;
    // What hangs can tell why only while it lives; all others are not to wait for as much as a promise.
    const read = dumps.before(generation, this.#state);
    if (read !== undefined) await read;
    const state = this.#state;
    if (state.kind !== "stopping" || state.phase !== "signal" || this.generation !== generation) return;
    generation.child.signal(this.#plan.config.stopSignal);
    generation.child.signal("SIGCONT");
  }

  /** Each second: forces to the disk what was written in a hurry, with what the living start has asked for. */
  settle(): void {
    const { generation } = this;
    if (generation?.generation === this.#state.generation)
      this.#deps.starter.note({ watchdogMs: generation.mailbox.facts.watchdogMs });
    this.#deps.starter.settle();
  }

  async sweep(): Promise<void> {
    this.#hook?.abort();
    this.#hook = undefined;
    const { starter, recorder, dumps, clock } = this.#deps;
    const { generation } = this.#state;
    // The usual end: the main process died and left nobody behind.
    if (this.provenGone) return this.#settleGone(generation);
    starter.distrustPrepared();
    // Frozen, then sealed, then killed: nothing of the bot can touch what it has recorded once its end is decided.
    const survivors = await killAll(this.fence, clock, () => {
      recorder.seal(generation);
      if (this.generation?.generation === generation) dumps.glance(this.generation, this.#state);
    });
    const waited = new AbortController();
    await Promise.race([this.#exited, sleep(clock, REAP_GRACE_MS, waited.signal)]);
    waited.abort();
    if (survivors.length > 0) {
      this.#tell(survivors);
      this.noteSessions();
      return this.#post({ kind: "survivors", generation, pids: survivors });
    }
    this.#told = undefined;
    this.#earlier = [];
    return this.#settleGone(generation);
  }

  /** Once for each: what a person has to end. */
  #tell(survivors: readonly number[]): void {
    const { fence } = this;
    const unseen = `${livingText(survivors, fence)} cannot be ended from here; end its container, or write 1 to cgroup.kill of that cgroup`;
    const text = survivors.includes(UNSEEN) ? unseen : doubtText(survivors, fence);
    if (text !== undefined && text !== this.#told) this.#deps.fact("alert", text);
    this.#told = text;
  }

  /**
   * Sessions of earlier days that are seen to be over: by the time of the next sweep their numbers may be strangers', who are not to hold the
   * bot. Never throws.
   */
  noteSessions(census?: Census): void {
    try {
      this.#earlier = withoutSessions(this.#earlier, census);
    } catch {
      // Unknown is not over.
    }
  }

  /** Nothing of the start lives any more. */
  #settleGone(generation: number): void {
    const dump = this.#closeBooks(generation);
    dump();
    this.#post({ kind: "gone", generation });
  }

  /** Closes the books of a start of which nothing lives any more, and which is followed by the next one at once: that does not wait for the dump. */
  seal(generation: number): void {
    this.#deps.clock.after(0, this.#closeBooks(generation));
  }

  /** The answer begins its dump. */
  #closeBooks(generation: number): () => void {
    const { limits, recorder, dumps, level, setLevel } = this.#deps;
    limits.settle();
    recorder.seal(generation);
    const [ended, state, was] = [this.#generation, this.#state, level()];
    ended?.noteGone();
    this.#deps.starter.noteGone();
    setLevel();
    return () => {
      if (ended?.generation === generation) dumps.after(ended, was, state);
    };
  }

  /** Whether the kernel's books already prove the end of everything that the fence looks for. */
  get provenGone(): boolean {
    return this.#earlier.length === 0 && this.#generation?.provenGone === true;
  }

  async runHook(hook: Hook): Promise<void> {
    const { user, clock, fact } = this.#deps;
    const { generation, lastExit } = this.#state;
    const hooked = new AbortController();
    this.#hook = hooked;
    const trouble = await runHook(hook, {
      plan: this.#plan,
      env: this.#generation?.env ?? {},
      user,
      reason: lastExit?.cause ?? "stopped",
      signal: hooked.signal,
      clock,
    });
    if (trouble !== undefined) fact("warn", trouble);
    this.#post({ kind: "hookEnded", generation, hook });
  }

  /** Pids of what an earlier supervisor may have left, as of the census; [0] where processes cannot be listed. */
  leftovers(census: Census | undefined): readonly number[] {
    const { starter } = this.#deps;
    // Only the cgroup that was made just now has held nobody: those of the last start and of kin are asked.
    const empty = starter.untouched ? starter.cgroup : undefined;
    try {
      const fence = this.fence.map((marks) => (marks.cgroup === empty ? { ...marks, cgroup: undefined } : marks));
      const now = census ?? new Census();
      const living = [...livingIn(fence, now), ...doubtfulIn(fence, now)];
      if (living.length === 0) this.#foundNobodyAtMs = this.#deps.clock.monotonicMs();
      return living;
    } catch {
      // Unknown is not empty: the sweep looks for itself and says what it found.
      return [0];
    }
  }

  /**
   * Ends what earlier supervisors may have left, of a bot that rests; what survives, as people are told. By the marks alone: a pid that an identity
   * named, which a person has taken away since, is somebody else's.
   */
  async endEarlier(): Promise<string | undefined> {
    const fence = this.fence.map((marks) => ({ ...marks, root: undefined }));
    const survivors = await killAll(fence, this.#deps.clock);
    if (survivors.length > 0) return livingText(survivors, fence);
    this.#earlier = [];
    return undefined;
  }

  /** Whether it is time for `forgetEarlier`. */
  get doubtsEarlier(): boolean {
    const atMs = this.#earlier.length === 0 ? undefined : this.#foundNobodyAtMs;
    return atMs !== undefined && this.#deps.clock.monotonicMs() - atMs >= SECOND_LOOK_MS;
  }

  /**
   * The second look for what an earlier supervisor may have left, which its first end would else wait for: a process in the
   * middle of an exec, which one look does not recognise, is not so at both. Whatever is found is ended at once where the
   * bot rests, and else at that end.
   */
  forgetEarlier(census: Census): void {
    this.#foundNobodyAtMs = undefined;
    const generation = this.#generation;
    try {
      const pids = leftOf(this.#earlier, generation === undefined ? [] : [generation.ownMarks], census);
      if (pids.length === 0) {
        this.#earlier = [];
        if (generation === undefined) this.#deps.starter.noteGone();
      } else this.#post({ kind: "leftovers", pids });
    } catch {
      // Unknown is not gone.
    }
  }
}
