/** What counts against a run's allowance of orders, what comes back, and when orders wait. */
import { describe, expect, test } from "vitest";
import { NEW_ALLOWANCE, ordersLeft, refund, spend, widenAllowance } from "../../src/core/close-budget.ts";
import type { Allowance, Sent } from "../../src/core/close-budget.ts";
import { longestCloseMs } from "../../src/core/close-job.ts";
import { recordRound, startPlan } from "../../src/core/close-plan.ts";
import { planChains } from "../../src/core/close-orders.ts";
import type { SendResult } from "../../src/core/close-orders.ts";
import { held } from "./held.ts";

const LATE_MS = 7_000;
const ten = [held("A", 10)];
const start = widenAllowance(NEW_ALLOWANCE, ten);
const request = { incident: "abc123", run: "run001", round: 1, seq: 0, attempts: new Map(), orders: [], limit: 9 };

function sent(kind: SendResult["kind"], sentAtMs = 0): Sent[] {
  const result: SendResult =
    kind === "rejected" ? { kind, why: "other" } : kind === "accepted" ? { kind, filled: 1 } : { kind };
  return planChains({ ...request, open: ten }).chains.flatMap(({ orders }) =>
    orders.map((order) => ({ order, result, sentAtMs })),
  );
}

describe("spend()", () => {
  test.each([
    ["accepted", 1],
    ["unknown", 1],
    ["rejected", 0],
    ["throttled", 0],
    ["clock", 0],
    ["auth", 0],
  ] as const)("spend() counts an order that ended %s as %i", (kind, count) => {
    expect(ordersLeft(spend(start, sent(kind), ten))).toBe(60 - count);
  });

  test("spend() ends also what never counts, at ten times the allowance", () => {
    let allowance: Allowance = start;
    for (let n = 0; n < 599; n += 1) allowance = spend(allowance, sent("rejected"), ten);
    expect(ordersLeft(allowance)).toBe(1);
    expect(ordersLeft(spend(allowance, sent("rejected"), ten))).toBe(0);
  });

  test("spend() holds orders back from the third unknown round on, up to 10 s, until one is answered", () => {
    let allowance: Allowance = start;
    const holds: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      allowance = spend(allowance, sent("unknown", 100), ten);
      holds.push(allowance.holdUntilMs - 100);
    }
    const never = Number.NEGATIVE_INFINITY;
    expect(holds).toEqual([never, never, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    expect(spend(allowance, [], ten)).toEqual(allowance);
    const answered = spend(allowance, sent("accepted", 20_000), ten);
    expect(spend(answered, sent("unknown", 21_000), ten).holdUntilMs).toBeLessThan(20_000);
  });
});

describe("refund()", () => {
  const doubtful = spend(start, sent("unknown", 100), ten);

  test.each([
    ["gives back an order that can no longer be executed and left the position as it was", ten, 7_100, 60],
    ["gives nothing back while the order may still be executed", ten, 7_099, 59],
    ["keeps an order counted when the position is smaller", [held("A", 9)], 7_100, 59],
    ["keeps an order counted when the position is gone", [], 7_100, 59],
    ["keeps an order counted when the position turned", [held("A", -10)], 7_100, 59],
  ] as const)("refund() %s", (_, positions, readFromMs, left) => {
    expect(ordersLeft(refund(doubtful, positions, readFromMs, LATE_MS))).toBe(left);
  });

  test.each([
    [undefined, 60],
    [0, 60],
    [1, 59],
  ])("refund() gives an order back whose acknowledgement told a fill of %s: %i are left", (filled, left) => {
    const acknowledged = sent("accepted", 100).map((one) => ({
      ...one,
      result: { kind: "accepted", filled } as const,
    }));
    const spent = spend(start, acknowledged, ten);
    expect(ordersLeft(spent)).toBe(59);
    expect(ordersLeft(refund(spent, ten, 7_099, LATE_MS))).toBe(59);
    expect(ordersLeft(refund(spent, ten, 7_100, LATE_MS))).toBe(left);
  });

  test("refund() sees the isolated and the cross position of one side as one", () => {
    const both = [held("A", 10), held("A", 4)];
    const spent = spend(start, sent("unknown", 100), both);
    expect(ordersLeft(refund(spent, [held("A", 4)], 7_100, LATE_MS))).toBe(59);
    expect(ordersLeft(refund(spent, both, 7_100, LATE_MS))).toBe(60);
  });

  test("refund() keeps a repayment counted though what is owed, net of what is there, stays as it was", () => {
    const owed = [held("USDT", -10)];
    const repayments = sent("unknown", 100).map((one) => ({
      ...one,
      order: { ...one.order, symbol: "USDT", positionSide: "short", repay: { asset: "USDT" } } as const,
    }));
    const spent = spend(start, repayments, owed);
    expect(ordersLeft(refund(spent, owed, 7_100, LATE_MS))).toBe(59);
  });

  test("refund() judges each order once", () => {
    const judged = refund(doubtful, [held("A", 9)], 7_100, LATE_MS);
    expect(judged.doubts).toEqual([]);
    expect(ordersLeft(refund(judged, ten, 8_000, LATE_MS))).toBe(59);
  });
});

describe("widenAllowance()", () => {
  test("widenAllowance() grows by positions and forced chunks and never shrinks", () => {
    const wide = widenAllowance(start, [held("A", 100), held("B", 1)]);
    expect(wide.max).toBe(50 + 2 * 10 + 2 * 2);
    expect(widenAllowance(wide, []).max).toBe(74);
  });

  test("widenAllowance() grows by the chunks that the venue's refusals taught", () => {
    const [order] = sent("accepted");
    if (order === undefined) throw new Error("expected an order");
    const refused = { ...order, result: { kind: "rejected", why: "size" } as const };
    const { attempts } = recordRound(startPlan(), [refused]);
    expect(widenAllowance(NEW_ALLOWANCE, ten, attempts).max).toBe(50 + 10 + 2);
  });
});

describe("longestCloseMs()", () => {
  test("longestCloseMs() stays a minute below the deadline that the daemon gives a worker", () => {
    for (const timeoutMs of [1_000, 300_000, 3_600_000]) {
      expect(longestCloseMs(timeoutMs)).toBeLessThan(2 * timeoutMs + 150_000 - 60_000);
    }
  });
});
