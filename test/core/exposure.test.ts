/** Exposure limits and daily loss: rows for the rules, properties for what must hold whatever the account holds. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  dailyLoss,
  endOfDay,
  exceedsExposure,
  exceedsLoss,
  exposureOf,
  HYSTERESIS_RATIO,
  lossAllowed,
  lossLimitSchema,
  planCuts,
  startOfDay,
  utcDay,
  type Cut,
  type ExposedPosition,
} from "../../src/core/exposure.ts";

/** A position of whole lots with the price that its notional follows from. */
const held = fc
  .record({
    base: fc.constantFrom("A", "B", "C", "D"),
    side: fc.constantFrom("long" as const, "short" as const),
    lots: fc.integer({ min: 1, max: 500_000 }),
    step: fc.constantFrom(0.001, 0.01, 0.1, 1, 10),
    minLots: fc.integer({ min: 1, max: 5 }),
    price: fc.double({ min: 0.01, max: 100_000, noNaN: true }),
  })
  .map(({ base, side, lots, step, minLots, price }): ExposedPosition => {
    const amount = Number((lots * step).toPrecision(12));
    const rules = { minAmount: Number((minLots * step).toPrecision(12)), stepAmount: step };
    return { symbol: `${base}/USDT:USDT`, side, amount, notional: amount * price, rules };
  });
const account = fc.uniqueArray(held, {
  minLength: 1,
  maxLength: 8,
  selector: ({ symbol, side }) => `${symbol} ${side}`,
});
const share = fc.double({ min: 0, max: 1.2, noNaN: true });

/** What is held once every cut is filled. */
function after(positions: readonly ExposedPosition[], cuts: readonly Cut[]): ExposedPosition[] {
  return positions.flatMap((position) => {
    const cut = cuts.find(({ symbol, side }) => symbol === position.symbol && side === position.side)?.amount ?? 0;
    const amount = Number((position.amount - cut).toPrecision(12));
    return amount === 0
      ? []
      : [{ ...position, amount, notional: ((position.notional ?? 0) * amount) / position.amount }];
  });
}

const isDust = ({ amount, rules }: ExposedPosition): boolean => amount < rules.minAmount;

test("planCuts() only reduces: no cut is larger than its position, empty, or of a position that is not there", () => {
  fc.assert(
    fc.property(account, share, (positions, ratio) => {
      for (const { symbol, side, amount } of planCuts(positions, (exposureOf(positions) ?? 0) * ratio)) {
        const position = positions.find((each) => each.symbol === symbol && each.side === side);
        expect(amount).toBeGreaterThan(0);
        expect(amount).toBeLessThanOrEqual(position?.amount ?? 0);
      }
    }),
  );
});

test("planCuts() ends at the limit or below, but for what is smaller than the smallest order", () => {
  fc.assert(
    fc.property(account, share, (positions, ratio) => {
      const before = exposureOf(positions) ?? 0;
      const max = before * ratio;
      const left = after(positions, planCuts(positions, max));
      const total = exposureOf(left.filter((position) => !isDust(position))) ?? 0;
      // The last bits of a sum are noise, and a position that is smaller than them is not seen in it.
      expect(total).toBeLessThanOrEqual(max * (1 + 1e-9) + 1e-9 + before * 1e-12);
    }),
  );
});

test("planCuts() asks for nothing more of an account that it has cut", () => {
  fc.assert(
    fc.property(account, share, (positions, ratio) => {
      const before = exposureOf(positions) ?? 0;
      const max = before * (ratio * (1 + 1e-9) + 1e-12) + 1e-9;
      const left = after(positions, planCuts(positions, max)).filter((position) => !isDust(position));
      expect(planCuts(left, max)).toEqual([]);
      expect(exceedsExposure(exposureOf(left), max)).toBe(false);
    }),
  );
});

test("planCuts() sends whole lots that the venue takes", () => {
  fc.assert(
    fc.property(account, share, (positions, ratio) => {
      for (const { symbol, side, amount } of planCuts(positions, (exposureOf(positions) ?? 0) * ratio)) {
        const rules = positions.find((each) => each.symbol === symbol && each.side === side)?.rules;
        const lots = amount / (rules?.stepAmount ?? 1);
        expect(Math.abs(lots - Math.round(lots))).toBeLessThan(1e-6 * Math.max(1, lots));
        expect(amount).toBeGreaterThanOrEqual(rules?.minAmount ?? 0);
      }
    }),
  );
});

const lot = (symbol: string, side: "long" | "short", amount: number, price: number, step = 0.1): ExposedPosition => ({
  symbol,
  side,
  amount,
  notional: amount * price,
  rules: { minAmount: step, stepAmount: step },
});

test("planCuts() cuts every position by the same share, rounded up to its lot, largest first", () => {
  const positions = [lot("A", "long", 10, 100), lot("B", "short", 30, 100)];
  expect(planCuts(positions, 3_000)).toEqual([
    { symbol: "B", side: "short", amount: 7.5 },
    { symbol: "A", side: "long", amount: 2.5 },
  ]);
  // A third of 10 is 3.33…: the next lot above.
  expect(planCuts([lot("A", "long", 10, 100)], 666.67)).toEqual([{ symbol: "A", side: "long", amount: 3.4 }]);
});

test("planCuts() stops once rounding up has cut enough", () => {
  const positions = [lot("A", "long", 1, 1_000, 1), lot("B", "long", 1, 900, 1)];
  expect(planCuts(positions, 1_800)).toEqual([{ symbol: "A", side: "long", amount: 1 }]);
});

test("exposureOf() counts both legs of a hedge in full", () => {
  expect(exposureOf([lot("A", "long", 1, 100), lot("A", "short", 1, 100)])).toBe(200);
});

test("exposureOf() is not known when one position's value is not, and then nothing is cut", () => {
  const positions = [lot("A", "long", 10, 100), { ...lot("B", "long", 1, 1), notional: undefined }];
  expect(exposureOf(positions)).toBeUndefined();
  expect(planCuts(positions, 1)).toEqual([]);
  expect(exceedsExposure(undefined, 1)).toBe(false);
});

test("exceedsExposure() leaves what is within the hysteresis alone", () => {
  expect(exceedsExposure(1_000 * (1 + HYSTERESIS_RATIO), 1_000)).toBe(false);
  expect(exceedsExposure(1_000 * (1 + HYSTERESIS_RATIO) + 1, 1_000)).toBe(true);
});

const atMs = Date.parse("2026-03-01T00:00:07Z");
const start = { day: utcDay(atMs), equity: 10_000, atMs };

test("startOfDay() keeps the first reading of a day, and takes a new one on the next", () => {
  const same = Date.parse("2026-03-01T23:59:59Z");
  expect(startOfDay(start, 9_000, same)).toBe(start);
  const next = Date.parse("2026-03-02T00:00:00Z");
  expect(startOfDay(start, 9_000, next)).toEqual({ day: start.day + 1, equity: 9_000, atMs: next });
  expect(endOfDay(start.day)).toBe(next);
  expect(utcDay(next - 1)).toBe(start.day);
});

test("startOfDay() does not forget a loss when the clock is set back", () => {
  expect(startOfDay(start, 5_000, Date.parse("2026-02-28T12:00:00Z"))).toBe(start);
});

test("dailyLoss() does not count what was moved in or out", () => {
  expect(dailyLoss(start, 7_000, -3_000)).toBe(0);
  expect(dailyLoss(start, 11_000, 2_000)).toBe(1_000);
});

test.each([
  { limit: 500, equity: 9_500, exceeds: false },
  { limit: 500, equity: 9_499, exceeds: true },
  { limit: "5%", equity: 9_500, exceeds: false },
  { limit: "5%", equity: 9_499, exceeds: true },
])("exceedsLoss() of $limit at an equity of $equity is $exceeds", ({ limit, equity, exceeds }) => {
  expect(exceedsLoss(limit, start, equity, 0)).toBe(exceeds);
});

test("lossAllowed() does not know a share of an empty account", () => {
  expect(lossAllowed("5%", { ...start, equity: 0 })).toBeUndefined();
  expect(exceedsLoss("5%", { ...start, equity: 0 }, -10, 0)).toBe(false);
});

test("lossLimitSchema takes an amount or a share of the day's first equity", () => {
  for (const good of [500, "5%", "0.5%", "100%"]) expect(lossLimitSchema.safeParse(good).success).toBe(true);
  for (const bad of [0, -1, "0%", "101%", "5", "5 %", ""]) expect(lossLimitSchema.safeParse(bad).success).toBe(false);
});
