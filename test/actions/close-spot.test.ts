/**
 * The close of a spot wallet against the paper exchange that speaks Binance's spot market: everything is sold once, whatever
 * replies are lost. Nothing but the close itself keeps a balance from being sold twice there.
 */
import { expect, test, vi } from "vitest";
import type { CloseReport } from "../../src/core/close-job.ts";
import { QUICK, quickClock, startRig, VENUES } from "./rig.ts";
import type { JobChanges, Rig } from "./rig.ts";

vi.setConfig({ maxConcurrency: 12 });

const { order: ORDER, positions: BALANCES, cancel: CANCEL, orders: ORDERS } = VENUES["binance-spot"];

/** Balances of three assets, one of them held back by a resting sale, and a resting purchase. */
const WALLET = {
  positions: [
    { symbol: "BTCUSDT", side: "long", amount: 0.5 },
    { symbol: "ETHUSDT", side: "long", amount: 3 },
    { symbol: "BNBUSDT", side: "long", amount: 10 },
  ],
  orders: [
    { symbol: "ETHUSDT", side: "sell", amount: 2 },
    { symbol: "BNBUSDT", side: "buy", amount: 1 },
  ],
};

async function closeWallet(
  setUp: (rig: Rig) => Promise<void>,
  changes: JobChanges = {},
): Promise<{ rig: Rig; report: CloseReport }> {
  const rig = startRig({ exchange: "binance-spot", speed: QUICK });
  await rig.control("seed", WALLET);
  await setUp(rig);
  const { venue, ...more } = changes;
  // Each round in which a reply is lost takes 7 s until the balance may be sold again.
  return { rig, report: await rig.close({ ...more, venue: { timeoutMs: 90_000, ...venue } }, { clock: quickClock }) };
}

/** Each asset was sold once in sum: no more than there was, by no order that the venue had to refuse. */
function expectSoldOnce(rig: Rig, expected: Readonly<Record<string, number>>): void {
  const { fills, flips, violations, orders } = rig.paper.state();
  expect({ flips, violations, orders }).toEqual({ flips: [], violations: [], orders: [] });
  const sold = new Map<string, number>();
  for (const { symbol, side, quantity } of fills)
    sold.set(symbol, (sold.get(symbol) ?? 0) + (side === "SELL" ? quantity : -quantity));
  for (const [symbol, amount] of Object.entries(expected)) expect(sold.get(symbol)).toBeCloseTo(amount, 8);
}

const ALL = { BTCUSDT: 0.5, ETHUSDT: 3, BNBUSDT: 10 };

const rows: readonly { name: string; faults: readonly object[] }[] = [
  { name: "no fault", faults: [] },
  {
    name: "replies that are lost after the order was executed",
    faults: [{ match: ORDER, kind: "dropAfter", times: 3 }],
  },
  { name: "connections that die before", faults: [{ match: ORDER, kind: "dropBefore", times: 4 }] },
  { name: "late execution", faults: [{ match: ORDER, kind: "late", times: 3, ms: 900 }] },
  {
    name: "late execution after a cancel that failed",
    faults: [
      { match: CANCEL, kind: "http", status: 500, times: 4 },
      { match: ORDER, kind: "late", times: 3, ms: 600 },
    ],
  },
  { name: "a stalled body", faults: [{ match: ORDER, kind: "stallBody", times: 2 }] },
  {
    name: "HTML with status 200",
    faults: [
      { match: ORDER, kind: "garbage", times: 2 },
      { match: BALANCES, kind: "garbage", times: 1 },
      { match: ORDERS, kind: "garbage", times: 1 },
    ],
  },
  { name: "partial fills", faults: [{ match: ORDER, kind: "partial", times: 4, ratio: 0.5 }] },
  { name: "a rate limit", faults: [{ match: ORDER, kind: "rateLimit", times: 2, retryAfterSeconds: 1 }] },
  {
    name: "http 503 on readings and orders",
    faults: [
      { match: BALANCES, kind: "http", status: 503, times: 2 },
      { match: ORDER, kind: "http", status: 503, times: 2 },
    ],
  },
  {
    name: "market orders that the price filter refuses",
    faults: [
      { match: "type=MARKET", kind: "apiCode", code: -1013, msg: "Filter failure: PERCENT_PRICE_BY_SIDE", times: 40 },
    ],
  },
];

test.concurrent.each(rows)("closePositions() of a spot wallet sells everything once with $name", async ({ faults }) => {
  const { rig, report } = await closeWallet(async (made) => {
    for (const fault of faults) await made.control("fault", fault);
  });
  await using _ = rig;
  expect(report).toMatchObject({ outcome: "flat", verified: true, foreign: [] });
  expectSoldOnce(rig, ALL);
  expect(rig.paper.state().positions).toEqual([]);
});

test.concurrent("closePositions() of a spot wallet cancels what holds a balance back before it sells it, in one order", async () => {
  const { rig, report } = await closeWallet(async () => {});
  await using _ = rig;
  expect(
    report.orders.map(({ symbol, side, amount, filled }) => [symbol, side, amount, filled].join(" ")).toSorted(),
  ).toEqual(["BNB/USDT sell 10 10", "BTC/USDT sell 0.5 0.5", "ETH/USDT sell 3 3"]);
  expect(report.before?.positions.find(({ symbol }) => symbol === "BTC/USDT")).toMatchObject({
    amount: 0.5,
    notional: 33_750,
  });
});

test.concurrent("closePositions() of a spot wallet keeps what the config keeps, reports dust, and is flat", async () => {
  const { rig, report } = await closeWallet(
    (made) => made.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 0.00006 }] }),
    { venue: { spot: { quote: "USDT", keep: ["BNB"] } } },
  );
  await using _ = rig;
  // 0.00006 BTC are 4.05 USDT, and no order below 5 USDT is taken.
  expect(report).toMatchObject({ outcome: "flat", dust: [{ symbol: "BTC/USDT", amount: 0.00006 }] });
  expect(report.reason).toContain("1 position below the smallest order stays");
  expect(rig.paper.state().positions.map(({ symbol, amount }) => [symbol, amount])).toEqual([
    ["BTCUSDT", 0.00006],
    ["BNBUSDT", 10],
  ]);
  expectSoldOnce(rig, { ETHUSDT: 3 });
});

test.concurrent("closePositions() of a spot wallet names an asset that no market sells, and does not call that flat", async () => {
  const { rig, report } = await closeWallet(async () => {}, { venue: { spot: { quote: "EUR", keep: ["USDT"] } } });
  await using _ = rig;
  expect(report).toMatchObject({ outcome: "unsupported" });
  expect(report.reason).toContain("no spot market with that quote currency");
});

test.concurrent("closePositions() of a spot wallet splits a balance above the market's maximum, one order after the other", async () => {
  const { rig, report } = await closeWallet(async (made) => {
    await made.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 300 }] });
    await made.control("fault", { match: ORDER, kind: "late", times: 1, ms: 900 });
  });
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  expectSoldOnce(rig, { ...ALL, BTCUSDT: 300 });
});

test.concurrent("closePositions() of a spot wallet in mode plan shows what it would sell, and changes nothing", async () => {
  await using rig = startRig({ exchange: "binance-spot" });
  await rig.control("seed", WALLET);
  const report = await rig.close({ mode: "plan" });
  expect(report).toMatchObject({ outcome: "planNotEmpty", before: { orders: 2 } });
  expect(report.before?.positions).toHaveLength(3);
  expect(Object.keys(rig.paper.state().requests).filter((name) => !name.startsWith("GET "))).toEqual([]);
});

test.concurrent("closePositions() of a spot wallet with a key that may not trade ends keyRefused", async () => {
  const { rig, report } = await closeWallet((made) => made.control("set", { canTrade: false }));
  await using _ = rig;
  expect(report).toMatchObject({ outcome: "keyRefused", verified: false });
});

test.concurrent("a close of a spot wallet that is followed by another one after an order without outcome sells nothing twice", async () => {
  await using rig = startRig({ exchange: "binance-spot", speed: QUICK });
  await rig.control("seed", { positions: WALLET.positions });
  await rig.control("fault", { match: ORDER, kind: "late", times: 3, ms: 1_500 });
  const first = await rig.close({ venue: { timeoutMs: 300 } }, { clock: quickClock });
  expect(first.outcome).toBe("residual");
  expect(await rig.close({}, { clock: quickClock })).toMatchObject({ outcome: "flat" });
  expectSoldOnce(rig, ALL);
});
