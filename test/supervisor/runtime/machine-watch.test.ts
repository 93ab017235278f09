/** What the daemon sees of its machine, and what a probe that fails meanwhile is worth. */
import { describe, expect, test } from "vitest";
import type { ClockReading } from "../../../src/core/clock-jump.ts";
import type { Pressure } from "../../../src/core/pressure.ts";
import { MachineWatch } from "../../../src/supervisor/runtime/machine-watch.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const CALM: Pressure = { cpuSomePercent: 0, memoryFullPercent: 0, ioFullPercent: 0 };
const NO_PRESSURE = { cpuSomePercent: null, memoryFullPercent: null, ioFullPercent: null };

/** A daemon on a machine that can be put to sleep, set and pressed; its loop looks once a second, as the daemon's does. */
function rig({ clocks = true } = {}) {
  const clock = new FakeClock();
  const machine = { sleptMs: 0, steppedMs: 0, pressure: CALM, readings: 0 };
  const said: string[] = [];
  const pulse = new Pulse(clock);
  const readClocks = (): ClockReading => {
    const monotonicMs = clock.monotonicMs();
    const boottimeMs = monotonicMs + machine.sleptMs;
    return { monotonicMs, boottimeMs, realtimeMs: boottimeMs + machine.steppedMs };
  };
  const watch = new MachineWatch({
    clock,
    pulse,
    readClocks: () => (clocks ? readClocks() : undefined),
    pressure: () => {
      machine.readings += 1;
      return machine.pressure;
    },
    say: (level, text) => said.push(`${level}: ${text}`),
  });
  pulse.start();
  const tick = (): void => {
    watch.look();
    clock.after(1_000, tick);
  };
  tick();
  return { clock, machine, said, watch };
}

describe("MachineWatch", () => {
  test("sees nothing on a machine that does nothing special", () => {
    const { clock, said, watch } = rig();
    clock.advance(3_600_000);
    expect(watch.disturbance()).toBeUndefined();
    expect(said).toEqual([]);
    expect(watch.status).toEqual({
      loopLagSeconds: 0,
      stalls: 0,
      suspends: 0,
      clockSteps: 0,
      pressure: { cpuSomePercent: 0, memoryFullPercent: 0, ioFullPercent: 0 },
      disturbed: null,
    });
  });

  test("tells sleep, also to a probe that fails before the next look", () => {
    const { clock, machine, said, watch } = rig();
    clock.advance(10_000);
    machine.sleptMs = 3_600_000;
    expect(watch.disturbance()).toEqual({ reason: "machine: slept for 3600.0 s", endMs: 10_000 });
    clock.advance(10_000);
    expect(said).toEqual(["warn: the machine slept for 3600.0 s; that time counts for no deadline"]);
    expect(watch.status).toMatchObject({ suspends: 1, clockSteps: 0, stalls: 0 });
  });

  test.each([
    [7_200_000, "forward by 7200.0 s"],
    [-90_000, "back by 90.0 s"],
  ])("tells a step of the wall clock by %i ms", (steppedMs, words) => {
    const { clock, machine, said, watch } = rig();
    machine.steppedMs = steppedMs;
    clock.advance(1_000);
    expect(said).toEqual([`warn: the wall clock was set ${words}; no deadline depends on it`]);
    expect(watch.status).toMatchObject({ suspends: 0, clockSteps: 1 });
    expect(watch.disturbance()?.reason).toBe(`machine: the wall clock was set ${words}`);
  });

  test("tells a stall of its own before anybody judges by it", () => {
    const { clock, said, watch } = rig();
    clock.advance(10_500);
    clock.stall(60_000);
    expect(said).toEqual(["warn: the supervisor itself stood still for 60.5 s; every deadline is moved by that time"]);
    expect(watch.disturbance()?.reason).toMatch(/^machine: the supervisor itself (stood still|was late)/);
    expect(watch.status).toMatchObject({ stalls: 1, loopLagSeconds: 59.5 });
    clock.advance(20_000);
    expect(watch.status).toMatchObject({ stalls: 1, loopLagSeconds: 0 });
  });

  test("tells a lag of a second, and not one of half a second", () => {
    const { clock, watch } = rig();
    clock.advance(10_000);
    clock.stall(1_500);
    expect(watch.disturbance()).toBeUndefined();
    clock.advance(500);
    clock.stall(1_500);
    expect(watch.disturbance()).toMatchObject({ reason: "machine: the supervisor itself was late by 1.0 s" });
  });
});

describe("MachineWatch under pressure", () => {
  test("is disturbed while it lasts, and says so once at each end", () => {
    const { clock, machine, said, watch } = rig();
    machine.pressure = { ...CALM, memoryFullPercent: 35 };
    clock.advance(60_000);
    expect(watch.disturbance()).toEqual({
      reason: "machine: short of memory 35% of the time",
      endMs: 60_000,
    });
    expect(watch.status.disturbed).toBe("short of memory 35% of the time");
    machine.pressure = { ...CALM, memoryFullPercent: 15 };
    clock.advance(60_000);
    expect(watch.status.disturbed).toBe("short of memory 15% of the time");
    machine.pressure = CALM;
    clock.advance(5_000);
    const ended = watch.disturbance()?.endMs ?? 0;
    clock.advance(60_000);
    expect(watch.disturbance()?.endMs).toBe(ended);
    expect(said).toEqual([
      "warn: the machine is short of memory 35% of the time; failing probes are not counted for a while",
      "info: the machine is no longer under pressure",
    ]);
  });

  test("reads the pressure every five seconds, and at most once a second for failing probes", () => {
    const { clock, machine, watch } = rig();
    clock.advance(100_000);
    expect(machine.readings).toBe(21);
    clock.advance(2_500);
    for (let failing = 0; failing < 100; failing += 1) watch.disturbance();
    expect(machine.readings).toBe(22);
  });

  test("goes without clocks and pressure where the machine has none", () => {
    const { clock, machine, said, watch } = rig({ clocks: false });
    machine.sleptMs = 3_600_000;
    machine.pressure = { cpuSomePercent: undefined, memoryFullPercent: undefined, ioFullPercent: undefined };
    clock.advance(60_000);
    expect(watch.disturbance()).toBeUndefined();
    expect(said).toEqual([]);
    expect(watch.status.pressure).toEqual(NO_PRESSURE);
  });
});
