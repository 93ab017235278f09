/** What the close must know of OKX: contracts, pages, one listing for each type of stop, orders that are only acknowledged; and keys and readings refused, on both venues. */
import { expect, test } from "vitest";
import { CLOSE_EXIT } from "../../src/core/close-job.ts";
import { holdings, QUICK, quickClock, startRig, VENUES } from "./rig.ts";
import type { JobChanges, Rig } from "./rig.ts";

const { order: ORDER } = VENUES.okx;
const OWN_CLOSE = "POST /api/v5/trade/close-position";
const ALGO_LIST = "GET /api/v5/trade/orders-algo-pending";
const io = { clock: quickClock };

function startOkx(): Rig {
  return startRig({ exchange: "okx", symbols: 4, speed: QUICK });
}

function expectSound(rig: Rig): void {
  expect(rig.paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
}

test.concurrent("closePositions() finds and cancels 250 orders and 25 stops, a hundred to the page and ten to the cancel", async () => {
  await using rig = startOkx();
  const entry = { symbol: "S00USDT", side: "buy", amount: 1 };
  const stop = { symbol: "S00USDT", side: "sell", amount: 1, triggerPrice: 1, reduceOnly: true };
  await rig.control("seed", {
    positions: [{ symbol: "S00USDT", side: "long", amount: 5 }],
    orders: [...Array.from({ length: 250 }, () => entry), ...Array.from({ length: 25 }, () => stop)],
  });
  const report = await rig.close({}, io);
  expect(report).toMatchObject({ outcome: "flat", before: { orders: 275 }, after: { orders: 0 } });
  const { requests } = rig.paper.state();
  expect(requests["POST /api/v5/trade/cancel-batch-orders"]).toBe(13);
  expect(requests["POST /api/v5/trade/cancel-algos"]).toBe(3);
  expectSound(rig);
});

test.concurrent("closePositions() sees every type of conditional order, and cancels none before its position is closed", async () => {
  await using rig = startOkx();
  const types = ["conditional", "oco", "trigger", "move_order_stop", "chase", "iceberg", "twap"];
  await rig.control("seed", {
    positions: [{ symbol: "S00USDT", side: "long", amount: 5 }],
    orders: types.map((orderType) => ({ symbol: "S00USDT", side: "sell", amount: 1, triggerPrice: 1, orderType })),
  });
  await rig.control("fault", { match: ORDER, kind: "dropBefore", times: 1_000 });
  const kept = await rig.close({ venue: { timeoutMs: 1_500 } }, io);
  expect(kept).toMatchObject({ outcome: "residual", after: { orders: 7 } });
  expect(rig.paper.state().algoOrders).toHaveLength(7);
  await using other = startOkx();
  await other.control("seed", {
    orders: types.map((orderType) => ({ symbol: "S00USDT", side: "sell", amount: 1, triggerPrice: 1, orderType })),
  });
  expect(await other.close({}, io)).toMatchObject({ outcome: "flat", before: { orders: 7 } });
  expectSound(other);
});

test.concurrent.each([
  ["goes on where a type of order that not every account has is not known", "ordType=chase", 51000, "flat", 20_000],
  ["does not call an account flat whose stops it cannot list", "ordType=trigger", 51000, "unreadable", 8_000],
  ["does not take a refusal for another reason as no orders of the type", "ordType=twap", 50062, "unreadable", 8_000],
])("closePositions() %s", async (_, match, code, outcome, timeoutMs) => {
  await using rig = startOkx();
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match, kind: "apiCode", code, msg: "Parameter ordType error", times: 1_000 });
  expect(await rig.close({ venue: { timeoutMs } }, io)).toMatchObject({ outcome });
  expect(rig.paper.state().positions).toEqual([]);
});

test.concurrent("closePositions() splits a position above maxMktSz, which ccxt's limits do not have", async () => {
  await using rig = startOkx();
  await rig.control("seed", { positions: [{ symbol: "BTCUSDT", side: "short", amount: 30_000 }] });
  const report = await rig.close({}, io);
  expect(report.outcome).toBe("flat");
  expect(report.orders.map(({ amount }) => amount)).toEqual([12_000, 12_000, 6_000]);
  // 30 000 contracts of 0.01 BTC.
  expect(report.before?.positions).toMatchObject([{ amount: 30_000, notional: 300 * 67_500 }]);
  expectSound(rig);
});

test.concurrent("closePositions() closes a dated future beside the swap of the same coin", async () => {
  await using rig = startOkx();
  await rig.control("seed", {
    positions: [
      { symbol: "BTCUSDT", side: "long", amount: 3 },
      { symbol: "BTC-USDT-301227", side: "short", amount: 4 },
    ],
    orders: [{ symbol: "BTC-USDT-301227", side: "buy", triggerPrice: 100_000, closePosition: true }],
  });
  const report = await rig.close({}, io);
  expect(report).toMatchObject({ outcome: "flat", errors: {} });
  expect(report.orders.map(({ symbol }) => symbol).toSorted()).toEqual(["BTC/USDT:USDT", "BTC/USDT:USDT-301227"]);
  expectSound(rig);
});

test.concurrent.each([50011, 50061])(
  "closePositions() pauses when OKX says too frequent (%i) with status 200",
  async (code) => {
    await using rig = startOkx();
    await rig.control("seed", holdings(2));
    await rig.control("fault", { match: ORDER, kind: "apiCode", code, msg: "Rate limit reached.", times: 2 });
    const report = await rig.close({}, io);
    expect(report).toMatchObject({ outcome: "flat", errors: { throttled: 2 } });
    expect(report.durationMs).toBeGreaterThan(2_000);
    expectSound(rig);
  },
);

test.concurrent("closePositions() halves what the venue finds too large (51202), whatever the listing says", async () => {
  await using rig = startOkx();
  await rig.control("seed", { positions: [{ symbol: "S00USDT", side: "long", amount: 8 }] });
  const msg = "Market order amount exceeds the maximum amount.";
  await rig.control("fault", { match: ORDER, kind: "apiCode", code: 51202, msg, times: 2 });
  const report = await rig.close({}, io);
  expect(report).toMatchObject({ outcome: "flat", errors: { "rejected:size": 2 } });
  expect(report.orders.map(({ amount }) => amount)).toEqual([8, 4, 2, 2, 2, 2]);
  expectSound(rig);
});

test.concurrent.each([
  { name: "a net position", hedge: false, seed: { side: "long", amount: 5 } },
  { name: "an isolated one", hedge: false, seed: { side: "short", amount: 5, marginMode: "isolated" } },
  { name: "both legs", hedge: true, seed: { side: "long", amount: 5 } },
])("closePositions() has OKX itself close $name when every order is refused", async ({ hedge, seed }) => {
  await using rig = startOkx();
  await rig.control("set", { hedge });
  const legs = hedge ? [seed, { ...seed, side: "short", amount: 7 }] : [seed];
  await rig.control("seed", {
    positions: legs.map((leg) => ({ symbol: "S00USDT", ...leg })),
    orders: [{ symbol: "S00USDT", side: "buy", amount: 1, ...(hedge ? { positionSide: "LONG" } : {}) }],
  });
  await rig.control("fault", { match: ORDER, kind: "apiCode", code: 51000, msg: "Parameter error", times: 1_000 });
  const report = await rig.close({}, io);
  expect(report).toMatchObject({ outcome: "flat", after: { positions: [], orders: 0 } });
  const accepted = report.orders.filter(({ outcome }) => outcome === "accepted");
  expect(accepted.map(({ by }) => by)).toEqual(legs.map(() => "venue"));
  expect(rig.paper.state().requests[OWN_CLOSE]).toBe(legs.length);
  expectSound(rig);
});

test.concurrent.each([
  { name: "one-way, after an order of ours", hedge: false, late: 1, refused: 4 },
  { name: "one-way, twice", hedge: false, late: 2, refused: 1_000 },
  { name: "hedged, after an order of ours", hedge: true, late: 1, refused: 4 },
  { name: "hedged, twice", hedge: true, late: 2, refused: 1_000 },
])(
  "closePositions() turns nothing where OKX's own close, which takes no deadline, is executed late: $name",
  async ({ hedge, late, refused }) => {
    await using rig = startOkx();
    await rig.control("set", { hedge });
    const legs = hedge ? [5, 7] : [5];
    await rig.control("seed", {
      positions: legs.map((amount, n) => ({ symbol: "S00USDT", side: n === 0 ? "long" : "short", amount })),
    });
    const times = refused * legs.length;
    await rig.control("fault", { match: ORDER, kind: "apiCode", code: 51000, msg: "Parameter error", times });
    // Long after the next order of ours, and within the time that the close waits for an order of unknown fate: 7 s of its quick clock.
    await rig.control("fault", { match: OWN_CLOSE, kind: "late", times: late * legs.length, ms: 1_200 });
    expect(await rig.close({}, io)).toMatchObject({ outcome: "flat", foreign: [] });
    expect(rig.paper.state().requests[OWN_CLOSE]).toBeGreaterThanOrEqual(legs.length);
    expectSound(rig);
  },
);

test.concurrent("closePositions() never has OKX close what is only to be reduced", async () => {
  await using rig = startOkx();
  await rig.control("seed", { positions: [{ symbol: "S00USDT", side: "long", amount: 5 }] });
  await rig.control("fault", { match: ORDER, kind: "apiCode", code: 51000, msg: "Parameter error", times: 1_000 });
  const report = await rig.close({ goal: { kind: "reduce", exposure: 1 }, venue: { timeoutMs: 3_000 } }, io);
  expect(report).toMatchObject({ outcome: "residual" });
  expect(rig.paper.state().requests[OWN_CLOSE]).toBeUndefined();
});

test.concurrent("closePositions() names the margin mode of an isolated position", async () => {
  await using rig = startOkx();
  await rig.control("seed", {
    positions: [{ symbol: "S00USDT", side: "long", amount: 5, marginMode: "isolated" }],
  });
  expect(await rig.close({}, io)).toMatchObject({ outcome: "flat", errors: {} });
  expectSound(rig);
});

test.concurrent("closePositions() goes down the ladder of prices when market orders are refused, although fills are not told", async () => {
  await using rig = startOkx();
  await rig.control("seed", holdings(2));
  const msg = "Order price is not within the price limit";
  await rig.control("fault", { match: '"ordType":"market"', kind: "apiCode", code: 51006, msg, times: 40 });
  const report = await rig.close({}, io);
  expect(report).toMatchObject({ outcome: "flat", errors: { "rejected:band": 2 } });
  const accepted = report.orders.filter(({ outcome }) => outcome === "accepted");
  // Acknowledged only: no amount may be claimed.
  for (const order of accepted) expect(order.filled).toBeUndefined();
  expectSound(rig);
});

test.concurrent("closePositions() gives each order 5 s to be executed, so that a reply that is lost cannot haunt it", async () => {
  await using rig = startOkx();
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match: ORDER, kind: "late", times: 1, ms: 5_300 });
  // In real time, for the venue's own clock decides.
  const report = await rig.close({});
  expect(report).toMatchObject({ outcome: "flat" });
  expect(rig.paper.state().fills).toHaveLength(1);
  expect(rig.paper.state()).toMatchObject({ flat: true, flips: [] });
});

const both = ["binance", "okx"] as const;

test.concurrent.each(
  both.flatMap((venue) => [
    { venue, what: "positions", seed: holdings(2) },
    { venue, what: "orders only", seed: { orders: holdings(2).orders } },
  ]),
)(
  "closePositions() gives up a key that may only read on $venue, with $what, after two refused rounds",
  async ({ venue, seed }) => {
    await using rig = startRig({ exchange: venue, symbols: 2 });
    await rig.control("seed", seed);
    await rig.control("set", { canTrade: false });
    const report = await rig.close();
    expect(CLOSE_EXIT[report.outcome]).toBe(13);
    expect(report.verified).toBe(false);
    const { fills, requests } = rig.paper.state();
    expect(fills).toEqual([]);
    // Two positions, or the orders of two symbols in two classes, are refused twice, and nothing is waited for: the bench has the time.
    const asked = Object.entries(requests).filter(([label]) => !label.startsWith("GET "));
    expect(asked.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(2 * 2 * 3);
    expect(report.rounds).toBe(2);
  },
);

const wrongKeys: [string, NonNullable<JobChanges["venue"]>][] = [
  ["key", { apiKey: "another-key" }],
  ["secret", { apiSecret: "another-secret" }],
  ["passphrase", { passphrase: "another-passphrase" }],
];
test.concurrent.each(wrongKeys)("closePositions() gives up a wrong %s on OKX", async (_, venue) => {
  await using rig = startOkx();
  await rig.control("seed", holdings(1));
  expect(await rig.close({ venue }, io)).toMatchObject({ outcome: "keyRefused", orders: [] });
});

test.concurrent.each(both)("closePositions() calls %s unreadable when it shows nothing", async (venue) => {
  await using rig = startRig({ exchange: venue, symbols: 2, speed: QUICK });
  await rig.control("seed", holdings(2));
  await rig.control("fault", { match: "GET /", kind: "http", status: 503, times: 1_000 });
  const report = await rig.close({ venue: { timeoutMs: 1_000 } }, io);
  expect(CLOSE_EXIT[report.outcome]).toBe(14);
  expect(report).toMatchObject({ verified: false, after: null });
});

test.concurrent("closePositions() stays within OKX's limits with 60 positions and 120 orders, in real time", async () => {
  await using rig = startRig({ exchange: "okx", symbols: 60 });
  await rig.control("seed", holdings(60));
  const report = await rig.close();
  expect(report).toMatchObject({ outcome: "flat", errors: {} });
  expect(rig.paper.state().requests[ALGO_LIST]).toBeLessThanOrEqual(24);
  expectSound(rig);
});

/** Bodies and deadlines of the new orders on their way to the venue. */
function listenIn(rig: Rig): {
  url: string;
  orders: { body: unknown; deadlineInMs: number }[];
  stop: () => Promise<void>;
} {
  const orders: { body: unknown; deadlineInMs: number }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const body = await request.text();
      if (`${request.method} ${pathname}` === ORDER) {
        const deadlineInMs = Number(request.headers.get("expTime")) - Date.now();
        orders.push({ body: JSON.parse(body), deadlineInMs });
      }
      const headers = new Headers(request.headers);
      headers.delete("host");
      const init = { method: request.method, headers, ...(body === "" ? {} : { body }) };
      return fetch(`${rig.paper.url}${pathname}${search}`, init);
    },
  });
  return { url: server.url.href, orders, stop: () => server.stop(true) };
}

test.concurrent("closePositions() sends the orders that were recorded for closing a leg and a net position, each with a deadline", async () => {
  for (const hedge of [false, true]) {
    await using rig = startOkx();
    await rig.control("set", { hedge });
    await rig.control("seed", { positions: [{ symbol: "S00USDT", side: "long", amount: 3 }] });
    const line = listenIn(rig);
    expect(await rig.close({ venue: { endpoint: line.url } }, io)).toMatchObject({ outcome: "flat" });
    await line.stop();
    // As ccxt's static request fixtures have it, with our id in place of the broker's id and tag.
    const common = { instId: "S00-USDT-SWAP", side: "sell", ordType: "market", sz: "3", tdMode: "cross" };
    const clOrdId: unknown = expect.stringMatching(/^svabc123[a-z0-9]{10}$/);
    const leg = hedge ? { posSide: "long" } : { reduceOnly: true };
    expect(line.orders.map(({ body }) => body)).toEqual([[{ ...common, ...leg, clOrdId }]]);
    for (const { deadlineInMs } of line.orders) {
      expect(deadlineInMs).toBeGreaterThan(0);
      expect(deadlineInMs).toBeLessThanOrEqual(5_050);
    }
  }
});
