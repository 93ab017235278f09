/** The orders of a round, and what a refusal or a silence teaches about the next one. */
import { describe, expect, test } from "vitest";
import { nextAttempt, planChains } from "../../src/core/close-orders.ts";
import type { Attempt } from "../../src/core/close-orders.ts";
import { decide, recordRound, startPlan } from "../../src/core/close-plan.ts";
import { act, afterResult, firstOrder, POLICY, reading } from "./close-plan-steps.ts";
import { held } from "./held.ts";

/** A position on which nothing was learnt yet. */
const TRIED: Attempt = {
  rung: 0,
  stubborn: 0,
  maxChunk: undefined,
  flipHedged: false,
  reduceOnlyRejects: 0,
  silentRounds: 0,
  silentRound: undefined,
  silentRung: undefined,
  works: false,
};

describe("nextAttempt()", () => {
  test("nextAttempt() halves after a size refusal", () => {
    const { decision } = afterResult({ kind: "rejected", why: "size" });
    expect(act(decision).chains[0]?.orders.map(({ amount }) => amount)).toEqual([5, 5]);
  });

  test("nextAttempt() climbs from market to limits 0.1, 0.5, 2 and 5 % off the mark, and back to market", () => {
    let { state, decision } = afterResult({ kind: "rejected", why: "band" });
    const prices: (number | undefined)[] = [];
    for (let rung = 0; rung < 5; rung += 1) {
      const order = firstOrder(decision);
      prices.push(order.limitPrice);
      state = recordRound(state, [{ order, result: { kind: "accepted", filled: 0 }, sentAtMs: 10 }]);
      // A market order that filled nothing says nothing about its price.
      ({ state, decision } = decide(POLICY, state, reading([held("A", 10)]), 50));
    }
    expect(prices.map((price) => price?.toFixed(2))).toEqual(["99.90", "99.50", "98.00", "95.00", undefined]);
  });

  test("nextAttempt() climbs from a limit order that was only acknowledged, and stays at the market for a market order", () => {
    const state = afterResult({ kind: "rejected", why: "band" });
    const limit = firstOrder(state.decision);
    const acknowledged = { kind: "accepted", filled: undefined } as const;
    const attempt = { ...TRIED, rung: limit.rung, reduceOnlyRejects: 1 };
    expect(nextAttempt(attempt, limit, acknowledged)).toMatchObject({ rung: limit.rung + 1, reduceOnlyRejects: 0 });
    const market = { ...limit, rung: 0, limitPrice: undefined };
    expect(nextAttempt({ ...attempt, rung: 0 }, market, acknowledged)).toMatchObject({ rung: 0 });
  });

  test("nextAttempt() goes on to limits after three rounds of market orders that told no fill, and counts a round once", () => {
    const market = firstOrder(decide(POLICY, startPlan(), reading([held("A", 10)]), 0).decision);
    const rungs: number[] = [];
    let attempt = TRIED;
    for (const round of [1, 1, 2, 2, 3]) {
      attempt = nextAttempt(attempt, { ...market, round }, { kind: "accepted", filled: undefined });
      rungs.push(attempt.rung);
    }
    expect(rungs).toEqual([0, 0, 0, 0, 1]);
    const told = nextAttempt({ ...TRIED, silentRounds: 2 }, market, { kind: "accepted", filled: 1 });
    expect(told).toMatchObject({ rung: 0, silentRounds: 0 });
  });

  test("nextAttempt() tries the other position mode after a position-side refusal", () => {
    expect(firstOrder(afterResult({ kind: "rejected", why: "positionSide" }).decision).hedged).toBe(true);
  });

  test.each(["unknown", "throttled", "clock"] as const)("nextAttempt() learns nothing from %s", (kind) => {
    const order = firstOrder(decide(POLICY, startPlan(), reading([held("A", 10)]), 0).decision);
    const attempt = { ...TRIED, rung: 1, maxChunk: 3, flipHedged: true, reduceOnlyRejects: 1 };
    expect(nextAttempt(attempt, order, { kind })).toEqual(attempt);
  });
});

describe("planChains()", () => {
  const request = { incident: "abc123", run: "run001", round: 1, seq: 0, attempts: new Map(), orders: [], limit: 99 };

  test("planChains() splits by the market's maximum and leaves no rest", () => {
    const open = [held("A", 300, false, { maxMarketAmount: 120 })];
    expect(planChains({ ...request, open }).chains[0]?.orders.map(({ amount }) => amount)).toEqual([120, 120, 60]);
  });

  test("planChains() sends no more than the cap leaves", () => {
    const { chains, seq } = planChains({ ...request, open: [held("A", 100), held("B", 100)], limit: 4 });
    expect(chains.map(({ orders }) => orders.length)).toEqual([3, 1]);
    expect(seq).toBe(4);
  });
});
