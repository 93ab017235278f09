/**
 * The steps of the close plan one by one; its orders are in close-orders, what a config asks of it in close-plan-policy, and what holds
 * for all of them together in close-plan-properties.
 */
import { describe, expect, test } from "vitest";
import { NEW_ALLOWANCE } from "../../src/core/close-budget.ts";
import { endsChain, isDust } from "../../src/core/close-orders.ts";
import type { SendResult } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { Reading } from "../../src/core/close-plan-types.ts";
import { act, afterResult, firstOrder, POLICY, reading, rest } from "./close-plan-steps.ts";
import { held } from "./held.ts";

test("decide() closes the biggest notional first, against the side, reduce-only", () => {
  const { chains } = act(decide(POLICY, startPlan(), reading([held("A", 2), held("B", -9)]), 0).decision);
  expect(chains.map(({ orders }) => orders[0])).toMatchObject([
    { symbol: "B", side: "buy", positionSide: "short", amount: 9, reduceOnly: true, limitPrice: undefined },
    { symbol: "A", side: "sell", positionSide: "long", amount: 2, reduceOnly: true },
  ]);
});

test("decide() keeps the stops of a symbol that has a position and cancels the others at once", () => {
  const { cancels } = act(
    decide(POLICY, startPlan(), reading([held("A", 2)], [rest("1", "C")], [rest("2", "A"), rest("3", "B")]), 0)
      .decision,
  );
  expect(cancels).toMatchObject([
    { symbol: "C", trigger: false },
    { symbol: "B", trigger: true },
  ]);
});

test.each([
  [[], [], "flat"],
  [[held("A", 2)], [held("A", 2)], "reduced"],
  // Shown once only: the quiet that proves a flat account has not begun before.
  [[held("A", 2)], [], "reduced"],
] as const)(
  "decide() that is to reduce calls an account flat in which nothing was open for the whole quiet (%#)",
  (first, last, outcome) => {
    const policy = { ...POLICY, goal: { kind: "reduce", exposure: 1_000_000 } } as const;
    const quiet = decide(policy, startPlan(), reading([...first]), 0);
    expect(quiet.decision).toMatchObject({ kind: "wait", quiet: true });
    expect(decide(policy, quiet.state, reading([...last]), 60_000).decision).toMatchObject({ kind: "done", outcome });
  },
);

test("decide() cancels stops that stand in the way when reduce-only orders are refused twice", () => {
  const at = reading([held("A", 2)], [], [rest("2", "A")]);
  const refused: SendResult = { kind: "rejected", why: "reduceOnly" };
  const once = afterResult(refused, at);
  expect(act(once.decision).cancels).toEqual([]);
  const twice = recordRound(once.state, [{ order: firstOrder(once.decision), result: refused, sentAtMs: 60 }]);
  expect(act(decide(POLICY, twice, at, 100).decision).cancels).toMatchObject([{ symbol: "A", trigger: true }]);
});

test("decide() cancels resting reduce-only orders before the close of their symbol, and only once", () => {
  const orders = [rest("1", "A", { reduceOnly: true }), rest("2", "A"), rest("3", "B")];
  const { chains, cancels } = act(decide(POLICY, startPlan(), reading([held("A", 2)], orders), 0).decision);
  expect(chains[0]?.cancelFirst.map(({ id }) => id)).toEqual(["1", "2"]);
  expect(cancels.map(({ symbol }) => symbol)).toEqual(["B"]);
});

test("decide() without positions cancels regular orders but no stop", () => {
  const { cancels, chains } = act(
    decide(POLICY, startPlan(), reading(undefined, [rest("1", "A")], [rest("2", "B")]), 0).decision,
  );
  expect(cancels).toMatchObject([{ symbol: "A", trigger: false }]);
  expect(chains).toEqual([]);
});

test("decide() calls the account flat only after a second look 1 s later", () => {
  const first = decide(POLICY, startPlan(), reading([]), 100);
  expect(first.decision).toEqual({ kind: "wait", ms: 1_000, quiet: true });
  expect(decide(POLICY, first.state, reading([]), 1_100).decision).toMatchObject({ kind: "done", outcome: "flat" });
});

test("decide() stays quiet until an order without answer can no longer be executed", () => {
  const { state } = afterResult({ kind: "unknown" });
  const flat = decide(POLICY, state, reading([]), 100);
  const second = decide(POLICY, flat.state, reading([]), 1_100);
  expect(second.decision).toEqual({ kind: "wait", ms: 10 + 5_000 + 2_000 - 1_100, quiet: true });
  expect(decide(POLICY, second.state, reading([]), 7_010).decision).toMatchObject({ outcome: "flat" });
});

test("decide() reports what appears after the account was flat as foreign", () => {
  const quiet = decide(POLICY, startPlan(), reading([]), 0).state;
  const { decision } = decide(POLICY, quiet, reading([held("B", 1)], [rest("9", "A")]), 1_000);
  expect(decision).toMatchObject({ outcome: "foreign", foreign: ["position B long 1", "order A 9"] });
});

test("decide() cancels again, and is quiet anew, when an order of before or of its own shows after the account was flat", () => {
  const seen = decide(POLICY, startPlan(), reading([], [rest("1", "A")]), 0).state;
  const quiet = decide(POLICY, seen, reading([]), 100).state;
  const again = decide(
    POLICY,
    quiet,
    reading([], [rest("1", "A"), rest("2", "A", { clientId: "svabc1230010001" })]),
    1_100,
  );
  expect(act(again.decision).cancels[0]?.orders).toHaveLength(2);
  expect(decide(POLICY, again.state, reading([]), 1_200).decision).toMatchObject({ kind: "wait", ms: 1_000 });
});

test("decide() is not flat while a part of the account is unreadable", () => {
  const hidden = reading([], [], undefined);
  const { state, decision } = decide(POLICY, startPlan(), { ...hidden, triggers: undefined }, 0);
  expect(decision).toMatchObject({ kind: "wait", quiet: false });
  const late = decide(POLICY, state, { ...hidden, triggers: undefined }, 60_000).decision;
  expect(late).toMatchObject({ outcome: "unreadable", reason: expect.stringContaining("stop orders") });
});

test("decide() names what keeps it from the venue", () => {
  const unreachable = "cannot reach https://venue (connection refused)";
  const blind: Reading = {
    positions: undefined,
    orders: undefined,
    triggers: undefined,
    failures: [{ kind: "throttled" }, { kind: "unknown", unreachable }],
  };
  expect(decide(POLICY, startPlan(), blind, 60_000).decision).toMatchObject({
    outcome: "unreadable",
    reason: `${unreachable}: the venue did not show positions and orders and stop orders; look at the account by hand`,
  });
});

test("decide() counts in the singular and the plural", () => {
  const { decision } = decide(POLICY, startPlan(), reading([held("A", 1)], [rest("1", "A"), rest("2", "A")]), 60_000);
  expect(decision).toMatchObject({ reason: expect.stringContaining("1 position and 2 orders are still open") });
});

test("decide() ends as residual at the deadline, and lets a quiet period that has begun end", () => {
  expect(decide(POLICY, startPlan(), reading([held("A", 1)]), 60_000).decision).toMatchObject({
    outcome: "residual",
  });
  const quiet = decide(POLICY, startPlan(), reading([]), 59_900).state;
  expect(decide(POLICY, quiet, reading([]), 60_900).decision).toMatchObject({ outcome: "flat" });
});

test("decide() gives the key up after two refusals in a row, of readings or of whole rounds", () => {
  const refused: Reading = {
    positions: undefined,
    orders: undefined,
    triggers: undefined,
    failures: [{ kind: "auth" }],
  };
  const once = decide(POLICY, startPlan(), refused, 0);
  expect(once.decision.kind).toBe("wait");
  expect(decide(POLICY, once.state, refused, 20).decision).toMatchObject({ outcome: "keyRefused" });
  const round = afterResult({ kind: "auth" });
  const again = recordRound(round.state, [
    { order: firstOrder(round.decision), result: { kind: "auth" }, sentAtMs: 60 },
  ]);
  expect(decide(POLICY, again, reading([held("A", 10)]), 90).decision).toMatchObject({ outcome: "keyRefused" });
});

test("decide() stops at 50 + 10 × positions orders a run, waits for the last one, and reports the rest", () => {
  const at = reading([held("A", 1)]);
  const allowance = { ...NEW_ALLOWANCE, counted: 60, sent: 60 };
  const state = { ...startPlan(), allowance, lastSentAtMs: 1_000 };
  const waiting = decide(POLICY, state, at, 1_100);
  expect(waiting.decision).toMatchObject({ kind: "wait" });
  expect(decide(POLICY, waiting.state, at, 8_001).decision).toMatchObject({
    outcome: "residual",
    reason: expect.stringContaining("cap of 60 orders"),
  });
});

test("decide() judges a used-up cap by a reading that began after the last order was over, and goes on with what that gives back", () => {
  const at = reading([held("A", 10)]);
  const silent: SendResult = { kind: "accepted", filled: undefined };
  const first = decide(POLICY, startPlan(), at, 0);
  const sent = Array.from({ length: 60 }, () => ({
    order: firstOrder(first.decision),
    result: silent,
    sentAtMs: 1_000,
  }));
  const state = recordRound(first.state, sent);
  const early = decide(POLICY, state, at, 9_000, 7_999);
  expect(early.decision).toEqual({ kind: "wait", ms: 1, quiet: false });
  expect(firstOrder(decide(POLICY, early.state, at, 9_000, 8_000).decision)).toMatchObject({ symbol: "A", amount: 10 });
  const smaller = decide(POLICY, early.state, reading([held("A", 9)]), 9_000, 8_000);
  expect(smaller.decision).toMatchObject({ outcome: "residual" });
});

test("decide() keeps the step of the ladder on which a position shrank without a word of a fill, and sends whole chains on it", () => {
  const silent: SendResult = { kind: "accepted", filled: undefined };
  const rules = { maxMarketAmount: 40, maxLimitAmount: 40 };
  const at = (amount: number): Reading => reading([held("A", amount, false, rules)]);
  const limit = afterResult({ kind: "rejected", why: "band" }, at(100));
  const first = firstOrder(limit.decision);
  expect(first).toMatchObject({ rung: 1, probe: true });
  expect(endsChain(first, silent)).toBe(true);
  const climbed = recordRound(limit.state, [{ order: first, result: silent, sentAtMs: 60 }]);
  expect(firstOrder(decide(POLICY, climbed, at(100), 100).decision)).toMatchObject({ rung: 2, probe: true });
  const next = firstOrder(decide(POLICY, climbed, at(60), 100).decision);
  expect(next).toMatchObject({ rung: 1, probe: false });
  expect(endsChain(next, silent)).toBe(false);
  expect(endsChain(next, { kind: "accepted", filled: 0 })).toBe(true);
});

test("decide() waits with the next order, but goes on reading and cancelling, while the venue swallows orders", () => {
  const at = reading([held("A", 1)]);
  const allowance = { ...NEW_ALLOWANCE, holdUntilMs: 9_000 };
  const state = { ...startPlan(), allowance };
  expect(decide(POLICY, state, at, 1_000).decision).toEqual({ kind: "wait", ms: 20, quiet: false });
  const { chains, cancels } = act(decide(POLICY, state, reading([held("A", 1)], [rest("1", "B")]), 1_000).decision);
  expect([chains.length, cancels.length]).toEqual([0, 1]);
  expect(firstOrder(decide(POLICY, state, at, 9_000).decision)).toMatchObject({ symbol: "A" });
});

test("decide() judges the quiet period by when a reading began", () => {
  const quiet = decide(POLICY, startPlan(), reading([]), 100).state;
  expect(decide(POLICY, quiet, reading([]), 6_000, 1_099).decision).toEqual({ kind: "wait", ms: 0, quiet: true });
  expect(decide(POLICY, quiet, reading([]), 6_000, 1_100).decision).toMatchObject({ outcome: "flat" });
});

test("decide() is quiet no longer than the overtime of 25 s", () => {
  const state = { ...startPlan(), lastUnknownAtMs: 80_000 };
  const quiet = decide(POLICY, state, reading([]), 83_500);
  const next = decide(POLICY, quiet.state, reading([]), 84_500);
  expect(next.decision).toEqual({ kind: "wait", ms: 500, quiet: true });
  expect(decide(POLICY, next.state, reading(undefined), 85_000).decision).toMatchObject({ outcome: "unreadable" });
});

describe("decide() of an incident that ended flat", () => {
  const resumed = startPlan({ round: 2, seq: 5, endedFlat: true });

  test("decide() believes one look that shows the same", () => {
    expect(decide(POLICY, resumed, reading([]), 0).decision).toMatchObject({ kind: "done", outcome: "flat" });
  });

  test("decide() closes what is open again, is quiet anew, and says so", () => {
    const again = decide(POLICY, resumed, reading([held("A", 1)]), 0);
    expect(firstOrder(again.decision)).toMatchObject({ symbol: "A", seq: 6 });
    const quiet = decide(POLICY, again.state, reading([]), 100);
    expect(quiet.decision).toEqual({ kind: "wait", ms: 1_000, quiet: true });
    const { decision } = decide(POLICY, quiet.state, reading([]), 1_100);
    expect(decision).toMatchObject({ outcome: "flat", reason: expect.stringContaining("ended flat before and") });
  });

  test("decide() does not call flat what it cannot read", () => {
    const { state, decision } = decide(POLICY, resumed, reading(undefined), 0);
    expect(decision.kind).toBe("wait");
    expect(decide(POLICY, state, reading(undefined), 60_000).decision).toMatchObject({ outcome: "unreadable" });
  });
});

test("decide() leaves dust and is flat beside it", () => {
  const dust = held("A", 0.4);
  expect(isDust(dust)).toBe(true);
  expect(decide(POLICY, startPlan(), reading([dust]), 0).decision).toMatchObject({ kind: "wait", quiet: true });
});

test("decide() goes on counting where an earlier run of the incident stopped", () => {
  const state = startPlan({ round: 3, seq: 41 });
  expect(firstOrder(decide(POLICY, state, reading([held("A", 1)]), 0).decision)).toMatchObject({
    round: 4,
    seq: 42,
    id: "svabc123run0010016",
  });
});

test("recordRound() counts a round whose every cancel was refused for the key, where there was no order", () => {
  const denied = { kind: "auth" } as const;
  const once = recordRound(startPlan(), [], [denied, denied]);
  expect(once.orderRefusals).toBe(1);
  expect(recordRound(once, [], [denied, { kind: "unknown" }]).orderRefusals).toBe(0);
  expect(recordRound(once, [], []).orderRefusals).toBe(1);
});

describe("settleMs()", () => {
  test("settleMs() starts at 20 ms and doubles from 50 ms to 2 s while nothing moves", () => {
    let state = startPlan();
    const waits: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      ({ state } = decide(POLICY, state, reading([held("A", 1)]), n));
      waits.push(settleMs(state));
    }
    expect(waits).toEqual([20, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
    ({ state } = decide(POLICY, state, reading([held("A", 0.5), held("B", 1)]), 10));
    expect(settleMs(state)).toBe(20);
  });
});
