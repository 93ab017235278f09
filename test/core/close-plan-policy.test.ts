/** The close plan under what a config asks of it: some symbols alone, a spot wallet, a largest slippage, a cap, the last steps. */
import { describe, expect, test } from "vitest";
import type { CloseOrder, HeldPosition } from "../../src/core/close-orders.ts";
import { decide, recordRound, startPlan } from "../../src/core/close-plan.ts";
import type { PlanPolicy } from "../../src/core/close-plan-types.ts";
import { act, afterResult, firstOrder, POLICY, reading, rest } from "./close-plan-steps.ts";
import { held } from "./held.ts";

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
