/**
 * One bot under the simulated daemon: the real loop, generation, mailbox, schedule and silence probes, with deeds done to
 * the simulated machine. It is bot.ts with the machine taken out, deed by deed.
 */
import { judgeAdoption } from "../../src/core/adoption.ts";
import { firstAct, meaningOf } from "../../src/core/first-act.ts";
import { readIdentity, type Identity } from "../../src/core/identity.ts";
import type { CarriedBot } from "../../src/core/upgrade.ts";
import type { NotifyMessage } from "../../src/core/notify.ts";
import { definitionOf, fenceMarks, KILL_GRACE_MS, type BotPlan } from "../../src/supervisor/runtime/bot-plan.ts";
import { Generation, type GenerationDeps } from "../../src/supervisor/runtime/generation.ts";
import { carriedBot, carriedUnder, firstState, obstacleOf } from "../../src/supervisor/runtime/handover.ts";
import { Loop, type Deed, type LoopDeps } from "../../src/supervisor/runtime/loop.ts";
import { accountOf, kinOf, type Remains } from "../../src/supervisor/runtime/survey.ts";
import { Behaviour, drawCharacter, exemplary } from "./behaviour.ts";
import { lockoutFilesOf, lockoutIn, SimulatedLockout } from "./lockout.ts";
import type { Process } from "./machine.ts";
import { fakeProbe } from "./probes.ts";
import { straysOf } from "./strays.ts";
import type { SimulatedDaemon } from "./simulated-daemon.ts";
import type { World } from "./world.ts";

/** Time between two looks of a sweep, ms; the real one looks more often, which decides nothing. */
const LOOK_MS = 500;
/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_MS = 1_000;
/** Workers started one right after the other when one dies. */
const WORKER_TRIES = 3;
/** Older generations that still may say something late. */
const MAX_FORMER = 3;

export class SimulatedBot {
  readonly plan: BotPlan;
  readonly loop: Loop;
  readonly lockout: SimulatedLockout;
  readonly daemon: SimulatedDaemon;
  readonly #world: World;
  readonly #before: Identity | undefined;
  readonly #carried: CarriedBot | undefined;
  readonly #inbox: { process: Process; message: NotifyMessage }[] = [];
  readonly #former: Generation[] = [];
  #earlier: readonly string[];
  #generation: Generation | undefined;
  #identity: Identity | undefined;
  #cancelHook: () => void = () => {};

  constructor(world: World, daemon: SimulatedDaemon, plan: BotPlan, other: BotPlan, carried: CarriedBot | undefined) {
    this.#world = world;
    this.#carried = carried;
    this.daemon = daemon;
    this.plan = plan;
    const { disk } = world.machine;
    const identityReading = readIdentity(disk.read(other.files.identity));
    const identity = identityReading.kind === "known" ? identityReading.identity : undefined;
    const lockoutFiles = lockoutFilesOf(other);
    const lockout = lockoutIn(disk, lockoutFiles);
    const remains: Remains = { name: other.name, files: other.files, identity, identityReading, lockout, lockoutFiles };
    const kin = kinOf(
      plan,
      [remains],
      new Set(world.settings.accounts.map((each) => each.plans[world.nameOf(each.name)].name)),
    );
    const inherited = kin.flatMap((each) => (accountOf(each) === undefined ? [] : each.lockoutFiles));
    const sync = world.variant.syncLockout;
    this.lockout = new SimulatedLockout({ disk, plan, inherited, sync, goesOn: () => daemon.survives() });
    const own = readIdentity(disk.read(plan.files.identity));
    this.#before = own.kind === "known" ? own.identity : undefined;
    this.#earlier = [
      ...fenceMarks(plan.files, this.#before?.invocationId),
      ...kin.flatMap((each) => fenceMarks(each.files, each.identity?.invocationId)),
    ];
    const deps: LoopDeps = {
      clock: daemon.clock,
      pulse: daemon.pulse,
      random: () => {
        if (daemon.alive) world.oracle.beforeEvent();
        return world.dice.chance.roll();
      },
      record: (entry) => {
        if (daemon.alive) world.oracle.record(this, entry);
      },
      perform: (deed) => {
        if (!daemon.survives()) return;
        world.oracle.beforeDeed(this, deed);
        this.#perform(deed);
      },
      onBug: (error) => world.oracle.complain(`internal error: ${String(error)}`),
    };
    const { clock } = daemon;
    const under = carriedUnder(plan.policy, carried);
    const first = firstState({ before: this.#before, lastGeneration: 0, carried: under, clock });
    this.loop = world.variant.makeLoop(plan.policy, deps, first);
    this.loop.resumeClosing(under?.closeAfterLeftMs);
  }

  get generation(): Generation | undefined {
    return this.#generation;
  }

  begin(ordered: boolean): void {
    const order = ordered ? ({ trigger: "file", reason: "the file was there" } as const) : undefined;
    const { emergency, keptDown } = meaningOf(order, this.plan.policy.emergency !== undefined);
    const lockout = this.lockout.current;
    const carried = this.#carried;
    const fresh = (emergency ?? lockout) !== undefined;
    if (!fresh && carried?.kind === "backoff")
      return this.loop.post({ kind: "backoffFound", leftMs: carried.backoffLeftMs ?? 0 });
    if (!fresh && (carried?.kind === "halted" || carried?.wanted === false)) return undefined;
    if (!fresh && this.#adopt()) return undefined;
    const living = this.#world.machine.marked(this.#fence);
    const leftovers = living.length > 0 && this.#world.variant.findsLeftovers;
    if (leftovers) this.loop.post({ kind: "leftovers", pids: living.map(({ pid }) => pid) });
    const wanted = carried?.wanted ?? this.plan.config.autostart;
    const act = firstAct({ emergency, keptDown, lockout, wanted, leftovers });
    if (act.kind === "lock") this.loop.post(act.found);
    if (act.kind === "start") this.loop.post({ kind: "start" });
    if ((act.kind === "lock" || act.kind === "emergency") && act.order !== undefined)
      this.loop.post({ kind: "emergency", trigger: act.order.trigger, reason: act.order.reason });
    return undefined;
  }

  /** What the next version is told of it; `undefined` when it cannot be handed over now. */
  handOver(): CarriedBot | undefined {
    this.drain();
    const { kind } = this.loop.state;
    const obstacle = obstacleOf({ loop: this.loop, plan: this.plan, owed: undefined });
    if (obstacle !== undefined || (kind === "running" && this.#generation?.child.signal("SIGCONT") !== true))
      return undefined;
    const turn = { isDue: false, keptDown: undefined, staysDown: false };
    return carriedBot({ plan: this.plan, loop: this.loop, lastExitAt: undefined, turn }, this.daemon.clock);
  }

  /** A message has reached the notify socket; it is read a little later. */
  hear(process: Process, message: NotifyMessage): void {
    this.#inbox.push({ process, message });
    if (this.#inbox.length > 1) return;
    this.#later(this.#world.dice.chance.between(0, 5), () => this.drain());
  }

  drain(): void {
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      const generation = this.#generation;
      if (generation?.invocationId === next.process.invocationId) generation.mailbox.take(next.message);
    }
  }

  /** Something late, double or of an older generation: it must change nothing that is not so anyway. */
  stray(): void {
    const dice = this.#world.dice.stray;
    const former = this.#former[dice.between(0, MAX_FORMER - 1)];
    const generation = former?.generation ?? this.loop.state.generation - 1;
    former?.mailbox.take({ kind: dice.pick(["ready", "stopping", "watchdogTrigger"]) });
    this.loop.post(dice.pick(straysOf(generation)));
    const present = this.loop.state.generation;
    // Said twice: the bot is ready, its tree is gone, its hook has ended.
    this.loop.post(
      dice.pick([
        { kind: "ready", generation: present },
        { kind: "spawned", generation: present },
      ]),
    );
  }

  shutDown(): void {
    this.loop.close();
    this.#generation?.unwatch();
  }

  get #fence(): readonly string[] {
    return [...(this.#generation?.marks.environ ?? fenceMarks(this.plan.files, undefined)), ...this.#earlier];
  }

  #later(delayMs: number, deed: () => void): () => void {
    return this.#world.time.in(delayMs, this.daemon.owner, deed);
  }

  #adopt(): boolean {
    const before = this.#before;
    if (before === undefined) return false;
    const { machine } = this.#world;
    const process = machine.find(before.pid, before.startTimeTicks);
    const seen = {
      bootId: machine.bootId,
      startTimeTicks: process?.startTicks,
      invocationId: process?.invocationId,
      inCgroup: false,
    };
    const judged = judgeAdoption(before, seen, {
      orphans: this.#carried === undefined ? this.plan.config.orphans : "adopt",
      definition: definitionOf(this.plan, {}),
      account: this.plan.account,
      sameUser: true,
      sameSockets: true,
      wasStopping: machine.disk.read(this.plan.files.noNewOrders) !== undefined,
    });
    if (judged.kind === "doubt") this.#world.oracle.complain(`doubts its own bot: ${judged.reason}`);
    if (judged.kind !== "adopt" || process === undefined) return false;
    this.#identity = before;
    const { generation, ready } = before;
    this.#watchEnd(process, generation, true);
    this.#live(process, generation, { ageMs: 10 * (this.#world.time.nowMs / 10 - process.startTicks) });
    this.loop.post({ kind: "adopted", generation, ready });
    return true;
  }

  #perform(deed: Deed): void {
    switch (deed.kind) {
      case "spawn":
        return this.#spawn(deed.generation);
      case "askToStop":
        return void this.#generation?.child.signal("SIGTERM");
      case "sweep":
        return this.#sweep();
      case "seal":
        return this.#world.oracle.sealing(this);
      case "forbidOrders":
        return this.#world.machine.disk.write(this.plan.files.noNewOrders, "stopping\n", { sync: false });
      case "permitOrders":
        return this.#world.machine.disk.remove(this.plan.files.noNewOrders);
      case "runHook":
        return this.#runHook(deed.hook);
      case "watch":
        if (deed.stage === "running") this.#noteReady();
        return this.#generation?.watch(deed.stage);
      case "unwatch":
        return this.#generation?.unwatch();
      case "openIncident":
        return this.#lock(() => this.lockout.open(deed.trigger, deed.reason, this.daemon.clock.wallTime()));
      case "endIncident":
        return this.#lock(() => this.lockout.end(deed.outcome, this.daemon.clock.wallTime()));
      case "acknowledgeIncident":
        return this.#lock(() => this.lockout.acknowledge(this.daemon.clock.wallTime()));
      case "unlock":
        this.#world.oracle.unlocking(this);
        return this.#lock(() => this.lockout.remove());
      case "runAction":
        return this.#close(1);
      case "note":
        return undefined;
    }
  }

  #lock(change: () => void): void {
    change();
    this.#world.oracle.written(this, this.lockout.onDisk);
  }

  #spawn(generation: number): void {
    const { machine, dice, faults, oracle } = this.#world;
    if (faults.has("badSpawn") && dice.chance.chance(0.05)) {
      const permanent = dice.chance.chance(0.1);
      oracle.failedToSpawn(this, permanent);
      return this.loop.post({ kind: "spawnFailed", generation, permanent, reason: "cannot fork: EAGAIN" });
    }
    const invocationId = `${this.plan.name}-${generation}-${machine.time.nowMs}`;
    const environ = fenceMarks(this.plan.files, invocationId);
    const process = machine.fork({ account: this.plan.account, environ, invocationId, main: true });
    oracle.spawned(this, process);
    const character = faults.has("badBot")
      ? drawCharacter(dice.bots, faults.has("unkillable"))
      : { ...exemplary, beatEveryMs: dice.bots.between(700, 4_000) };
    this.#world.behaviours.set(process.pid, new Behaviour(machine, dice.bots, process, character, this.#world.say));
    this.#watchEnd(process, generation, false);
    if (!this.daemon.survives()) return undefined;
    this.#saveIdentity({
      version: 1,
      account: this.plan.account,
      bootId: machine.bootId,
      pid: process.pid,
      startTimeTicks: process.startTicks,
      invocationId,
      generation,
      ready: false,
      definition: definitionOf(this.plan, {}),
      cgroup: null,
      restarts: this.loop.state.restarts,
      restartsBy: { ...this.loop.state.restartsBy },
    });
    this.#live(process, generation);
    return this.loop.post({ kind: "spawned", generation });
  }

  #live(process: Process, generation: number, more: Pick<GenerationDeps, "ageMs"> = {}): void {
    if (this.#generation !== undefined) this.#former.unshift(this.#generation);
    this.#former.splice(MAX_FORMER);
    const { pid, startTicks, invocationId } = process;
    const signal = (name: string): boolean => {
      if (name === "SIGTERM") process.onSignal(name);
      return process.alive;
    };
    this.#generation = new Generation({
      plan: this.plan,
      user: undefined,
      clock: this.daemon.clock,
      generation,
      restarts: this.loop.state.restarts,
      invocationId,
      cgroup: undefined,
      alone: () => false,
      env: {},
      child: { pid, startTicks, pidfd: undefined, signal },
      createProbe: (config, context) => fakeProbe(this.#world, process, config, context),
      post: (input) => this.loop.post(input),
      drain: () => this.drain(),
      onVerdict: () => {},
      onExcused: () => {},
      disturbance: () => this.daemon.machine.disturbance(),
      onStranger: () => {},
      ...more,
    });
  }

  #watchEnd(process: Process, generation: number, adopted: boolean): void {
    const { dice, faults } = this.#world;
    process.onEnd.add(({ code, signal, oom }) => {
      const end = adopted ? { code: null, signal: null, oom: false } : { code, signal, oom };
      const post = this.loop.post.bind(this.loop);
      const tell = (): void =>
        post({ kind: "exited", generation, ...end, proven: this.#world.provenGone(this, adopted) });
      this.#later(dice.chance.between(0, REAP_MS / 2), tell);
      if (faults.has("stray") && dice.stray.chance(0.05)) this.#later(dice.stray.between(0, 20_000), tell);
    });
  }

  #sweep(): void {
    const { generation } = this.loop.state;
    this.#cancelHook();
    this.#killAll((survivors) => {
      if (survivors.length > 0) return this.loop.post({ kind: "survivors", generation, pids: survivors });
      this.#earlier = [];
      return this.loop.post({ kind: "gone", generation });
    });
  }

  /** Kills what the fence marks, looks again and again, and answers who survived. */
  #killAll(done: (survivors: readonly number[]) => void): void {
    const { machine, time, dice, variant } = this.#world;
    if (!variant.provesDeath) return void this.#later(1, () => done([]));
    const fence = this.#fence;
    const endMs = time.nowMs + KILL_GRACE_MS;
    const look = (): void => {
      const living = machine.marked(fence);
      if (living.length === 0) return void this.#later(dice.chance.between(0, REAP_MS), () => done([]));
      if (time.nowMs >= endMs) return done(living.map(({ pid }) => pid));
      for (const each of living) machine.kill(each);
      return void this.#later(dice.chance.between(10, LOOK_MS), look);
    };
    for (const each of machine.marked(fence)) machine.kill(each);
    this.#later(10, look);
  }

  #runHook(hook: "preStop" | "postStop"): void {
    const { generation } = this.loop.state;
    const { dice } = this.#world;
    const ended = (): void => this.loop.post({ kind: "hookEnded", generation, hook });
    const cancel = this.#later(dice.chance.between(0, 2 * this.plan.policy.stopTimeout), ended);
    this.#cancelHook = () => {
      cancel();
      this.#cancelHook = () => {};
      this.#later(1, ended);
    };
  }

  #close(tries: number): void {
    const action = "close-positions";
    this.#killAll((survivors) => {
      if (this.lockout.current === undefined) return this.loop.post({ kind: "actionEnded", action, outcome: "failed" });
      if (survivors.length > 0) return this.loop.post({ kind: "actionEnded", action, outcome: "refused" });
      return this.#world.venue.start({
        account: this.plan.account,
        marks: this.#fence,
        onEnd: (end) =>
          this.#later(0, () => {
            if (end === "died" && tries < WORKER_TRIES) return this.#close(tries + 1);
            return this.loop.post({ kind: "actionEnded", action, outcome: end === "died" ? "failed" : end });
          }),
      });
    });
  }

  #noteReady(): void {
    if (this.#identity !== undefined && !this.#identity.ready) this.#saveIdentity({ ...this.#identity, ready: true });
  }

  #saveIdentity(identity: Identity): void {
    this.#identity = identity;
    this.#world.machine.disk.write(this.plan.files.identity, JSON.stringify(identity), { sync: true });
  }
}
