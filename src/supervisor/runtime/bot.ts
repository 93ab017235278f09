/** One bot of the daemon: its lifecycle loop, and who does what the loop's effects ask for. It decides nothing itself. */
import { join } from "node:path";
import { FLAT } from "../../core/close-goal.ts";
import type { Rung } from "../../core/ladder.ts";
import type { Effect, Event, Policy, State } from "../../core/lifecycle-types.ts";
import type { Order } from "../../core/first-act.ts";
import type { Identity } from "../../core/identity.ts";
import type { Lockout } from "../../core/lockout.ts";
import type { CarriedBot } from "../../core/upgrade.ts";
import type { MachineReading } from "../../platform/sample-file.ts";
import type { User } from "../../platform/user.ts";
import { begin } from "./beginning.ts";
import { BotUsage } from "./bot-usage.ts";
import type { Begin, BotDeps } from "./bot-deps.ts";
import { BotLimits } from "./bot-limits.ts";
import { BotProcess } from "./bot-process.ts";
import { botStatus } from "./bot-status.ts";
import { planBot, withBoot, withMaintenance, type BotPlan } from "./bot-plan.ts";
import { BotDoubt } from "./bot-doubt.ts";
import { BotFolders } from "./bot-folders.ts";
import { BotSigns, levelOf, type Level } from "./bot-signs.ts";
import { lookUp, prepareFolders } from "./bot-setup.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { Emergency } from "./emergency.ts";
import type { Fence } from "./fence.ts";
import { Guard, type GuardDeps } from "./guard/guard.ts";
import type { Generation } from "./generation.ts";
import { Dumps } from "./dumps.ts";
import { FlightRecorder } from "./flight-recorder.ts";
import { carriedFor, carriedUnder, firstState, lastExitOf } from "./handover.ts";
import { isAlive, isAtRisk, isClosing, LivePlan, restsByWish, withPlan } from "./live-plan.ts";
import { OperatorStop } from "./operator-stop.ts";
import { Output } from "./output.ts";
import { Loop, type Deed } from "./loop.ts";
import { decisionEntry, mustLast, verdictFact } from "./narrate.ts";
import { RestoredBot } from "./restored-mark.ts";
import type { ProbeView } from "./schedule.ts";
import { StartTurn } from "./start-turn.ts";
import { Starter } from "./starter.ts";
import { cgroupNameOf, earlierMarks, inheritedLocks, kinMarks, kinOf } from "./survey.ts";

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
  /** Who it runs as; `undefined` is the supervisor's own user. */
  readonly user: User | undefined;
  readonly turn: StartTurn;
  readonly doubt: BotDoubt;
  readonly #deps: BotDeps;
  readonly #dirs: Dirs;
  readonly #live: LivePlan;
  readonly #starter: Starter;
  readonly #signs: BotSigns;
  readonly limits: BotLimits;
  readonly usage: BotUsage;
  readonly process: BotProcess;
  #lastExitAt: Date | undefined;
  readonly #carried: CarriedBot | undefined;
  readonly #folders: BotFolders;

  /** Throws when its files cannot be prepared, or when the same bot lives under another state folder. */
  constructor(name: string, config: BotConfig, dirs: Dirs, deps: BotDeps) {
    const { clock, random, env, pulse, remains, shared, version, secrets, foreign, cgroupBase: base } = deps;
    this.#deps = deps;
    this.#dirs = dirs;
    const live = (this.#live = new LivePlan(planBot(name, config, dirs)));
    const doubt = (this.doubt = new BotDoubt(withPlan(live, { ...deps, end: () => this.process.endEarlier() })));
    const { user, userError } = lookUp(config.user);
    this.user = user;
    const fact = this.fact.bind(this);
    const own = remains.find((each) => each.name === name);
    const { files } = this.plan;
    this.#folders = new BotFolders({ files, user, identity: own?.identityReading, shared, clock, fact });
    this.restored = new RestoredBot(files.dir, foreign, this.#folders.isNew);
    this.#signs = new BotSigns(this.plan.files, (text) => fact("alert", text));
    this.output = new Output(withPlan(live, { clock, fact }));
    this.recorder = new FlightRecorder(withPlan(live, { clock, fact }));
    this.dumps = new Dumps(withPlan(live, { clock, fact, version, secrets, status: () => botStatus(this, clock) }));
    const kin = kinOf(this.plan, remains, deps.configured);
    const locks = { ...inheritedLocks(kin, deps.configured), closesOnly: deps.closesOnly };
    const cgroupName = cgroupNameOf(name, deps.installation, own?.identity);
    const workerCgroup = base === undefined ? undefined : join(base, `close-${name}-${deps.installation}`);
    this.emergency = new Emergency(withPlan(live, { user, clock, random, env, workerCgroup, foreign, ...locks, fact }));
    const closing = (): boolean => isClosing(this.loop.state);
    const order = this.order.bind(this);
    this.guard = new Guard(withPlan(live, { clock, random, env, closing, ...this.#guardFacts(), order, fact }));
    const bounds = { limits: config.limits, controllers: deps.controllers };
    const limits = (this.limits = new BotLimits({ ...bounds, user, cgroupName, clock, fact }));
    this.usage = new BotUsage(clock, this.limits);
    const before = (this.before = own?.identity);
    this.#starter = new Starter(withPlan(live, { ...deps, user, userError, cgroupName, limits, fact, before, doubt }));
    this.process = new BotProcess({
      ...deps,
      live,
      user,
      starter: this.#starter,
      limits,
      output: this.output,
      recorder: this.recorder,
      dumps: this.dumps,
      earlier: earlierMarks(this.plan, before, kinMarks(kin, deps.configured)),
      isNew: this.#folders.isNew,
      alone: () => deps.alone,
      loop: () => this.loop,
      level: () => this.level,
      setLevel: () => this.#setLevel(),
      onVerdict: (probe) => this.#onVerdict(probe),
      fact,
    });
    const record = this.#record.bind(this);
    const perform = this.#perform.bind(this);
    const carried = (this.#carried = this.#handedOver());
    this.turn = this.#createTurn();
    this.#lastExitAt = lastExitOf(carried);
    const locked = this.lockout !== undefined;
    const past = { before, lastGeneration: this.output.lastGeneration, carried, clock, config };
    const first = firstState({ ...past, locked, held: locked ? undefined : doubt.text });
    const heard = ({ kind }: Event): void => this.turn.heard(kind);
    this.loop = new Loop(this.#policy, { clock, pulse, random, heard, record, perform, onBug: deps.onBug }, first);
    this.loop.resumeClosing(carried?.closeAfterLeftMs);
  }

  #handedOver(): CarriedBot | undefined {
    const { carried, dropped } = carriedFor(this.plan.account, this.before?.account, this.#deps.carried);
    if (dropped !== undefined) this.fact("alert", dropped);
    return carriedUnder(this.#policy, carried);
  }

  #createTurn(): StartTurn {
    const alert = (text: string): void => this.fact("alert", text);
    return new StartTurn({
      restoring: () => this.#deps.restoring?.(this.plan.name),
      start: () => this.loop.post({ kind: "start" }),
      stop: new OperatorStop({ ...this.#deps, folder: this.plan.files.dir, alert }),
      alert,
    });
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
    this.generation?.reprobe();
    this.#setLevel();
  }

  /** Maintenance has begun or ended, or the policy is another one. */
  renewPolicy(): void {
    this.loop.adopt(this.#policy);
  }

  /** What the account's guard asks of the bot. */
  #guardFacts(): Pick<GuardDeps, "atRisk" | "healthy" | "restsByWish" | "suspended" | "booting"> {
    return {
      atRisk: () => isAtRisk(this.loop.state),
      healthy: () => this.loop.state.kind === "running" && this.generation?.health === "healthy",
      restsByWish: () => restsByWish(this.loop.state),
      suspended: () => this.#deps.suspended?.() === true,
      booting: () => this.#deps.clock.monotonicMs() < (this.#deps.bootEndsAtMs ?? 0),
    };
  }

  get #policy(): Policy {
    const policy = withMaintenance(this.plan.policy, this.#deps.suspended?.() === true);
    return withBoot(policy, this.#deps.bootEndsAtMs);
  }

  /** By what anything of the bot that may still live is recognised. */
  get fence(): Fence {
    return this.process.fence;
  }

  get generation(): Generation | undefined {
    return this.process.generation;
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get lockout(): Lockout | undefined {
    return this.emergency.lockout.current;
  }

  /** As `Emergency.owed`. */
  get owed(): string | undefined {
    return this.emergency.owed;
  }

  get lastExitAt(): Date | undefined {
    return this.#lastExitAt;
  }

  /** It was adopted, and the config would start it otherwise now. */
  get outdated(): boolean {
    return this.process.outdated;
  }

  /** First acts of the daemon for this bot. */
  begin(how: Begin): void {
    const hold = (why: string): void => this.#starter.hold(why);
    begin(this, { ...this.#deps, carried: this.#carried, hold, setLevel: () => this.#setLevel() }, how);
  }

  /** The bot or a person says that its restored data agrees with its account again. Throws when that cannot be noted. */
  reconciled(who: string): void {
    this.restored.reconciled();
    this.fact("alert", `reconciled after a restore, says ${who}`);
    this.#setLevel();
  }

  /** An order to close positions that is meant for every bot; one without an emergency section is kept as it is. */
  order({ trigger, reason, goal = FLAT }: Order, wanted?: boolean): void {
    const known = wanted === undefined ? {} : { wanted };
    if (this.plan.policy.emergency !== undefined)
      return this.loop.post({ kind: "emergency", trigger, reason, goal, ...known });
    return this.fact("alert", `${reason}; this bot has no emergency section, so nothing of it is closed`);
  }

  /** Somebody removed what the bot is told through: its folders are made and its signs given anew. Throws when a folder cannot be made. */
  renewSigns(): void {
    prepareFolders(this.plan.files, this.user);
    this.#signs.renew(this.level);
    this.turn.stop.renew();
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
    this.generation?.remember();
  }

  /** Each second: looks at what the limits of the living bot say. */
  look(): void {
    const { generation } = this;
    const { kind } = this.loop.state;
    if (generation === undefined || (kind !== "starting" && kind !== "running")) return;
    if (generation.noteLook(this.limits.look(() => generation.treePids()))) this.#setLevel();
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
    this.turn.stop.settle();
    this.process.settle();
    this.emergency.settle();
  }

  /** The daemon ends: nothing is decided any more. Running processes are left as they are. */
  shutDown(): void {
    this.#folders.complete();
    this.loop.close();
    this.generation?.unwatch();
    this.recorder.close();
    this.emergency.release();
    if (!isAlive(this.loop.state.kind)) this.#starter.release();
  }

  #record({ event, from, to, effects }: { event: Event; from: State; to: State; effects: readonly Effect[] }): void {
    if (to.wanted) this.turn.stop.forget();
    if (to.lastExit !== from.lastExit) this.#lastExitAt = this.#deps.clock.wallTime();
    const entry = decisionEntry(this.plan.name, event, from, to, effects);
    this.#deps.journal.write(entry, { sync: mustLast(effects) });
    this.#deps.onChange();
    // Nothing lives of the old plan now, and the effects of this step are the first under the new one.
    if (this.#live.waits && (!isAlive(to.kind) || effects.some(({ kind }) => kind === "spawn"))) this.#take();
  }

  #perform(deed: Deed): void {
    switch (deed.kind) {
      case "spawn":
        this.#lookAtRestored();
        return this.process.spawn(deed.generation);
      case "askToStop":
        return void this.process.askToStop();
      case "sweep":
        return void this.process.sweep();
      case "seal":
        return this.process.seal(deed.generation);
      case "forbidOrders":
        // Of a bot that is gone nobody is left to be told.
        return this.process.provenGone ? undefined : this.#signs.forbidOrders();
      case "permitOrders":
        return this.#signs.permitOrders();
      case "runHook":
        return void this.process.runHook(deed.hook);
      case "watch":
        if (deed.stage === "running") this.#starter.note({ ready: true });
        return this.generation?.watch(deed.stage);
      case "unwatch":
        return this.generation?.unwatch();
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

  /** Says before each start that its data was restored, as long as nobody has reconciled it with the account. */
  #lookAtRestored(): void {
    this.restored.look();
    const { text } = this.restored;
    if (text !== undefined) this.fact("warn", `${text}: its level is minimal until it is reconciled (docs/restore.md)`);
    this.#setLevel();
  }

  async #runAction(action: Rung): Promise<void> {
    this.#folders.complete();
    this.#starter.distrustPrepared();
    this.dumps.atClose();
    const doubt = await this.doubt.look();
    const outcome = doubt === undefined ? await this.emergency.close(this.fence) : this.emergency.refuse(doubt.message);
    this.loop.post({ kind: "actionEnded", action, outcome });
  }

  #onVerdict(probe: ProbeView): void {
    const { level, text } = verdictFact(probe);
    this.fact(level, text);
    this.#setLevel();
  }

  /** The level that the supervisor demands of the bot. */
  get level(): Level {
    const { unreconciled } = this.restored;
    const { lockout, generation, limits } = this;
    const strained = limits.strained || generation?.degradedBefore === true;
    return levelOf({ locked: lockout !== undefined, unreconciled, probes: generation?.probes ?? [], strained });
  }

  #setLevel(): void {
    this.#signs.demand(this.level);
  }
}
