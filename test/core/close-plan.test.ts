/** The steps of the close plan one by one; what holds for all of them together is in close-plan-properties. */
import { describe, expect, test } from "vitest";
import { NEW_ALLOWANCE } from "../../src/core/close-budget.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import { endsChain, isDust, nextAttempt, planChains } from "../../src/core/close-orders.ts";
import { floorToStep } from "../../src/core/lots.ts";
import type { Attempt, CloseOrder, HeldPosition, OpenOrder, SendResult } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { Decision, PlanPolicy, PlanState, Reading } from "../../src/core/close-plan-types.ts";
import { held } from "./model-venue.ts";

const POLICY = { incident: "abc123", run: "run001", goal: FLAT, scope: [], deadlineMs: 60_000, recvWindowMs: 5_000 };
const rest = (id: string, symbol: string, more: Partial<OpenOrder> = {}): OpenOrder => ({
  id,
  clientId: undefined,
  symbol,
  reduceOnly: false,
  ...more,
});

function reading(
  positions: HeldPosition[] | undefined,
  orders: OpenOrder[] | undefined = [],
  triggers: OpenOrder[] | undefined = [],
): Reading {
  return { positions, orders, triggers, failures: [] };
}

function act(decision: Decision): Extract<Decision, { kind: "act" }> {
  if (decision.kind !== "act") throw new Error(`expected orders, got ${JSON.stringify(decision)}`);
  return decision;
}

function firstOrder(decision: Decision): CloseOrder {
  const order = act(decision).chains[0]?.orders[0];
  if (order === undefined) throw new Error("expected an order");
  return order;
}

/** The plan after its first round's first order ended with `result`, and the decision on the same reading again. */
function afterResult(
  result: SendResult,
  at: Reading = reading([held("A", 10)]),
): { state: PlanState; decision: Decision } {
  const first = decide(POLICY, startPlan(), at, 0);
  const state = recordRound(first.state, [{ order: firstOrder(first.decision), result, sentAtMs: 10 }]);
  return decide(POLICY, state, at, 50);
}

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

describe("decide() of a close that is limited to symbols", () => {
  const policy = { ...POLICY, scope: ["A"] };
  const words = "flat for the configured symbols (A); other symbols were not looked at";

  test("decide() calls only them flat", () => {
    const { state } = decide(policy, startPlan(), reading([]), 0);
    expect(decide(policy, state, reading([]), 1_000).decision).toMatchObject({ outcome: "flat", reason: words });
  });

  test("decide() calls only them flat also when the incident had ended so", () => {
    expect(decide(policy, startPlan({ endedFlat: true }), reading([]), 0).decision).toMatchObject({
      outcome: "flat",
      reason: `still ${words}, as when the incident ended before`,
    });
  });

  test("decide() calls only them flat when somebody else trades", () => {
    const { state } = decide(policy, startPlan(), reading([]), 0);
    expect(decide(policy, state, reading([held("A", 1)]), 500).decision).toMatchObject({
      outcome: "foreign",
      reason: `something else traded on the account after it was ${words}; stop it, then close again`,
    });
  });
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

  test("recordRound() counts a round whose every cancel was refused for the key, where there was no order", () => {
    const denied = { kind: "auth" } as const;
    const once = recordRound(startPlan(), [], [denied, denied]);
    expect(once.orderRefusals).toBe(1);
    expect(recordRound(once, [], [denied, { kind: "unknown" }]).orderRefusals).toBe(0);
    expect(recordRound(once, [], []).orderRefusals).toBe(1);
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

describe("floorToStep()", () => {
  test.each([
    [0.3, 0.1, 0.3],
    [0.299, 0.1, 0.2],
    [1.005, 0.001, 1.005],
    [123_456.789, 0.001, 123_456.789],
    [5, undefined, 5],
    [0.000_49, 0.001, 0],
  ])("floorToStep() cuts %s to step %s", (amount, step, expected) => {
    expect(floorToStep(amount, step)).toBe(expected);
  });
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

function balance(symbol: string, amount: number, more: Partial<HeldPosition> = {}): HeldPosition {
  return { ...held(symbol, amount), free: amount, ...more };
}

describe("decide() of a spot wallet", () => {
  test("ends at once, not flat, when all that is left is an asset that no market sells", () => {
    const { decision } = decide(POLICY, startPlan(), reading([balance("XYZ", 5, { unsellable: true })]), 0);
    expect(decision).toMatchObject({ kind: "done", outcome: "residual" });
    expect(decision).toMatchObject({ reason: expect.stringContaining("no market sells 5 XYZ") });
  });

  test("cancels every order and stop of an asset before it sells it, and sells others meanwhile", () => {
    const orders = [rest("1", "A/USDT"), rest("2", "B/A")];
    const at = reading([balance("A/USDT", 5), balance("C/USDT", 5)], orders, [rest("3", "A/USDT")]);
    const { chains, cancels } = act(decide(POLICY, startPlan(), at, 0).decision);
    expect(chains.map(({ symbol }) => symbol)).toEqual(["C/USDT"]);
    expect(cancels.map(({ symbol, trigger }) => [symbol, trigger])).toEqual([
      ["A/USDT", false],
      ["B/A", false],
      ["A/USDT", true],
    ]);
  });

  test.each([
    ["of the bot", undefined],
    ["of an earlier run", "svabc123run0000001"],
  ])("sells what is free when the orders %s that hold the rest cannot be cancelled", (_, clientId) => {
    const at = reading([balance("A/USDT", 5, { free: 2 })], [rest("1", "A/USDT", { clientId })]);
    let state = startPlan();
    let sold: number[] = [];
    for (let n = 0; n < 20 && sold.length === 0; n += 1) {
      const step = decide(POLICY, state, at, n * 1_000);
      if (step.decision.kind === "wait") continue;
      sold = act(step.decision).chains.flatMap(({ orders }) => orders.map(({ amount }) => amount));
      state = step.state;
    }
    expect(sold).toEqual([2]);
  });

  test("waits until an order without answer cannot be executed any more before it sells again", () => {
    const at = reading([balance("A/USDT", 5)]);
    const { decision, state } = afterResult({ kind: "unknown" }, at);
    expect(decision).toMatchObject({ kind: "wait" });
    expect(decide(POLICY, state, at, 7_005).decision.kind).toBe("wait");
    expect(firstOrder(decide(POLICY, state, at, 7_011).decision).amount).toBe(5);
  });
});

test("decide() with a largest slippage sends no market order, and no limit beyond it, and none without a mark price", () => {
  const policy = { ...POLICY, maxSlippage: 0.01 };
  let state = startPlan();
  const prices: (number | undefined)[] = [];
  for (let n = 0; n < 6; n += 1) {
    const step = decide(policy, state, reading([held("A", 10)]), n * 100);
    const order = firstOrder(step.decision);
    prices.push(order.limitPrice);
    state = recordRound(step.state, [{ order, result: { kind: "accepted", filled: 0 }, sentAtMs: n * 100 }]);
  }
  // Around the mark price of 100.
  expect(prices).toEqual([99, 99.9, 99.5, 99, 99, 99]);
  const blind = { ...held("A", 10), markPrice: undefined };
  expect(act(decide(policy, startPlan(), reading([blind], [rest("1", "B")]), 0).decision).chains).toEqual([]);
});

test("decide() with a largest number of orders ends residual when they are used up", () => {
  const policy = { ...POLICY, maxOrders: 1 };
  const at = reading([held("A", 10)]);
  const first = decide(policy, startPlan(), at, 0);
  const sent = { order: firstOrder(first.decision), result: { kind: "accepted", filled: 1 } as const, sentAtMs: 1 };
  const { decision } = decide(policy, recordRound(first.state, [sent]), at, 7_100);
  expect(decision).toMatchObject({ kind: "done", outcome: "residual" });
  expect(decision).toMatchObject({ reason: expect.stringContaining("the cap of 1 orders") });
});

test("decide() gives up an account that it cannot read for the time after which a hook goes on, and not before", () => {
  const hidden = { positions: undefined, orders: undefined, triggers: undefined, failures: [] };
  const policy = { ...POLICY, unreadableMs: 30_000 };
  const first = decide(policy, startPlan(), hidden, 0);
  const before = decide(policy, first.state, hidden, 29_999);
  expect(before.decision.kind).not.toBe("done");
  expect(decide(policy, before.state, hidden, 30_000).decision).toMatchObject({ kind: "done", outcome: "unreadable" });
  const seen = decide(policy, before.state, reading([held("A", 1)]), 29_999);
  expect(decide(policy, seen.state, hidden, 59_998).decision.kind).not.toBe("done");
});

test("decide() leaves what a venue closes by itself to whole positions at any price", () => {
  const ladder = Array.from({ length: 4 }, () => ({ kind: "rejected", why: "other" }) as const);
  const orderAfterRefusals = (more: Partial<PlanPolicy>): CloseOrder => {
    const policy: PlanPolicy = { ...POLICY, last: ["venue"], ...more };
    let step = decide(policy, startPlan(), reading([held("A", 10)]), 0);
    for (const result of ladder) {
      const order = firstOrder(step.decision);
      step = decide(policy, recordRound(step.state, [{ order, result, sentAtMs: 0 }]), reading([held("A", 10)]), 1);
    }
    return firstOrder(step.decision);
  };
  expect(orderAfterRefusals({})).toMatchObject({ by: "venue", amount: 10 });
  expect(orderAfterRefusals({ maxSlippage: 0.02 })).not.toHaveProperty("by");
  expect(orderAfterRefusals({ goal: { kind: "reduce", exposure: 100 } })).not.toHaveProperty("by");
});
