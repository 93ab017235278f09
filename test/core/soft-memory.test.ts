/** When memory is strained, and when a strained bot is restarted: never because of it into an emergency. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { initialState, step } from "../../src/core/lifecycle.ts";
import type { Policy, State } from "../../src/core/lifecycle-types.ts";
import { foldStrain, noStrain, relieve, strainOf, type Strain, type Waiting } from "../../src/core/soft-memory.ts";
import { basePolicy, MIN, S } from "./lifecycle-life.ts";

const MIB = 1_024 ** 2;
const LIMITS = { memoryBytes: 1_000 * MIB, memoryHighBytes: 800 * MIB, horizonMs: 15 * MIN };

interface Asked {
  readonly atMs?: number;
  readonly pressure?: number;
  readonly limits?: object;
}

function look(
  before: Strain,
  mib: number | undefined,
  { atMs = 0, pressure = 0, limits = LIMITS }: Asked = {},
): Strain {
  const usedBytes = mib === undefined ? undefined : mib * MIB;
  return foldStrain(before, { horizonMs: 0, ...limits }, { atMs, usedBytes, pressurePercent: pressure });
}

describe("foldStrain()", () => {
  test("memory is high above memoryHigh, and calm 5 % below it", () => {
    const high = look(noStrain, 801);
    expect(strainOf(high)).toBe("memory 801.0 MiB, memoryHigh 800.0 MiB");
    expect(strainOf(look(high, 770))).toBeDefined();
    expect(strainOf(look(high, 759))).toBeUndefined();
    expect(strainOf(look(noStrain, 800))).toBeUndefined();
  });

  test("without memoryHigh, memory is high where 95 % of the limit is used", () => {
    const limits = { memoryBytes: 1_000 * MIB };
    expect(strainOf(look(noStrain, 949, { limits }))).toBeUndefined();
    const last = look(noStrain, 951, { limits });
    expect(strainOf(last)).toBe("memory 951.0 MiB, limit 1000.0 MiB");
    expect(last.lastCall).toBe(true);
  });

  test("a bot that waits for memory a fifth of the time is strained until it waits a tenth", () => {
    const pressed = look(noStrain, 100, { pressure: 20 });
    expect(strainOf(pressed)).toBe("it waits for memory 20% of the time");
    expect(strainOf(look(pressed, 100, { pressure: 10 }))).toBeDefined();
    expect(strainOf(look(pressed, 100, { pressure: 9 }))).toBeUndefined();
    expect(strainOf(look(noStrain, 100, { pressure: 19 }))).toBeUndefined();
  });

  test("a bot that the kernel holds just below memoryHigh counts as high", () => {
    expect(look(noStrain, 790).high).toBeUndefined();
    expect(look(noStrain, 790, { pressure: 60 }).high).toBeDefined();
    expect(look(noStrain, 700, { pressure: 60 }).high).toBeUndefined();
  });

  test("a leak is strain as soon as its end is in sight, and no longer when it stops", () => {
    let strain = noStrain;
    const at = (second: number, mib: number): void => void (strain = look(strain, mib, { atMs: second * S }));
    for (let second = 0; second < 300; second += 1) at(second, 100 + second);
    expect(strainOf(strain)).toBeUndefined();
    for (let second = 300; second < 600; second += 1) at(second, 100 + second);
    expect(strain.growing).toMatch(/^memory \d+\.\d MiB grows and reaches memory 1000\.0 MiB in \d+ min$/);
    for (let second = 600; second < 2_400; second += 1) at(second, 700);
    expect(strainOf(strain)).toBeUndefined();
  });

  test("what cannot be read changes nothing", () => {
    const high = look(noStrain, 900);
    expect(look(high, undefined)).toEqual(high);
  });
});

const HIGH = look(noStrain, 801);
const LAST_CALL = look(noStrain, 960);
const PRESSED = look(noStrain, 100, { pressure: 50 });
const RELIEF = { restart: true, quietTimeoutMs: 5 * MIN };
const running: State = { ...initialState, kind: "running", health: "healthy", generation: 1, wanted: true };
const withHook: Policy = { ...basePolicy, hooks: { preStop: true, postStop: false } };

interface Situation {
  readonly atMs?: number;
  readonly strain?: Strain;
  readonly inFlight?: number | undefined;
  readonly state?: State;
  readonly policy?: Policy;
}

function ask(waiting: Waiting, { atMs = 0, strain = HIGH, inFlight, state = running, policy = basePolicy }: Situation) {
  return relieve(RELIEF, waiting, { atMs, strain, inFlight, state, policy });
}

describe("relieve()", () => {
  test("restarts at the first quiet moment", () => {
    const first = ask(undefined, { inFlight: 2 });
    expect(first).toEqual({ waiting: { sinceMs: 0, told: false } });
    const quiet = ask(first.waiting, { atMs: 3 * S, inFlight: 0 });
    expect(quiet).toEqual({
      waiting: undefined,
      restart: "memory 801.0 MiB, memoryHigh 800.0 MiB; no order is in flight",
    });
  });

  test("restarts politely all the same when the wait is over", () => {
    const { waiting } = ask(undefined, { inFlight: 2 });
    expect(ask(waiting, { atMs: 5 * MIN - 1, inFlight: 2 }).restart).toBeUndefined();
    expect(ask(waiting, { atMs: 5 * MIN, inFlight: 2 }).restart).toContain("no quiet moment in 5m");
  });

  test("waits for nothing when the kernel is about to kill", () => {
    expect(ask(undefined, { inFlight: 2, strain: LAST_CALL }).restart).toContain("too near to wait");
  });

  test("gives the wait up when the memory is calm again", () => {
    const { waiting } = ask(undefined, { inFlight: 2 });
    expect(ask(waiting, { inFlight: 0, strain: noStrain })).toEqual({ waiting: undefined });
  });

  test("never restarts a bot whose orders nobody knows of, unless it has preStop, and says so once", () => {
    const first = ask(undefined, {});
    expect(first.refusal).toContain("X_IN_FLIGHT=");
    expect(ask(first.waiting, { atMs: 60 * MIN, strain: LAST_CALL })).toEqual({ waiting: first.waiting });
    const hooked = ask(undefined, { policy: withHook });
    expect(hooked.restart ?? hooked.refusal).toBeUndefined();
    expect(ask(hooked.waiting, { atMs: 5 * MIN, policy: withHook }).restart).toContain("no quiet moment");
  });
});

describe("relieve() and the lifecycle", () => {
  test.each([
    ["a start that is not ready", { state: { ...initialState, kind: "starting", sinceMs: 0, deadlineMs: 9 } }],
    ["a bot that has not settled", { state: { ...running, closeClock: "counting" } }],
    ["a close that is due", { state: { ...running, closeClock: "due" } }],
    ["a spent budget", { state: { ...running, log: [{ atMs: 0, count: 5 }] } }],
    ["a policy that never restarts", { policy: { ...basePolicy, restart: "never" } }],
    ["pressure alone", { strain: PRESSED }],
  ] satisfies [string, Situation][])("never restarts for %s", (_, situation) => {
    expect(ask(undefined, { inFlight: 0, ...situation }).restart).toBeUndefined();
    expect(ask(undefined, { inFlight: 0, strain: LAST_CALL, ...situation }).restart).toBeUndefined();
  });

  test("whatever it decides leads to a polite stop and a restart, never to an emergency", () => {
    const anySituation = fc.record({
      inFlight: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
      strain: fc.constantFrom(HIGH, LAST_CALL, PRESSED),
      log: fc
        .array(fc.integer({ min: 0, max: 20 * MIN }), { maxLength: 6 })
        .map((times) => times.toSorted((a, b) => a - b).map((atMs) => ({ atMs, count: 1 }))),
      closeClock: fc.constantFrom("off", "counting", "due"),
      health: fc.constantFrom("healthy", "pending", "unhealthy"),
      atMs: fc.integer({ min: 0, max: 30 * MIN }),
      waiting: fc.constantFrom<Waiting>(undefined, { sinceMs: 0, told: false }),
    });
    fc.assert(
      fc.property(anySituation, ({ inFlight, strain, log, closeClock, health, atMs, waiting }) => {
        const state: State = { ...running, log, closeClock, health };
        const { restart } = ask(waiting, { atMs, strain, inFlight, state });
        if (restart === undefined) return;
        const event = {
          kind: "failing",
          generation: 1,
          cause: "limit",
          detail: restart,
          action: "restart",
          atMs,
        } as const;
        const stopping = step(basePolicy, state, event).state;
        expect(stopping).toMatchObject({ kind: "stopping", phase: "signal", lastExit: { cause: "limit" } });
        const killed = step(basePolicy, stopping, {
          kind: "exited",
          generation: 1,
          code: 0,
          signal: null,
          oom: false,
          roll: 0,
          atMs,
        });
        const down = step(basePolicy, killed.state, { kind: "gone", generation: 1, atMs, roll: 0 }).state;
        expect(down).toMatchObject({ kind: "backoff", lastExit: { cause: "limit" }, restarts: 0 });
        const again = step(basePolicy, down, { kind: "elapsed", timer: "backoff", generation: 1, roll: 0, atMs }).state;
        expect(again).toMatchObject({ kind: "starting", restarts: 1 });
      }),
    );
  });
});
