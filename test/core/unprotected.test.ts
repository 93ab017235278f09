/** Positions without a stop, and when they make an emergency. */
import { expect, test } from "vitest";
import type { RestingOrder, VenuePosition } from "../../src/core/reconcile.ts";
import { judgeExposed, unprotectedIn } from "../../src/core/unprotected.ts";

const POSITION: VenuePosition = {
  symbol: "BTC/USDT:USDT",
  side: "long",
  amount: 0.1,
  entryPrice: 60_000,
  markPrice: 60_000,
  notional: 6_000,
  rules: { minAmount: 0.001, stepAmount: 0.001 },
};
const STOP: RestingOrder = {
  id: "1",
  clientOrderId: undefined,
  symbol: "BTC/USDT:USDT",
  side: "sell",
  reduceOnly: true,
  remaining: undefined,
  stopPrice: 57_000,
};

test("unprotectedIn() names what no reduce-only stop on the other side covers wholly", () => {
  expect(unprotectedIn({ positions: [POSITION], orders: [STOP] })).toEqual([]);
  expect(unprotectedIn({ positions: [POSITION], orders: [{ ...STOP, remaining: 0.05 }] })).toEqual([
    "long BTC/USDT:USDT",
  ]);
  expect(unprotectedIn({ positions: [POSITION], orders: [{ ...STOP, side: "buy" }] })).toHaveLength(1);
});

test("unprotectedIn() leaves out what is too small to be traded", () => {
  expect(unprotectedIn({ positions: [{ ...POSITION, amount: 0.0005 }], orders: [] })).toEqual([]);
});

test("judgeExposed() proposes an emergency only after the time, and only for a position without a stop", () => {
  const reading = { heldMs: 300_000, emergencyAfterMs: 300_000, unprotected: ["long BTC/USDT:USDT"] };
  expect(judgeExposed(reading)).toMatchObject({ level: "emergency", source: "unprotected" });
  expect(judgeExposed(reading)?.reason).toContain("minimal for 300 s, and no stop at the venue covers long BTC/USDT");
  expect(judgeExposed({ ...reading, heldMs: 299_999 })).toBe(undefined);
  expect(judgeExposed({ ...reading, unprotected: [] })).toBe(undefined);
});
