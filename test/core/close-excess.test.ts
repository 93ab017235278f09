import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { excessOf, exposureOf, withoutValue } from "../../src/core/close-excess.ts";
import type { HeldPosition } from "../../src/core/close-orders.ts";
import { held } from "./held.ts";

/** The positions after the excess is gone. */
function left(positions: readonly HeldPosition[], exposure: number): HeldPosition[] {
  const excess = excessOf({ kind: "reduce", exposure }, positions);
  return positions.map((position) => {
    const cut = excess.find(({ symbol }) => symbol === position.symbol)?.amount ?? 0;
    const amount = position.amount - cut;
    return { ...position, amount, notional: (position.notional ?? 0) * (amount / position.amount) };
  });
}

const positions = fc
  .array(
    fc.record({
      lots: fc.integer({ min: 1, max: 5_000 }),
      step: fc.constantFrom(1, 0.1, 0.001),
      price: fc.double({ min: 0.01, max: 1_000, noNaN: true }),
      long: fc.boolean(),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((all) =>
    all.map(({ lots, step, price, long }, n) => {
      const amount = Number((lots * step).toPrecision(12));
      const rules = { minAmount: step, stepAmount: step };
      return { ...held(`S${n}`, long ? amount : -amount, false, rules), notional: amount * price, markPrice: price };
    }),
  );

describe("excessOf()", () => {
  test("reduces to the asked exposure, and below it by less than a lot of one position", () => {
    const share = fc.double({ min: 0.001, max: 0.99, noNaN: true });
    fc.assert(
      fc.property(positions, share, (all, ratio) => {
        const exposure = exposureOf(all) * ratio;
        const rest = exposureOf(left(all, exposure));
        const lots = all.map(({ rules, markPrice }) => (rules.stepAmount ?? 0) * markPrice);
        expect(rest).toBeLessThanOrEqual(exposure * 1.006);
        expect(rest).toBeGreaterThanOrEqual(exposure - Math.max(...lots) * 1.000_001);
        for (const [n, position] of left(all, exposure).entries()) {
          expect(position.amount).toBeGreaterThanOrEqual(-1e-9);
          expect(position.amount).toBeLessThanOrEqual(all[n]?.amount ?? 0);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("cuts every position by the same share, rounded up to the lot, largest first", () => {
    const parts = excessOf({ kind: "reduce", exposure: 1_000 }, [held("A", 5), held("B", -15)]);
    expect(parts.map(({ symbol, side, amount }) => [symbol, side, amount])).toEqual([
      ["B", "short", 8],
      ["A", "long", 2],
    ]);
  });

  test("cuts whole lots that the venue takes, and nothing more of what it has cut", () => {
    fc.assert(
      fc.property(positions, fc.double({ min: 0.001, max: 1.2, noNaN: true }), (all, ratio) => {
        const exposure = exposureOf(all) * ratio;
        for (const { amount, rules } of excessOf({ kind: "reduce", exposure }, all)) {
          const lots = amount / (rules.stepAmount ?? 1);
          expect(Math.abs(lots - Math.round(lots))).toBeLessThan(1e-6 * Math.max(1, lots));
          expect(amount).toBeGreaterThanOrEqual(rules.minAmount);
        }
        const rest = left(all, exposure).filter(({ amount, rules }) => amount >= rules.minAmount);
        expect(excessOf({ kind: "reduce", exposure }, rest)).toEqual([]);
      }),
    );
  });

  test("stops once rounding up has cut enough", () => {
    const whole = { minAmount: 1, stepAmount: 1 };
    const two = [
      { ...held("A", 1, false, whole), notional: 1_000, markPrice: 1_000 },
      { ...held("B", 1, false, whole), notional: 900, markPrice: 900 },
    ];
    const parts = excessOf({ kind: "reduce", exposure: 1_800 }, two);
    expect(parts.map(({ symbol, amount }) => [symbol, amount])).toEqual([["A", 1]]);
  });

  test("leaves an exposure alone that is a half percent above the asked one, for prices move", () => {
    expect(excessOf({ kind: "reduce", exposure: 996 }, [held("A", 10)])).toEqual([]);
  });
});

test("withoutValue() names a position whose value is in other money than the rest, though a price is known", () => {
  const rules = { minAmount: 1, stepAmount: 1 };
  const all = [
    { ...held("BTC/USDT", 1, false, rules), notional: 9_000, markPrice: 9_000 },
    { ...held("ETH/BTC", 100, false, rules), notional: 5, markPrice: 0.05 },
  ];
  expect(withoutValue(all).map(({ symbol }) => symbol)).toEqual(["ETH/BTC"]);
  expect(withoutValue(all.slice(0, 1))).toEqual([]);
});
