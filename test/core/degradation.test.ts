/** Degradation levels: the golden vectors that every client runs, and properties over random scripts. */
import fc from "fast-check";
import { expect, test } from "vitest";
import golden from "../../clients/vectors/levels.json" with { type: "json" };
import {
  CLEAR_MS,
  gateAt,
  HOLD_MS,
  JITTER_RATIO,
  LEVELS,
  MAX_SOURCES,
  proposeLevel,
  restoreLevel,
  savedLevel,
  setFloor,
  setLevel,
  settleLevel,
  worseOf,
  type Degradation,
} from "../../src/core/degradation.ts";
import type { Level } from "../../src/core/gate.ts";

interface Step {
  readonly at: number;
  readonly roll?: number;
  readonly propose?: { readonly source: string; readonly level: string; readonly ttl: number | null };
  readonly set?: { readonly level: string };
  readonly floor?: string;
  readonly level: string;
  readonly latched?: boolean;
}

const fresh = (): Degradation => restoreLevel(undefined, "normal", 0, 0);
const named = (word: string): Level => LEVELS.find((level) => level === word) ?? "normal";

function played(state: Degradation, step: Step): Degradation {
  let next = state;
  if (step.propose !== undefined) {
    const { source, level, ttl } = step.propose;
    next = proposeLevel(next, { source, level: named(level), reason: "test", ttlMs: ttl ?? Number.NaN }, step.at);
  }
  if (step.set !== undefined) next = setLevel(next, named(step.set.level), "test", step.at);
  if (step.floor !== undefined) next = setFloor(next, named(step.floor));
  return settleLevel(next, step.at, step.roll ?? 0);
}

test.each(golden.vectors)("settleLevel() as in the vector: $name", ({ steps }) => {
  let state = fresh();
  const typed: readonly Step[] = steps;
  for (const step of typed) {
    state = played(state, step);
    expect({ at: step.at, level: state.level, latched: state.latched }).toEqual({
      at: step.at,
      level: step.level,
      latched: step.latched ?? false,
    });
  }
});

test.each(golden.gates)("gateAt() at $level answers $action as in the vector", ({ level, action, ...rest }) => {
  const actions = ["open", "increase", "reduce", "cancel", "close", "read"] as const;
  const asked = actions.find((each) => each === action) ?? "open";
  expect(gateAt({ level: named(level), reason: "test" }, asked)).toMatchObject(rest);
});

const level = fc.constantFrom(...LEVELS);
const move = fc.record({
  waitMs: fc.integer({ min: 0, max: 400_000 }),
  roll: fc.double({ min: 0, max: 0.999, noNaN: true }),
  deed: fc.oneof(
    fc.record({ source: fc.constantFrom("a", "b", "c"), level, ttlMs: fc.integer({ min: 0, max: 900_000 }) }),
    fc.record({ floor: level }),
    fc.record({ set: level }),
    fc.constant({}),
  ),
});
type Move = typeof move extends fc.Arbitrary<infer T> ? T : never;

function moved(state: Degradation, { deed, roll }: Move, nowMs: number): Degradation {
  let next = state;
  if ("source" in deed) next = proposeLevel(next, { ...deed, reason: "test" }, nowMs);
  if ("floor" in deed) next = setFloor(next, deed.floor);
  if ("set" in deed) next = setLevel(next, deed.set, "test", nowMs);
  return settleLevel(next, nowMs, roll);
}

function forEachMove(see: (before: Degradation, after: Degradation, nowMs: number, deed: Move["deed"]) => void): void {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      let state = fresh();
      let nowMs = 0;
      for (const each of moves) {
        nowMs += each.waitMs;
        const next = moved(state, each, nowMs);
        see(state, next, nowMs, each.deed);
        state = next;
      }
    }),
  );
}

const rank = (of: Level): number => LEVELS.indexOf(of);

test("settleLevel() is never below what is proposed or demanded", () => {
  forEachMove((_, { level: now, floor, proposals }) => {
    for (const demanded of [floor, ...proposals.map((held) => held.level)])
      expect(rank(now)).toBeGreaterThanOrEqual(rank(demanded));
  });
});

test("settleLevel() comes down by one step only, unless somebody sets the level", () => {
  forEachMove((before, after, _, deed) => {
    if ("set" in deed) return;
    expect(rank(after.level)).toBeGreaterThanOrEqual(rank(before.level) - 1);
  });
});

test("settleLevel() leaves no level before its time, nor while it is held or latched", () => {
  forEachMove((before, after, nowMs, deed) => {
    if ("set" in deed || rank(after.level) >= rank(before.level) || before.level === "normal") return;
    expect(before.latched).toBe(false);
    expect(nowMs).toBeGreaterThanOrEqual(before.holdUntilMs);
    expect(nowMs - before.sinceMs).toBeGreaterThanOrEqual(CLEAR_MS[before.level]);
  });
});

test("settleLevel() comes back to normal when all stays clear and nothing is latched", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 20 }), (moves) => {
      let state = fresh();
      let nowMs = 0;
      for (const each of moves) state = moved(state, each, (nowMs += each.waitMs));
      state = setFloor(state, "normal");
      const latched = settleLevel(state, nowMs, 0).latched;
      // Every proposal of the script has ended after 15 min; then hold, and three steps with their jitter.
      nowMs += 900_000;
      const end = nowMs + HOLD_MS + 480_000 * (1 + JITTER_RATIO) + 4_000;
      for (; nowMs <= end; nowMs += 1_000) state = settleLevel(state, nowMs, 0.999);
      expect(state.level).toBe(latched ? "emergency" : "normal");
    }),
    { numRuns: 50 },
  );
});

test("restoreLevel() begins at the worse of what was kept and what is demanded, latch included", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 20 }), level, fc.integer(), (moves, floor, offsetMs) => {
      let state = fresh();
      let nowMs = 0;
      for (const each of moves) state = moved(state, each, (nowMs += each.waitMs));
      const again = restoreLevel(savedLevel(state, offsetMs), floor, nowMs, offsetMs);
      expect(again.level).toBe(worseOf(state.level, floor));
      expect(again.latched || !state.latched).toBe(true);
    }),
  );
});

test("restoreLevel() holds no longer than a hold that begins now, whatever the wall clock did", () => {
  const saved = { level: "degraded", reason: "x", source: "a", since: 0, latched: false, holdUntil: 9e15 } as const;
  expect(restoreLevel(saved, "normal", 5_000, 0).holdUntilMs).toBe(5_000 + HOLD_MS);
});

test("proposeLevel() remembers a bounded number of sources and keeps the worst", () => {
  let state = proposeLevel(fresh(), { source: "worst", level: "minimal", reason: "x", ttlMs: 1_000 }, 0);
  for (let n = 0; n < MAX_SOURCES * 2; n += 1)
    state = proposeLevel(state, { source: `s${n}`, level: "degraded", reason: "x", ttlMs: 1_000 }, 0);
  expect(state.proposals).toHaveLength(MAX_SOURCES);
  expect(settleLevel(state, 1, 0).level).toBe("minimal");
});
