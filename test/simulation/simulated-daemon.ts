/** One life of the simulated daemon: it opens the bots, and may be killed between any two deeds, or end politely. */
import type { Clock } from "../../src/platform/clock.ts";
import { MachineWatch } from "../../src/supervisor/runtime/machine-watch.ts";
import { Pulse } from "../../src/supervisor/runtime/pulse.ts";
import type { CarriedBot } from "../../src/core/upgrade.ts";
import { SimulatedBot } from "./simulated-bot.ts";
import { newOwner, type Owner } from "./virtual-time.ts";
import type { World } from "./world.ts";

/** Share of deeds at which the daemon is killed. */
const MIDWAY_KILLS = 0.001;
/** Time beyond the bots' own timeouts that a polite end waits for them, ms. */
const MARGIN_MS = 15_000;
const LOOK_MS = 100;
/** The made-up machine never sleeps and tells no pressure; what disturbs it is that the daemon stands still. */
const UNTOLD = { cpuSomePercent: undefined, memoryFullPercent: undefined, ioFullPercent: undefined };

export class SimulatedDaemon {
  readonly owner: Owner = newOwner();
  readonly clock: Clock;
  readonly pulse: Pulse;
  readonly machine: MachineWatch;
  readonly bots: readonly SimulatedBot[];
  /** It has begun all its bots. */
  begun = false;
  /** It stops its bots and goes. */
  ending = false;
  readonly #world: World;

  /** `carried`: what the version before it has handed over, by account. */
  constructor(world: World, carried: ReadonlyMap<string, CarriedBot> = new Map()) {
    this.#world = world;
    this.clock = world.time.clockOf(this.owner);
    this.pulse = new Pulse(this.clock);
    this.machine = new MachineWatch({
      clock: this.clock,
      pulse: this.pulse,
      readClocks: () => undefined,
      pressure: () => UNTOLD,
      say: () => {},
    });
    this.bots = world.settings.accounts.map(({ name, plans }) => {
      const named = world.nameOf(name);
      return new SimulatedBot(world, this, plans[named], plans[named === 0 ? 1 : 0], carried.get(name));
    });
  }

  get alive(): boolean {
    return this.owner.alive;
  }

  start(emergency: boolean): void {
    this.pulse.start();
    for (const bot of this.bots) if (this.alive) bot.begin(emergency);
    this.begun = true;
  }

  /** False when the daemon is dead, which may happen right here. */
  survives(): boolean {
    const { faults, dice } = this.#world;
    if (this.alive && faults.has("midwayKill") && dice.kills.chance(MIDWAY_KILLS)) this.die();
    return this.alive;
  }

  /** Gives its bots to the next version, and is no more; `undefined` when one of them cannot be handed over now. */
  handOver(): ReadonlyMap<string, CarriedBot> | undefined {
    if (!this.alive || !this.begun || this.ending) return undefined;
    const carried = new Map<string, CarriedBot>();
    for (const bot of this.bots) {
      const state = bot.handOver();
      // What it hears last may be where it is killed.
      if (state === undefined || !this.alive) return undefined;
      carried.set(bot.plan.account, state);
    }
    this.owner.alive = false;
    return carried;
  }

  /** SIGKILL: from here on nothing of it is done any more. */
  die(): void {
    if (!this.alive) return;
    this.owner.alive = false;
    this.#world.daemonDied();
  }

  /** SIGTERM: stops the bots, waits for them within their bounds, and goes. */
  end(): void {
    if (this.ending) return;
    this.ending = true;
    for (const bot of this.bots) this.#world.order(bot, "stop");
    const waits = this.bots.map(({ plan }) => 3 * plan.policy.stopTimeout + MARGIN_MS);
    const endMs = this.#world.time.nowMs + Math.max(...waits);
    const look = (): void => {
      const up = this.bots.some(({ loop }) => ["starting", "running", "stopping"].includes(loop.state.kind));
      if (up && this.#world.time.nowMs < endMs) return void this.clock.after(LOOK_MS, look);
      for (const bot of this.bots) bot.shutDown();
      return this.die();
    };
    look();
  }
}
