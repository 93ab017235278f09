/** One bot of the daemon: its lifecycle loop, and the deeds that the loop's effects ask for. It decides nothing itself. */
import type { Rung } from "../../core/ladder.ts";
import type { Effect, Event, Hook, State, Trigger } from "../../core/lifecycle-types.ts";
import type { Identity } from "../../core/identity.ts";
import type { Lockout } from "../../core/lockout.ts";
import { adoptProcess } from "../../platform/adopt.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Controllers } from "../../platform/controllers.ts";
import { processAgeSeconds } from "../../platform/proc.ts";
import type { TreeMarks } from "../../platform/tree.ts";
import type { User } from "../../platform/user.ts";
import { createUsageSampler } from "../../platform/usage.ts";
import { createProbe } from "../../probes/index.ts";
import { BotLimits } from "./bot-limits.ts";
import { fenceMarks, planBot, type BotPlan } from "./bot-plan.ts";
import { BotSigns, type Level } from "./bot-signs.ts";
import { judgeBefore, lookUp, prepareFolders, refuseDoubt, refuseStrangers } from "./bot-setup.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { Emergency } from "./emergency.ts";
import { killAll, livingIn, type Fence } from "./fence.ts";
import { Generation, type GenerationDeps } from "./generation.ts";
import { runHook } from "./hooks.ts";
import type { Journal } from "./journal.ts";
import { Output } from "./output.ts";
import { Loop, type Deed, type LoopDeps } from "./loop.ts";
import { decisionEntry } from "./narrate.ts";
import type { Pulse } from "./pulse.ts";
import type { ProbeView } from "./schedule.ts";
import { RestoredBot } from "./restored-mark.ts";
import { Starter } from "./starter.ts";
import { accountOf, kinOf, marksOfRemains, type Remains } from "./survey.ts";

/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_GRACE_MS = 1_000;

/** Effects whose decision must outlive the machine, so that its journal line is forced to the disk first. */
const LASTING: ReadonlySet<Effect["kind"]> = new Set(["openIncident", "runAction", "endIncident", "unlock"]);

export interface BotDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly journal: Journal;
  /** Folder below which bots get their cgroup; `undefined` where there is none. */
  readonly cgroupBase: string | undefined;
  /** Where the cgroups for limits are made; `undefined` when nothing will be started. */
  readonly controllers: Controllers | undefined;
  /** No other bot runs under this supervisor, so whatever orphan comes to it is this bot's. */
  readonly alone: boolean;
  /** Tells the cgroups of two supervisors on one machine apart. */
  readonly installation: string;
  /** The supervisor's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads what waits in the bot's notify socket. */
  readonly drain: () => void;
  /** Something that status shows has changed. */
  readonly onChange: () => void;
  readonly pulse: Pulse;
  /** What the state folder holds of all bots, of this config or an earlier one. */
  readonly remains: readonly Remains[];
  /** Names of all bots of the config. */
  readonly configured: ReadonlySet<string>;
  /** Something threw that should not. */
  readonly onBug: (error: unknown) => void;
}

/** An order to close positions. */
export interface Order {
  readonly trigger: Trigger;
  readonly reason: string;
}

export class Bot {
  readonly plan: BotPlan;
  readonly loop: Loop;
  readonly emergency: Emergency;
  /** The last start of an earlier supervisor; `undefined` when there was none. */
  readonly before: Identity | undefined;
  readonly output: Output;
  readonly restored: RestoredBot;
  readonly sampleUsage: ReturnType<typeof createUsageSampler>;
  readonly #deps: BotDeps;
  readonly #starter: Starter;
  readonly #signs: BotSigns;
  readonly limits: BotLimits;
  readonly #user: User | undefined;
  #generation: Generation | undefined;
  /** What earlier supervisors, or this account's bot under another name, may have left alive; empty once that is ended. */
  #earlier: Fence;
  #hook = new AbortController();
  #lastExitAt: Date | undefined;
  #exited: Promise<void> = Promise.resolve();

  /** Throws when its files cannot be prepared, or when the same bot lives under another state folder. */
  constructor(name: string, config: BotConfig, dirs: Dirs, deps: BotDeps) {
    const { clock, random, env, pulse, remains } = deps;
    this.#deps = deps;
    this.plan = planBot(name, config, dirs);
    refuseStrangers(this.plan);
    this.sampleUsage = createUsageSampler(clock);
    const { user, userError } = lookUp(config.user);
    this.#user = user;
    prepareFolders(this.plan.files, user);
    const fact = this.fact.bind(this);
    this.restored = new RestoredBot(this.plan.files.dir);
    this.#signs = new BotSigns(this.plan.files, (text) => fact("alert", text));
    this.output = new Output({ plan: this.plan, clock, fact });
    const kin = kinOf(this.plan, remains, deps.configured);
    const inherited = kin.flatMap((each) => (accountOf(each) === undefined ? [] : each.lockoutFiles));
    this.emergency = new Emergency({ plan: this.plan, clock, random, env, inherited, fact });
    const cgroupName = `bot-${name}-${deps.installation}`;
    this.limits = new BotLimits({ limits: config.limits, controllers: deps.controllers, user, cgroupName, fact });
    this.#starter = new Starter({ ...deps, plan: this.plan, user, userError, cgroupName, limits: this.limits, fact });
    const before = remains.find((each) => each.name === name)?.identity;
    this.before = before;
    refuseDoubt(this.plan, before);
    this.#earlier = [
      marksOfRemains(this.plan.files, before),
      ...kin.map((each) => marksOfRemains(each.files, each.identity)),
    ];
    const record: LoopDeps["record"] = (entry) => this.#record(entry);
    const perform: LoopDeps["perform"] = (deed) => this.#perform(deed);
    const counts = { generation: before?.generation ?? 0, restarts: before?.restarts ?? 0 };
    this.loop = new Loop(this.plan.policy, { clock, pulse, random, record, perform, onBug: deps.onBug }, counts);
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

  get user(): User | undefined {
    return this.#user;
  }

  /**
   * First acts of the daemon for this bot: end leftovers, honour a lockout, close if that is the order, or start.
   * With `held`, the reason why it must not be started, it is halted; an interrupted close goes on all the same.
   */
  begin({ emergency, held }: { emergency?: Order | undefined; held?: string | undefined }): void {
    if (held !== undefined) this.#starter.hold(held);
    this.limits.tellGaps();
    if (emergency === undefined && this.lockout === undefined && this.#adopt()) return this.#setLevel();
    const leftovers = this.#leftovers();
    if (leftovers.length > 0) this.loop.post({ kind: "leftovers", pids: leftovers });
    const locked = this.lockout;
    const wanted = this.plan.config.autostart;
    this.#setLevel();
    if (locked !== undefined) {
      const { outcome, trigger, reason } = locked;
      this.loop.post({ kind: "lockFound", outcome: outcome ?? undefined, trigger, reason, wanted });
    } else if (emergency !== undefined) this.order(emergency);
    else if (wanted) this.loop.post({ kind: "start" });
    return undefined;
  }

  /** Goes on with the bot of an earlier supervisor, if it lives and is beyond doubt the one. */
  #adopt(): boolean {
    const { before } = this;
    if (before === undefined) return false;
    const judged = judgeBefore(this.plan, before);
    if (judged.kind === "end") this.fact("info", `the bot of the earlier supervisor is not adopted: ${judged.reason}`);
    if (judged.kind !== "adopt") return false;
    const { generation, invocationId, pid, startTimeTicks, ready } = before;
    const ended = Promise.withResolvers<void>();
    const child = adoptProcess({ pid, startTicks: startTimeTicks }, this.#deps.clock, ({ code, signal }) => {
      ended.resolve();
      this.output.end(generation);
      this.loop.post({ kind: "exited", generation, code, signal, oom: this.limits.wasOom() });
    });
    if (child === undefined) return false;
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
    return true;
  }

  /** The bot or a person says that its restored data agrees with its account again. Throws when that cannot be noted. */
  reconciled(who: string): void {
    this.restored.reconciled();
    this.fact("alert", `reconciled after a restore, says ${who}`);
    this.#setLevel();
  }

  /** An order to close positions that is meant for every bot; one without an emergency section is kept as it is. */
  order({ trigger, reason }: Order): void {
    if (this.plan.policy.emergency !== undefined) return this.loop.post({ kind: "emergency", trigger, reason });
    return this.fact("alert", `${reason}; this bot has no emergency section, so nothing of it is closed`);
  }

  /** Puts a fact about the bot into the journal. */
  fact(level: "info" | "warn" | "alert", text: string): void {
    this.#deps.journal.write({ kind: "fact", bot: this.plan.name, level, text }, { sync: level === "alert" });
    this.#deps.onChange();
  }

  /** Once in a while: remembers the tree, so that whoever escapes from it later is still known. */
  tick(): void {
    this.#generation?.remember();
  }

  /** Each second: looks at what the limits of the living bot say. */
  look(): void {
    const { generation } = this;
    const { kind } = this.loop.state;
    if (generation === undefined || (kind !== "starting" && kind !== "running")) return;
    if (this.limits.look(() => generation.treePids())) this.#setLevel();
  }

  /** The daemon ends: nothing is decided any more. Running processes are left as they are. */
  shutDown(): void {
    this.loop.close();
    this.#generation?.unwatch();
    if (!["starting", "running", "stopping", "stuck"].includes(this.loop.state.kind)) this.#starter.release();
  }

  #record({ event, from, to, effects }: { event: Event; from: State; to: State; effects: readonly Effect[] }): void {
    if (to.lastExit !== from.lastExit) this.#lastExitAt = this.#deps.clock.wallTime();
    const entry = decisionEntry(this.plan.name, event, from, to, effects);
    const sync = effects.some(({ kind }) => LASTING.has(kind));
    this.#deps.journal.write(entry, { sync });
    this.#deps.onChange();
  }

  #perform(deed: Deed): void {
    switch (deed.kind) {
      case "spawn":
        return this.#spawn(deed.generation);
      case "askToStop":
        return this.#askToStop();
      case "sweep":
        return void this.#sweep();
      case "forbidOrders":
        return this.#signs.forbidOrders();
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
        this.emergency.open(deed.trigger, deed.reason);
        return this.#setLevel();
      case "runAction":
        return void this.#runAction(deed.action);
      case "endIncident":
        return this.emergency.end(deed.outcome);
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
    return post({ kind: "spawned", generation });
  }

  #createGeneration(
    start: Pick<GenerationDeps, "generation" | "invocationId" | "child" | "env" | "cgroup" | "ageMs">,
  ): Generation {
    return new Generation({
      ...start,
      plan: this.plan,
      user: this.#user,
      clock: this.#deps.clock,
      alone: this.#deps.alone,
      createProbe,
      post: this.loop.post.bind(this.loop),
      drain: this.#deps.drain,
      onVerdict: (probe) => this.#onVerdict(probe),
      onStranger: (pid) =>
        this.fact("warn", `notify messages of pid ${pid} are ignored: it is not of the bot's processes`),
    });
  }

  /** SIGCONT follows, so that a stopped bot hears the signal too (systemd.kill(5)). */
  #askToStop(): void {
    const child = this.#generation?.child;
    child?.signal(this.plan.config.stopSignal);
    child?.signal("SIGCONT");
  }

  async #sweep(): Promise<void> {
    this.#hook.abort();
    const { generation } = this.loop.state;
    const survivors = await killAll(this.fence, this.#deps.clock);
    await Promise.race([this.#exited, this.#wait(REAP_GRACE_MS)]);
    if (survivors.length > 0) return this.loop.post({ kind: "survivors", generation, pids: survivors });
    this.#earlier = [];
    this.limits.settle();
    this.#setLevel();
    return this.loop.post({ kind: "gone", generation });
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(delayMs, resolve));
  }

  async #runHook(hook: Hook): Promise<void> {
    const { generation, lastExit } = this.loop.state;
    this.#hook = new AbortController();
    const trouble = await runHook(hook, {
      plan: this.plan,
      env: this.#generation?.env ?? {},
      user: this.#user,
      reason: lastExit?.cause ?? "stopped",
      signal: this.#hook.signal,
      clock: this.#deps.clock,
    });
    if (trouble !== undefined) this.fact("warn", trouble);
    this.loop.post({ kind: "hookEnded", generation, hook });
  }

  async #runAction(action: Rung): Promise<void> {
    const outcome = await this.emergency.close(this.fence);
    this.loop.post({ kind: "actionEnded", action, outcome });
  }

  #onVerdict(probe: ProbeView): void {
    const name = probe.config.name ?? probe.config.kind;
    const { verdict } = probe.record;
    const reason = probe.result !== undefined && probe.result.kind !== "success" ? `: ${probe.result.reason}` : "";
    const loud = verdict === "unhealthy" ? (probe.config.onFailure === "alert" ? "alert" : "warn") : "info";
    this.fact(loud, `probe ${name} is ${verdict}${reason}`);
    this.#setLevel();
  }

  /** The level that the supervisor demands of the bot, from its lockout and its probes. */
  get level(): Level {
    if (this.lockout !== undefined) return "emergency";
    if (this.restored.unreconciled) return "minimal";
    const degraded = this.#generation?.probes.some(
      (probe) => probe.config.onFailure === "degrade" && probe.record.verdict === "unhealthy",
    );
    return degraded === true || this.limits.high ? "degraded" : "normal";
  }

  #setLevel(): void {
    this.#signs.demand(this.level);
  }

  #leftovers(): readonly number[] {
    try {
      return livingIn(this.fence);
    } catch {
      // Unknown is not empty: the sweep looks for itself and says what it found.
      return [0];
    }
  }
}
