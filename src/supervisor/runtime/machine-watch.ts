/**
 * Watches the machine that the bots and the supervisor share: sleep, steps of the wall clock, the supervisor's own stalls and
 * lag, pressure. Says what happened, and answers for each failing probe whether the machine may be the cause.
 */
import { clockJump, type ClockReading } from "../../core/clock-jump.ts";
import type { Disturbance } from "../../core/excuse.ts";
import { heavyPressure, type Pressure } from "../../core/pressure.ts";
import type { Status } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { readMachineClocks } from "../../platform/machine-clocks.ts";
import { readPressure } from "../../platform/pressure.ts";
import type { Pulse } from "./pulse.ts";

/** Time between two looks at the pressure while nothing fails, ms: the kernel averages over ten seconds. */
const PRESSURE_EVERY_MS = 5_000;
/** A failing probe has the pressure read anew when the last reading is older than this, ms. */
const FRESH_PRESSURE_MS = 1_000;
/** A loop that is late by this much may have made the bot's answer late too, ms; Pulse calls more than three seconds a stall. */
const LATE_MS = 1_000;

export interface MachineWatchDeps {
  readonly clock: Clock;
  readonly pulse: Pulse;
  /** `undefined` where the clocks cannot be read together. */
  readonly readClocks: () => ClockReading | undefined;
  readonly pressure: () => Pressure;
  readonly say: (level: "info" | "warn", text: string) => void;
}

type MachineStatus = NonNullable<Status["supervisor"]["machine"]>;

export class MachineWatch {
  readonly #deps: MachineWatchDeps;
  #clocks: ClockReading | undefined;
  #pressure: Pressure = { cpuSomePercent: undefined, memoryFullPercent: undefined, ioFullPercent: undefined };
  #pressureAtMs = Number.NEGATIVE_INFINITY;
  #heavy: string | undefined;
  #disturbance: Disturbance | undefined;
  #stalls = 0;
  #suspends = 0;
  #clockSteps = 0;

  constructor(deps: MachineWatchDeps) {
    this.#deps = deps;
    this.#clocks = deps.readClocks();
    deps.pulse.onStall((gapMs) => {
      this.#stalls += 1;
      const text = `the supervisor itself stood still for ${seconds(gapMs)} s`;
      deps.say("warn", `${text}; every deadline is moved by that time`);
      this.#disturb(text);
    });
  }

  /** Looks at everything; once a second. */
  look(): void {
    this.#lookAtLag();
    this.#lookAtClocks();
    this.#lookAtPressure(PRESSURE_EVERY_MS);
  }

  /** The latest disturbance, with what happened up to this moment; asked for when a probe has failed. */
  disturbance(): Disturbance | undefined {
    this.#lookAtLag();
    this.#deps.pulse.beat();
    this.#lookAtClocks();
    this.#lookAtPressure(FRESH_PRESSURE_MS);
    return this.#disturbance;
  }

  get status(): MachineStatus {
    const { cpuSomePercent, memoryFullPercent, ioFullPercent } = this.#pressure;
    return {
      loopLagSeconds: this.#deps.pulse.lagMs / 1_000,
      stalls: this.#stalls,
      suspends: this.#suspends,
      clockSteps: this.#clockSteps,
      pressure: {
        cpuSomePercent: cpuSomePercent ?? null,
        memoryFullPercent: memoryFullPercent ?? null,
        ioFullPercent: ioFullPercent ?? null,
      },
      disturbed: this.#heavy ?? null,
    };
  }

  #lookAtLag(): void {
    const { pulse } = this.#deps;
    const lateMs = pulse.lateMs;
    if (lateMs >= LATE_MS) this.#disturb(`the supervisor itself was late by ${seconds(lateMs)} s`);
  }

  #lookAtClocks(): void {
    const { readClocks, say } = this.#deps;
    const now = readClocks();
    const before = this.#clocks;
    if (now === undefined) return;
    this.#clocks = now;
    if (before === undefined) return;
    const { sleptMs, steppedMs } = clockJump(before, now);
    if (sleptMs > 0) {
      this.#suspends += 1;
      const text = `slept for ${seconds(sleptMs)} s`;
      say("warn", `the machine ${text}; that time counts for no deadline`);
      this.#disturb(text);
    }
    if (steppedMs !== 0) {
      this.#clockSteps += 1;
      const text = `the wall clock was set ${steppedMs > 0 ? "forward" : "back"} by ${seconds(Math.abs(steppedMs))} s`;
      say("warn", `${text}; no deadline depends on it`);
      this.#disturb(text);
    }
  }

  #lookAtPressure(maxAgeMs: number): void {
    const { clock, pulse, pressure, say } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#pressureAtMs >= maxAgeMs) {
      this.#pressureAtMs = nowMs;
      this.#pressure = pressure();
      const was = this.#heavy;
      this.#heavy = heavyPressure(this.#pressure, pulse.lagMs, was !== undefined);
      if (was === undefined && this.#heavy !== undefined)
        say("warn", `the machine is ${this.#heavy}; failing probes are not counted for a while`);
      if (was !== undefined && this.#heavy === undefined) say("info", "the machine is no longer under pressure");
    }
    if (this.#heavy !== undefined) this.#disturb(this.#heavy);
  }

  #disturb(what: string): void {
    this.#disturbance = { reason: `machine: ${what}`, endMs: this.#deps.clock.monotonicMs() };
  }
}

/** Watches this machine; `cgroup` is the one that holds the supervisor and its bots. */
export function watchMachine(
  clock: Clock,
  pulse: Pulse,
  cgroup: string | undefined,
  say: MachineWatchDeps["say"],
): MachineWatch {
  return new MachineWatch({
    clock,
    pulse,
    readClocks: readMachineClocks,
    pressure: () => readPressure(cgroup),
    say,
  });
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
