/** One bot of the daemon: its lifecycle loop, and the deeds that the loop's effects ask for. It decides nothing itself. */
import { join } from "node:path";
import { FLAT } from "../../core/close-goal.ts";
import type { Rung } from "../../core/ladder.ts";
import type { Effect, Event, Hook, Policy, State } from "../../core/lifecycle-types.ts";
import type { Identity } from "../../core/identity.ts";
import type { Lockout } from "../../core/lockout.ts";
import { endsWait } from "../../core/start-order.ts";
import { adoptProcess, takeExit } from "../../platform/adopt.ts";
import { sleep } from "../../platform/clock.ts";
import { processAgeSeconds } from "../../platform/proc.ts";
import type { Census } from "../../platform/census.ts";
import type { TreeMarks } from "../../platform/tree.ts";
import type { MachineReading } from "../../platform/sample-file.ts";
import type { User } from "../../platform/user.ts";
import { createUsageSampler } from "../../platform/usage.ts";
import { createProbe } from "../../probes/index.ts";
import type { Begin, BotDeps, Order } from "./bot-deps.ts";
import { BotLimits } from "./bot-limits.ts";
import { botStatus } from "./bot-status.ts";
import { fenceMarks, planBot, withBoot, withMaintenance, type BotPlan } from "./bot-plan.ts";
import { BotSigns, type Level } from "./bot-signs.ts";
import { judgeBefore, lookUp, prepareFolders, refuseDoubt, refuseStrangers } from "./bot-setup.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { Emergency } from "./emergency.ts";
import { killAll, livingIn, type Fence } from "./fence.ts";
import { Guard, type GuardDeps } from "./guard/guard.ts";
import { Generation, type GenerationDeps } from "./generation.ts";
import { Dumps } from "./dumps.ts";
import { FlightRecorder } from "./flight-recorder.ts";
import { firstState, lastExitOf } from "./handover.ts";
import { runHook } from "./hooks.ts";
import { isAlive, isAtRisk, isClosing, LivePlan, restsByWish, withPlan } from "./live-plan.ts";
import { Output } from "./output.ts";
import { Loop, type Deed, type LoopDeps } from "./loop.ts";
import { decisionEntry, outdatedText, verdictFact } from "./narrate.ts";
import { makeRoomForBot } from "./quarantine.ts";
import { RestoredBot } from "./restored-mark.ts";
import { excusedText, type ProbeView } from "./schedule.ts";
import { Starter } from "./starter.ts";
import { inheritedLocks, kinMarks, kinOf, marksOfRemains } from "./survey.ts";

/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_GRACE_MS = 1_000;

/** Effects whose decision must outlive the machine, so that its journal line is forced to the disk first. */
const LASTING: ReadonlySet<Effect["kind"]> = new Set([
  "openIncident",
  "runAction",
  "endIncident",
  "acknowledgeIncident",
  "unlock",
]);

export class Bot {
  readonly loop: Loop;
  readonly emergency: Emergency;
  readonly guard: Guard;
  /** The last start of an earlier supervisor; `undefined` when there was none. */
  readonly before: Identity | undefined;
  readonly output: Output;
  readonly recorder: FlightRecorder;
  readonly dumps: Dumps;
  readonly restored: RestoredBot;
  /** A reload is about to let go of it: people do not start it meanwhile. */
  leaving = false;
  readonly sampleUsage: ReturnType<typeof createUsageSampler>;
  /** Bots that are to be ready before the first start of this one; empty once it is started, or somebody said otherwise. */
  waitsFor: readonly string[] = [];
  readonly #deps: BotDeps;
  readonly #dirs: Dirs;
  readonly #live: LivePlan;
  readonly #starter: Starter;
  readonly #signs: BotSigns;
  readonly limits: BotLimits;
  readonly #user: User | undefined;
  #generation: Generation | undefined;
  /** What earlier supervisors, or this account's bot under another name, may have left alive; empty once that is ended. */
  #earlier: Fence;
  /** Ends the `preStop` that runs; `undefined` while none does. */
  #hook: AbortController | undefined;
  #lastExitAt: Date | undefined;
  #outdated = false;
  #exited: Promise<void> = Promise.resolve();

  /** Throws when its files cannot be prepared, or when the same bot lives under another state folder. */
  constructor(name: string, config: BotConfig, dirs: Dirs, deps: BotDeps) {
    const { clock, random, env, pulse, remains } = deps;
    this.#deps = deps;
    this.#dirs = dirs;
    const live = new LivePlan(planBot(name, config, dirs));
    this.#live = live;
    refuseStrangers(this.plan, deps.census);
    this.sampleUsage = createUsageSampler(clock);
    const { user, userError } = lookUp(config.user);
    this.#user = user;
    const fact = this.fact.bind(this);
    const own = remains.find((each) => each.name === name);
    for (const move of makeRoomForBot(this.plan.files, own?.identityReading)) fact("alert", move);
    prepareFolders(this.plan.files, user);
    this.restored = new RestoredBot(this.plan.files.dir);
    this.#signs = new BotSigns(this.plan.files, (text) => fact("alert", text));
    this.output = new Output(withPlan(live, { clock, fact }));
    this.recorder = new FlightRecorder(withPlan(live, { clock, fact }));
    const { version, secrets } = deps;
    this.dumps = new Dumps(withPlan(live, { clock, fact, version, secrets, status: () => botStatus(this, clock) }));
    const kin = kinOf(this.plan, remains, deps.configured);
    const locks = inheritedLocks(kin, deps.configured);
    const cgroupName = `bot-${name}-${deps.installation}`;
    const { cgroupBase: base } = deps;
    const workerCgroup = base === undefined ? undefined : join(base, `close-${name}-${deps.installation}`);
    this.emergency = new Emergency(withPlan(live, { user, clock, random, env, workerCgroup, ...locks, fact }));
    const closing = (): boolean => isClosing(this.loop.state);
    const { facts, order } = { facts: this.#guardFacts(), order: this.order.bind(this) };
    this.guard = new Guard(withPlan(live, { clock, random, env, closing, ...facts, order, fact }));
    this.limits = new BotLimits({
      limits: config.limits,
      controllers: deps.controllers,
      user,
      cgroupName,
      clock,
      fact,
    });
    this.#starter = new Starter(withPlan(live, { ...deps, user, userError, cgroupName, limits: this.limits, fact }));
    const before = own?.identity;
    this.before = before;
    refuseDoubt(this.plan, before);
    this.#earlier = [marksOfRemains(this.plan.files, before), ...kinMarks(kin, deps.configured)];
    const record = this.#record.bind(this);
    const perform = this.#perform.bind(this);
    this.#lastExitAt = lastExitOf(deps.carried);
    const first = firstState({ before, lastGeneration: this.output.lastGeneration, carried: deps.carried, clock });
    const heard: LoopDeps["heard"] = (event) => {
      if (endsWait(event.kind)) this.waitsFor = [];
    };
    this.loop = new Loop(this.#policy, { clock, pulse, random, heard, record, perform, onBug: deps.onBug }, first);
    this.loop.resumeClosing(deps.carried?.closeAfterLeftMs);
  }

  /** What holds for the living start; a reload may have a later one wait for its end. */
  get plan(): BotPlan {
    return this.#live.now;
  }

  /** What the config says of the bot. */
  get latestPlan(): BotPlan {
    return this.#live.latest;
  }

  /** Fingerprint of what the last start was started with; `undefined` before the first. */
  get definition(): string | undefined {
    return this.#starter.definition;
  }

  /** What held it back when the daemon started is repaired. */
  release(): void {
    this.#starter.hold(undefined);
  }

  /** Takes a reload's definition: at once, or, with `restart`, when nothing lives of the old one; a bot that is up is restarted. */
  redefine(config: BotConfig, restart: boolean): void {
    const next = planBot(config.name, config, this.#dirs);
    const { kind } = this.loop.state;
    if (!isAlive(kind) || !(restart || this.#live.waits)) return this.#take(next);
    this.#live.hold(next);
    const up = kind === "starting" || kind === "running";
    return up ? this.loop.post({ kind: "restart", why: "restarted for its new definition" }) : undefined;
  }

  #take(next?: BotPlan): void {
    const { config } = this.#live.take(next);
    this.limits.change(config.limits, this.#deps.controllers);
    this.renewPolicy();
    this.#generation?.reprobe();
    this.#setLevel();
  }

  /** Maintenance or the machine's first minute has begun or ended, or the policy is another one. */
  renewPolicy(): void {
    this.loop.adopt(this.#policy);
  }

  /** What the account's guard asks of the bot. */
  #guardFacts(): Pick<GuardDeps, "atRisk" | "healthy" | "restsByWish" | "suspended" | "booting"> {
    return {
      atRisk: () => isAtRisk(this.loop.state),
      healthy: () => this.loop.state.kind === "running" && this.#generation?.health === "healthy",
      restsByWish: () => restsByWish(this.loop.state),
      suspended: () => this.#deps.suspended?.() === true,
      booting: () => (this.#deps.bootLeftMs?.() ?? 0) > 0,
    };
  }

  get #policy(): Policy {
    const policy = withMaintenance(this.plan.policy, this.#deps.suspended?.() === true);
    return withBoot(policy, this.#deps.bootLeftMs?.() ?? 0);
  }

  /** By what anything of the bot that may still live is recognised. */
  get fence(): Fence {
    return [this.#generation?.marks ?? this.#marks, ...this.#earlier];
  }

  get #marks(): TreeMarks {
    const environ = fenceMarks(this.plan.files, undefined);
    return { environ, cgroup: this.#starter.cgroup, root: undefined, known: [], orphans: this.#deps.alone };
  }

  get generation(): Generation | undefined {
    return this.#generation;
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get lockout(): Lockout | undefined {
    return this.emergency.lockout.current;
  }

  get lastExitAt(): Date | undefined {
    return this.#lastExitAt;
  }

  /** It was adopted, and the config would start it otherwise now. */
  get outdated(): boolean {
    return this.#outdated;
  }

  get user(): User | undefined {
    return this.#user;
  }

  /**
   * First acts of the daemon for this bot: end leftovers, honour a lockout, close if that is the order, or start.
   * With `held`, the reason why it must not be started, it is halted; an interrupted close goes on all the same. With
   * `waitsFor`, its start is left to who knows when those bots are ready.
   */
  begin({ emergency, held, waitsFor = [], wanted: told, census }: Begin): void {
    if (held !== undefined) this.#starter.hold(held);
    this.limits.tellGaps();
    const { carried } = this.#deps;
    const wanted = told ?? carried?.wanted ?? this.plan.config.autostart;
    // Whoever tells that has seen the end of the last start.
    const fresh = told !== undefined || emergency !== undefined || this.lockout !== undefined;
    // One that is stopped and wanted waits for the bots that its `after` names.
    const rests = carried?.kind === "halted" || (carried?.kind === "stopped" && !carried.wanted);
    if (!fresh && (rests || this.#adopt())) return this.#setLevel();
    const leftovers = this.#leftovers(census);
    if (leftovers.length > 0) this.loop.post({ kind: "leftovers", pids: leftovers });
    const locked = this.lockout ?? (emergency?.taken === true ? { ...emergency, outcome: null } : undefined);
    this.#setLevel();
    if (locked !== undefined) {
      const { outcome, trigger, reason, goal } = locked;
      const acknowledged = this.lockout?.acknowledgedAt !== undefined;
      const found = { outcome: outcome ?? undefined, trigger, reason, goal, acknowledged };
      this.loop.post({ kind: "lockFound", ...found, wanted });
    } else if (emergency !== undefined) this.order(emergency);
    else if (wanted && waitsFor.length > 0) this.waitsFor = waitsFor;
    else if (wanted) this.loop.post({ kind: "start" });
    return undefined;
  }

  /** Goes on with the bot of an earlier supervisor, if it lives and is beyond doubt the one. */
  #adopt(): boolean {
    const { before } = this;
    if (before === undefined) return false;
    const judged = judgeBefore(this.plan, before, this.#deps.carried === undefined ? undefined : "adopt");
    if (judged.kind === "end" && this.#noteExit(before)) return true;
    // After a clean end of the supervisor its bots are gone, as they should be.
    if (judged.kind === "end" && !(judged.gone && this.#deps.endedCleanly === true))
      this.fact("info", `the bot of the earlier supervisor is not adopted: ${judged.reason}`);
    if (judged.kind !== "adopt") return false;
    this.#outdated = judged.outdated;
    const { generation, invocationId, pid, startTimeTicks, ready } = before;
    const ended = Promise.withResolvers<void>();
    const child = adoptProcess({ pid, startTicks: startTimeTicks }, this.#deps.clock, ({ code, signal }) => {
      ended.resolve();
      this.output.end(generation);
      this.loop.post({ kind: "exited", generation, code, signal, oom: this.limits.wasOom() });
    });
    if (child === undefined) return this.#noteExit(before);
    this.#exited = ended.promise;
    this.#starter.adopt(before);
    this.#generation = this.#createGeneration({
      generation,
      invocationId,
      child,
      env: this.#starter.environmentOf(before),
      cgroup: before.cgroup ?? undefined,
      ageMs: (processAgeSeconds(startTimeTicks) ?? 0) * 1_000,
    });
    this.loop.post({ kind: "adopted", generation, ready });
    if (judged.outdated) this.fact("warn", outdatedText(this.plan.name));
    return true;
  }

  /** The bot ended while one version took the place of the other: its end is handled as if it had been seen at once. */
  #noteExit(before: Identity): boolean {
    const { generation, pid, startTimeTicks, ready } = before;
    const end = takeExit({ pid, startTicks: startTimeTicks });
    if (end === undefined) return false;
    this.#starter.adopt(before);
    this.output.end(generation);
    this.loop.post({ kind: "adopted", generation, ready });
    this.loop.post({ kind: "exited", generation, ...end, oom: end.signal === "SIGKILL" && this.limits.wasOom() });
    return true;
  }

  /** The bot or a person says that its restored data agrees with its account again. Throws when that cannot be noted. */
  reconciled(who: string): void {
    this.restored.reconciled();
    this.fact("alert", `reconciled after a restore, says ${who}`);
    this.#setLevel();
  }

  /** An order to close positions that is meant for every bot; one without an emergency section is kept as it is. */
  order({ trigger, reason, goal = FLAT }: Order): void {
    if (this.plan.policy.emergency !== undefined) return this.loop.post({ kind: "emergency", trigger, reason, goal });
    return this.fact("alert", `${reason}; this bot has no emergency section, so nothing of it is closed`);
  }

  /** Somebody removed what the bot is told through: its folders are made and its signs given anew. Throws when a folder cannot be made. */
  renewSigns(): void {
    prepareFolders(this.plan.files, this.#user);
    this.#signs.renew(this.level);
    this.recorder.renew();
    if (this.loop.state.kind === "stopping") this.#signs.forbidOrders();
  }

  /** Puts a fact about the bot into the journal. */
  fact(level: "info" | "warn" | "alert", text: string): void {
    this.#deps.journal.write({ kind: "fact", bot: this.plan.name, level, text }, { sync: level === "alert" });
    this.#deps.onChange();
  }

  /** Once in 10 s: remembers the tree, so that whoever escapes from it later is still known. */
  tick(): void {
    this.#signs.touch(this.#deps.clock.wallTime());
    this.#generation?.remember();
  }

  /** Each second: looks at what the limits of the living bot say. */
  look(): void {
    const { generation } = this;
    const { kind } = this.loop.state;
    if (generation === undefined || (kind !== "starting" && kind !== "running")) return;
    if (this.limits.look(() => generation.treePids())) this.#setLevel();
    const detail = this.limits.relief(generation.mailbox.facts.inFlight, this.loop.state, this.plan.policy);
    if (detail === undefined) return;
    this.loop.post({ kind: "failing", generation: generation.generation, cause: "limit", detail, action: "restart" });
  }

  /** Each second: keeps a reading of the living bot. */
  sample(machine: MachineReading): void {
    const { generation } = this;
    if (generation === undefined || !isAlive(this.loop.state.kind)) return;
    const { child, processes } = generation;
    const cgroupBytes = this.limits.usedBytes;
    this.recorder.sample({ generation: generation.generation, pid: child.pid, processes, cgroupBytes }, machine);
  }

  /** Each second: forces to the disk what was written in a hurry. */
  settle(): void {
    this.#starter.settle();
    this.emergency.lockout.settle();
  }

  /** The daemon ends: nothing is decided any more. Running processes are left as they are. */
  shutDown(): void {
    this.loop.close();
    this.#generation?.unwatch();
    this.recorder.close();
    if (!isAlive(this.loop.state.kind)) this.#starter.release();
  }

  #record({ event, from, to, effects }: { event: Event; from: State; to: State; effects: readonly Effect[] }): void {
    if (to.lastExit !== from.lastExit) this.#lastExitAt = this.#deps.clock.wallTime();
    const entry = decisionEntry(this.plan.name, event, from, to, effects);
    const sync = effects.some(({ kind }) => LASTING.has(kind));
    this.#deps.journal.write(entry, { sync });
    this.#deps.onChange();
    // Nothing lives of the old plan now, and the effects of this step are the first under the new one.
    if (this.#live.waits && (!isAlive(to.kind) || effects.some(({ kind }) => kind === "spawn"))) this.#take();
  }

  #perform(deed: Deed): void {
    switch (deed.kind) {
      case "spawn":
        return this.#spawn(deed.generation);
      case "askToStop":
        return void this.#askToStop();
      case "sweep":
        return void this.#sweep();
      case "forbidOrders":
        // Of a bot that is gone nobody is left to be told.
        return this.#isProvenGone() ? undefined : this.#signs.forbidOrders();
      case "permitOrders":
        return this.#signs.permitOrders();
      case "runHook":
        return void this.#runHook(deed.hook);
      case "watch":
        if (deed.stage === "running") this.#starter.noteReady();
        return this.#generation?.watch(deed.stage);
      case "unwatch":
        return this.#generation?.unwatch();
      case "openIncident":
        this.guard.yield();
        this.emergency.open(deed.trigger, deed.reason, deed.goal);
        return this.#setLevel();
      case "runAction":
        return void this.#runAction(deed.action);
      case "endIncident":
        return this.emergency.end(deed.outcome);
      case "acknowledgeIncident":
        return this.emergency.acknowledge();
      case "unlock":
        this.emergency.unlock();
        return this.#setLevel();
      case "note":
        // The journal line of the decision carries it.
        return undefined;
    }
  }

  #spawn(generation: number): void {
    this.restored.look();
    const { text } = this.restored;
    if (text !== undefined) this.fact("warn", `${text}: its level is minimal until it is reconciled (docs/restore.md)`);
    this.#setLevel();
    const post = this.loop.post.bind(this.loop);
    this.#outdated = false;
    // What an earlier supervisor did not live to seal.
    if (this.#generation === undefined) this.recorder.seal(generation - 1);
    this.output.begin(generation);
    const started = this.#starter.start(generation, this.loop.state.restarts, ({ code, signal, oom }) => {
      this.output.end(generation);
      post({ kind: "exited", generation, code, signal, oom });
    });
    if (started.kind === "failed") {
      const { permanent, reason } = started;
      return post({ kind: "spawnFailed", generation, permanent, reason });
    }
    const { child, env, invocationId, exited } = started;
    this.#exited = exited;
    this.#generation = this.#createGeneration({ generation, invocationId, child, env, cgroup: this.#starter.cgroup });
    post({ kind: "spawned", generation });
    this.#starter.prepare();
  }

  #createGeneration(
    start: Pick<GenerationDeps, "generation" | "invocationId" | "child" | "env" | "cgroup" | "ageMs">,
  ): Generation {
    const deps = this.#deps;
    const more: Omit<GenerationDeps, "plan"> = {
      ...start,
      user: this.#user,
      clock: deps.clock,
      alone: () => deps.alone,
      createProbe,
      post: this.loop.post.bind(this.loop),
      drain: this.#deps.drain,
      disturbance: () => this.#deps.machine?.disturbance(),
      onExcused: (probe) => this.fact("info", excusedText(probe)),
      onVerdict: (probe) => this.#onVerdict(probe),
      onStranger: (pid) =>
        this.fact("warn", `notify messages of pid ${pid} are ignored: it is not of the bot's processes`),
    };
    return new Generation(withPlan(this.#live, more));
  }

  /** SIGCONT follows, so that a stopped bot hears the signal too (systemd.kill(5)). */
  async #askToStop(): Promise<void> {
    const { generation } = this;
    if (generation === undefined) return;
    // What hangs can tell why only while it lives.
    await this.dumps.before(generation, this.loop.state);
    const { state } = this.loop;
    if (state.kind !== "stopping" || state.phase !== "signal" || this.generation !== generation) return;
    generation.child.signal(this.plan.config.stopSignal);
    generation.child.signal("SIGCONT");
  }

  async #sweep(): Promise<void> {
    this.#hook?.abort();
    this.#hook = undefined;
    const { generation } = this.loop.state;
    // The usual end: the main process died and left nobody behind.
    if (this.#isProvenGone()) return this.#settleGone(generation);
    this.#starter.distrustPrepared();
    // Frozen, then sealed, then killed: nothing of the bot can touch what it has recorded once its end is decided.
    const survivors = await killAll(this.fence, this.#deps.clock, () => {
      this.recorder.seal(generation);
      if (this.generation?.generation === generation) this.dumps.glance(this.generation, this.loop.state);
    });
    const waited = new AbortController();
    await Promise.race([this.#exited, sleep(this.#deps.clock, REAP_GRACE_MS, waited.signal)]);
    waited.abort();
    if (survivors.length > 0) return this.loop.post({ kind: "survivors", generation, pids: survivors });
    this.#earlier = [];
    return this.#settleGone(generation);
  }

  /** Nothing of the start lives any more. */
  #settleGone(generation: number): void {
    this.limits.settle();
    this.recorder.seal(generation);
    if (this.generation?.generation === generation) this.dumps.after(this.generation, this.level, this.loop.state);
    this.#setLevel();
    this.loop.post({ kind: "gone", generation });
  }

  /** Whether the kernel's books already prove the end of everything that the fence looks for. */
  #isProvenGone(): boolean {
    return this.#earlier.length === 0 && this.#generation?.provenGone === true;
  }

  async #runHook(hook: Hook): Promise<void> {
    const { generation, lastExit } = this.loop.state;
    const hooked = new AbortController();
    this.#hook = hooked;
    const trouble = await runHook(hook, {
      plan: this.plan,
      env: this.#generation?.env ?? {},
      user: this.#user,
      reason: lastExit?.cause ?? "stopped",
      signal: hooked.signal,
      clock: this.#deps.clock,
    });
    if (trouble !== undefined) this.fact("warn", trouble);
    this.loop.post({ kind: "hookEnded", generation, hook });
  }

  async #runAction(action: Rung): Promise<void> {
    this.#starter.distrustPrepared();
    const outcome = await this.emergency.close(this.fence);
    this.loop.post({ kind: "actionEnded", action, outcome });
  }

  #onVerdict(probe: ProbeView): void {
    const { level, text } = verdictFact(probe);
    this.fact(level, text);
    this.#setLevel();
  }

  /** The level that the supervisor demands of the bot, from its lockout and its probes. */
  get level(): Level {
    if (this.lockout !== undefined) return "emergency";
    if (this.restored.unreconciled) return "minimal";
    const degraded = this.#generation?.probes.some(
      (probe) => probe.config.onFailure === "degrade" && probe.record.verdict === "unhealthy",
    );
    return degraded === true || this.limits.strained ? "degraded" : "normal";
  }

  #setLevel(): void {
    this.#signs.demand(this.level);
  }

  #leftovers(census: Census | undefined): readonly number[] {
    try {
      return livingIn(this.fence, census);
    } catch {
      // Unknown is not empty: the sweep looks for itself and says what it found.
      return [0];
    }
  }
}
