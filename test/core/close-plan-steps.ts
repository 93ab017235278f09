/** What the tests of the close plan's steps share: readings of an account, and the plan a step further. */
import { FLAT } from "../../src/core/close-goal.ts";
import type { CloseOrder, HeldPosition, OpenOrder, SendResult } from "../../src/core/close-orders.ts";
import { decide, recordRound, startPlan } from "../../src/core/close-plan.ts";
import type { Decision, PlanState, Reading } from "../../src/core/close-plan-types.ts";
import { held } from "./held.ts";

export const POLICY = {
  incident: "abc123",
  run: "run001",
  goal: FLAT,
  scope: [],
  deadlineMs: 60_000,
  recvWindowMs: 5_000,
};
export const rest = (id: string, symbol: string, more: Partial<OpenOrder> = {}): OpenOrder => ({
  id,
  clientId: undefined,
  symbol,
  reduceOnly: false,
  ...more,
});

export function reading(
  positions: HeldPosition[] | undefined,
  orders: OpenOrder[] | undefined = [],
  triggers: OpenOrder[] | undefined = [],
): Reading {
  return { positions, orders, triggers, failures: [] };
}

export function act(decision: Decision): Extract<Decision, { kind: "act" }> {
  if (decision.kind !== "act") throw new Error(`expected orders, got ${JSON.stringify(decision)}`);
  return decision;
}

export function firstOrder(decision: Decision): CloseOrder {
  const order = act(decision).chains[0]?.orders[0];
  if (order === undefined) throw new Error("expected an order");
  return order;
}

/** The plan after its first round's first order ended with `result`, and the decision on the same reading again. */
export function afterResult(
  result: SendResult,
  at: Reading = reading([held("A", 10)]),
): { state: PlanState; decision: Decision } {
  const first = decide(POLICY, startPlan(), at, 0);
  const state = recordRound(first.state, [{ order: firstOrder(first.decision), result, sentAtMs: 10 }]);
  return decide(POLICY, state, at, 50);
}
