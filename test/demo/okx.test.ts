/** The OKX paper exchange as unmodified ccxt and raw calls see it: contracts, acknowledgements, codes, pages, limits. */
import { expect, test } from "vitest";
import { startOkxPaper } from "./okx-paper.ts";
import { rejection, until } from "./paper.ts";

const BTC = "BTC/USDT:USDT";
const ORDERS = "/api/v5/trade/batch-orders";
const MARKET = { instId: "BTC-USDT-SWAP", tdMode: "cross", side: "buy", ordType: "market", sz: "10" };

/** What an order reply says of its first order. */
function firstItem(json: unknown): unknown {
  return Object(Object(json).data)[0];
}

test("okxListing() counts in contracts, and has the market maximum where ccxt does not look", async () => {
  const { venue } = startOkxPaper({ symbols: 5 });
  await venue.loadMarkets();
  expect(Object.keys(venue.markets ?? {})).toHaveLength(9);
  expect(venue.market("BTC/USDT:USDT-301227")).toMatchObject({ type: "future", contractSize: 0.01 });
  expect(venue.market(BTC)).toMatchObject({
    id: "BTC-USDT-SWAP",
    contractSize: 0.01,
    precision: { amount: 0.1, price: 0.1 },
    info: { maxMktSz: "12000" },
  });
});

test("placeOrder() only acknowledges; the position tells what was filled", async () => {
  const { venue, exchange } = startOkxPaper();
  const order = await venue.createOrder(BTC, "market", "buy", 10);
  expect(order.filled).toBeUndefined();
  expect(await venue.fetchPositions()).toMatchObject([
    {
      symbol: BTC,
      side: "long",
      contracts: 10,
      contractSize: 0.01,
      notional: 6_750,
      hedged: false,
      marginMode: "cross",
    },
  ]);
  const found = await venue.fetchOrder(String(order.id), BTC);
  expect(found).toMatchObject({ status: "closed", filled: 10, average: 67_500 });
  expect(await venue.fetchMyTrades(BTC)).toMatchObject([{ amount: 10, price: 67_500, side: "buy" }]);
  // Fee of 0.05 % on 0.1 BTC.
  expect(exchange.state().wallet).toBe(100_000 - 3.375);
  await venue.createOrder(BTC, "market", "sell", 25, undefined, { reduceOnly: true });
  expect(exchange.state()).toMatchObject({ flat: true, flips: [] });
});

test("fillOrRest() rests a limit order, and lets an immediate one that finds nobody vanish after its acknowledgement", async () => {
  const { venue, exchange, control } = startOkxPaper();
  await venue.createOrder(BTC, "limit", "buy", 10, 66_000);
  await venue.createOrder(BTC, "limit", "buy", 10, 66_000, { timeInForce: "IOC" });
  await venue.createOrder(BTC, "limit", "buy", 10, 68_000, { postOnly: true });
  expect(await venue.fetchOpenOrders()).toHaveLength(1);
  await control("set", { prices: { [BTC]: 65_990 } });
  expect(exchange.state()).toMatchObject({ orders: [], positions: [{ amount: 10, entryPrice: 66_000 }] });
});

test("listAlgoOrders() keeps conditional orders apart, each type in a listing of its own", async () => {
  const { venue, exchange, call } = startOkxPaper();
  await venue.createOrder(BTC, "market", "buy", 10);
  const params = { stopLossPrice: 60_000, reduceOnly: true };
  await venue.createOrder(BTC, "market", "sell", 10, undefined, params);
  await venue.createOrder(BTC, "market", "sell", 10, undefined, { triggerPrice: 59_000, reduceOnly: true });
  const types = async (ordType: string): Promise<(string | undefined)[]> =>
    (await venue.fetchOpenOrders(BTC, undefined, undefined, { trigger: true, ordType })).map(({ type }) => type);
  expect(await venue.fetchOpenOrders(BTC)).toEqual([]);
  expect([await types("trigger"), await types("conditional,oco"), await types("twap")]).toEqual([
    ["trigger"],
    ["conditional"],
    [],
  ]);
  const list = "/api/v5/trade/orders-algo-pending";
  expect((await call("GET", list)).json).toMatchObject({ code: "50014" });
  expect((await call("GET", list, { params: { ordType: "trigger,twap" } })).json).toMatchObject({ code: "51000" });
  for (const { algoId } of exchange.state().algoOrders) {
    await venue.cancelOrder(String(algoId), BTC, { trigger: true });
  }
  expect(exchange.state().algoOrders).toEqual([]);
});

test("triggerAlgoOrders() fires a stop for a part and one for the whole position", async () => {
  const { venue, exchange, control } = startOkxPaper();
  await venue.createOrder(BTC, "market", "buy", 10);
  await venue.createOrder(BTC, "market", "sell", 4, undefined, { stopLossPrice: 66_000, reduceOnly: true });
  const whole = { stopLossPrice: 65_000, reduceOnly: true, closeFraction: "1" };
  await venue.createOrder(BTC, "market", "sell", 0.1, undefined, whole);
  await control("set", { prices: { [BTC]: 65_990 } });
  expect(exchange.state()).toMatchObject({ positions: [{ amount: 6 }], algoOrders: [{ closePosition: true }] });
  await control("set", { prices: { [BTC]: 64_990 } });
  expect(exchange.state().flat).toBe(true);
});

test("placeOrder() holds both legs in hedge mode, and refuses a close that is larger than what is free of its leg", async () => {
  const { venue, exchange, call } = startOkxPaper();
  await venue.setPositionMode(true);
  expect((await venue.fetchPositionMode()).hedged).toBe(true);
  await venue.createOrder(BTC, "market", "buy", 10, undefined, { hedged: true });
  await venue.createOrder(BTC, "market", "sell", 5, undefined, { hedged: true });
  expect((await venue.fetchPositions()).map(({ side, contracts }) => [side, contracts])).toEqual([
    ["long", 10],
    ["short", 5],
  ]);
  await venue.createOrder(BTC, "limit", "sell", 4, 70_000, { hedged: true, reduceOnly: true });
  const close = { ...MARKET, side: "sell", posSide: "long" };
  expect(firstItem((await call("POST", ORDERS, { params: [close] })).json)).toMatchObject({ sCode: "51112" });
  await venue.createOrder(BTC, "market", "sell", 6, undefined, { hedged: true, reduceOnly: true });
  expect(exchange.state().positions.map(({ side, amount }) => [side, amount])).toEqual([
    ["long", 4],
    ["short", 5],
  ]);
});

const refusals: [string, Record<string, unknown>, string][] = [
  ["an instrument that is not listed", { instId: "NOPE-USDT-SWAP" }, "51001"],
  ["a missing margin mode", { tdMode: "cash" }, "51000"],
  ["a leg in net mode", { posSide: "long" }, "51000"],
  ["a client id with a sign", { clOrdId: "a-b" }, "51000"],
  ["a client id of 33 characters", { clOrdId: "x".repeat(33) }, "51000"],
  ["a quantity of zero", { sz: "0" }, "51000"],
  ["a quantity between two lots", { sz: "1.05" }, "51121"],
  ["more than the market maximum", { sz: "12000.1" }, "51202"],
  ["more than the margin allows", { sz: "11000" }, "51008"],
  ["a limit order without a price", { ordType: "limit" }, "51000"],
  ["a buy far above the mark price", { ordType: "limit", px: "80000" }, "51006"],
  ["reduce-only without a position", { reduceOnly: true }, "51169"],
];
test.each(refusals)("placeOrder() refuses %s with status 200 and the order's own code", async (_, params, sCode) => {
  const { call, exchange } = startOkxPaper();
  const { status, json } = await call("POST", ORDERS, { params: [{ ...MARKET, ...params }] });
  expect({ status, json }).toMatchObject({ status: 200, json: { code: "1", data: [{ sCode, ordId: "" }] } });
  expect(exchange.state().flat).toBe(true);
});

test("placeOrder() refuses reduce-only in the position's own direction, and in another margin mode than the position's", async () => {
  const { call, control } = startOkxPaper();
  await control("seed", { positions: [{ symbol: BTC, side: "long", amount: 10, marginMode: "isolated" }] });
  const codeOf = async (params: object): Promise<unknown> =>
    Object(firstItem((await call("POST", ORDERS, { params: [{ ...MARKET, reduceOnly: true, ...params }] })).json))
      .sCode;
  expect(await codeOf({ tdMode: "isolated" })).toBe("51170");
  expect(await codeOf({ side: "sell" })).toBe("51169");
  expect(await codeOf({ side: "sell", tdMode: "isolated" })).toBe("0");
});

/** Cancels of orders that do not exist. */
function many(count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, n) => ({ instId: "BTC-USDT-SWAP", ordId: String(n), algoId: String(n) }));
}

test("handleItems() says for each order of a list what became of it, and takes no more than the list may have", async () => {
  const { call, exchange } = startOkxPaper();
  const mixed = await call("POST", ORDERS, { params: [MARKET, { ...MARKET, sz: "0" }] });
  expect(mixed.json).toMatchObject({ code: "2", data: [{ sCode: "0" }, { sCode: "51000" }] });
  const codes = [
    (await call("POST", "/api/v5/trade/cancel-batch-orders", { params: many(21) })).json,
    (await call("POST", "/api/v5/trade/cancel-algos", { params: many(11) })).json,
  ].map((json) => Object(json).code);
  expect(codes).toEqual(["50025", "50025"]);
  expect(exchange.state().violations).toHaveLength(2);
});

test("page() shows a hundred orders at a time, newest first, and older ones after an id", async () => {
  const { control, call } = startOkxPaper();
  const orders = Array.from({ length: 150 }, () => ({ symbol: BTC, side: "buy", amount: 1 }));
  await control("seed", { orders });
  const ids = async (params: Record<string, string>): Promise<number[]> => {
    const { json } = await call("GET", "/api/v5/trade/orders-pending", { params });
    return Array.from(Object(json).data, (row) => Number(Object(row).ordId));
  };
  const first = await ids({ limit: "500" });
  const second = await ids({ after: String(first.at(-1)) });
  expect([first.length, second.length]).toEqual([100, 50]);
  expect([...first, ...second]).toEqual([...first, ...second].toSorted((a, b) => b - a));
});

const auth: [string, string, Record<string, string>, string | undefined][] = [
  ["another key", "50111", { "OK-ACCESS-KEY": "other" }, undefined],
  ["another passphrase", "50105", { "OK-ACCESS-PASSPHRASE": "other" }, undefined],
  ["a signature of something else", "50113", {}, "[]"],
  ["no signature", "50106", { "OK-ACCESS-SIGN": "" }, undefined],
  ["a time that is no ISO time", "50112", { "OK-ACCESS-TIMESTAMP": String(Date.now()) }, undefined],
  [
    "a time of a minute ago",
    "50102",
    { "OK-ACCESS-TIMESTAMP": new Date(Date.now() - 60_000).toISOString() },
    undefined,
  ],
];
test.each(auth)("checkSigned() refuses %s with 401", async (_, code, headers, tampered) => {
  const { call } = startOkxPaper();
  const request = { params: [MARKET], headers, ...(tampered === undefined ? {} : { tampered }) };
  expect(await call("POST", ORDERS, request)).toMatchObject({ status: 401, json: { code } });
});

test("checkDeadline() executes nothing after the time that the header expTime names", async () => {
  const { call, control, exchange } = startOkxPaper();
  const late = await call("POST", ORDERS, { params: [MARKET], headers: { expTime: String(Date.now() - 1) } });
  expect(late.json).toMatchObject({ code: "1", data: [{ sCode: "50036" }] });
  await control("fault", { match: ORDERS, kind: "late", ms: 150 });
  await rejection(call("POST", ORDERS, { params: [MARKET], headers: { expTime: String(Date.now() + 20) } }));
  await control("fault", { match: ORDERS, kind: "late", ms: 150 });
  await rejection(call("POST", ORDERS, { params: [{ ...MARKET, sz: "7" }] }));
  await until(() => !exchange.state().flat, "the order without a deadline");
  expect(exchange.state().positions).toMatchObject([{ amount: 7 }]);
});

test("Limits refuses with 50011 what is above an endpoint's own limit, and counts each instrument for itself", async () => {
  // A window of centuries: no test falls into two.
  const { call, exchange } = startOkxPaper({ speed: 1e-10 });
  const codes: unknown[] = [];
  for (let n = 0; n < 11; n += 1) codes.push(Object((await call("GET", "/api/v5/account/positions")).json).code);
  expect(codes.slice(9)).toEqual(["0", "50011"]);
  const cancels = async (instId: string): Promise<unknown> => {
    const params = Array.from({ length: 10 }, (_, n) => ({ instId, algoId: String(n) }));
    return Object((await call("POST", "/api/v5/trade/cancel-algos", { params })).json).code;
  };
  expect([await cancels("A"), await cancels("A"), await cancels("A"), await cancels("B")]).toEqual([
    "1",
    "1",
    "50011",
    "1",
  ]);
  expect(exchange.state().violations).toHaveLength(2);
});

test("configShape() tells the rights of the key and the position mode", async () => {
  const { call, control } = startOkxPaper();
  const config = async (): Promise<unknown> => firstItem((await call("GET", "/api/v5/account/config")).json);
  expect(await config()).toMatchObject({ perm: "read_only,trade", posMode: "net_mode" });
  await control("set", { canTrade: false, hedge: true });
  expect(await config()).toMatchObject({ perm: "read_only", posMode: "long_short_mode" });
  expect((await call("POST", ORDERS, { params: [MARKET] })).json).toMatchObject({ code: "50120" });
});

test("publicRoutes give ccxt time, ticker, book, candles, mark price and balance", async () => {
  const { venue, control } = startOkxPaper();
  await control("set", { skewMs: 60_000 });
  expect((await venue.fetchTime()) ?? 0).toBeGreaterThan(Date.now() + 50_000);
  await control("set", { skewMs: 0 });
  expect((await venue.fetchTicker(BTC)).last).toBe(67_500);
  const book = await venue.fetchOrderBook(BTC, 5);
  expect([book.bids[0]?.[0], book.asks[0]?.[0], book.bids.length]).toEqual([67_499.9, 67_500.1, 5]);
  expect(await venue.fetchOHLCV(BTC, "1m", undefined, 3)).toHaveLength(3);
  expect((await venue.fetchMarkPrice(BTC)).markPrice).toBe(67_500);
  expect((await venue.fetchBalance())["USDT"]).toMatchObject({ total: 100_000, free: 100_000 });
});

const RESTING = {
  positions: [{ symbol: "BTCUSDT", side: "long", amount: 10 }],
  orders: [
    { symbol: "BTCUSDT", side: "buy", amount: 1 },
    { symbol: "ETHUSDT", side: "buy", amount: 1 },
    { symbol: "BTCUSDT", side: "sell", triggerPrice: 1, closePosition: true },
  ],
};

test("cancelAllOrdersAfter() cancels the account's regular orders once it is not called again, and never the stops", async () => {
  const { venue, exchange, control } = startOkxPaper({ speed: 50 });
  await control("seed", RESTING);
  await venue.cancelAllOrdersAfter(10_000);
  await until(() => exchange.state().orders.length === 0, "the orders are cancelled");
  expect(exchange.state()).toMatchObject({ algoOrders: [{}], positions: [{}], countdowns: {} });
});

test("cancelAllOrdersAfter() with 0 stops the countdown", async () => {
  const { venue, exchange } = startOkxPaper();
  await venue.cancelAllOrdersAfter(120_000);
  expect(exchange.state().countdowns).toEqual({ "*": 120_000 });
  await venue.cancelAllOrdersAfter(0);
  expect(exchange.state().countdowns).toEqual({});
});

test("cancelAllOrdersAfter() is refused below 10 s", async () => {
  const { venue } = startOkxPaper();
  expect((await rejection(venue.cancelAllOrdersAfter(5_000))).message).toContain("timeOut");
});

test("bills of type 1 tell transfers, and the key's rights are those that were set", async () => {
  const { venue, exchange, control } = startOkxPaper();
  await control("set", { transfer: -250, canWithdraw: true });
  const bills = Object(await venue.privateGetAccountBills({ type: "1" })).data;
  expect(bills).toMatchObject([{ type: "1", subType: "12", balChg: "-250" }]);
  expect(exchange.state().wallet).toBe(99_750);
  expect(await venue.privateGetAccountConfig()).toMatchObject({ data: [{ perm: "read_only,trade,withdraw" }] });
});
