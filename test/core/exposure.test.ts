/** Exposure limits and daily loss: rows for the rules, properties for what must hold whatever the account holds. */
import { expect, test } from "vitest";
import {
  dailyLoss,
  endOfDay,
  exceedsExposure,
  exceedsLoss,
  exposureOf,
  inOtherMoney,
  HYSTERESIS_RATIO,
  lossAllowed,
  lossLimitSchema,
  startOfDay,
  utcDay,
} from "../../src/core/exposure.ts";

test("exposureOf() counts both legs of a hedge in full", () => {
  expect(exposureOf([{ notional: 100 }, { notional: -100 }])).toBe(200);
});

test("exposureOf() is not known when one position's value is not, and then it exceeds nothing", () => {
  expect(exposureOf([{ notional: 1_000 }, { notional: undefined }])).toBeUndefined();
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

test.each([
  [["BTC/USDT", "ETH/USDC:USDC", "ETH/FDUSD"], []],
  [["BTC/EUR", "ETH/EUR"], []],
  [["ETH/BTC"], []],
  [["BTC/USDT", "ETH/BTC"], ["ETH/BTC"]],
  [
    ["ETH/BTC", "BNB/ETH", "BNB/ETH"],
    ["BNB/ETH", "BNB/ETH"],
  ],
])("inOtherMoney(%j) is %j", (symbols, other) => {
  expect(inOtherMoney(symbols.map((symbol) => ({ symbol }))).map(({ symbol }) => symbol)).toEqual(other);
});
