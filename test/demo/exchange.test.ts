/** The paper exchange as unmodified ccxt sees it when nothing is wrong. */
import { expect, test } from "vitest";
import { binanceListing } from "../../src/demo/exchange/binance/listing.ts";
import { Market } from "../../src/demo/exchange/market.ts";
import { rejection, startPaper, until } from "./paper.ts";

const BTC = "BTC/USDT:USDT";
const ETH = "ETH/USDT:USDT";

test("startPaperExchange() lists its markets with the venue's filters", async () => {
  const { venue } = startPaper({ symbols: 20 });
  await venue.loadMarkets();
  expect(Object.keys(venue.markets ?? {})).toHaveLength(23);
  expect(venue.market("S19/USDT:USDT").id).toBe("S19USDT");
  expect(venue.market(BTC)).toMatchObject({
    precision: { amount: 0.001, price: 0.1 },
    limits: { amount: { min: 0.001, max: 1000 }, market: { max: 120 }, cost: { min: 50 } },
  });
});

test("startPaperExchange() shows the balance of an untouched account", async () => {
  const { venue } = startPaper();
  const balance = await venue.fetchBalance();
  expect(balance["USDT"]).toMatchObject({ total: 100_000, free: 100_000 });
});

test("startPaperExchange() fills a market order at the mark price and shows the position", async () => {
  const { venue, control } = startPaper();
  await control("set", { prices: { BTCUSDT: 60_000 } });
  const order = await venue.createOrder(BTC, "market", "buy", 0.01);
  expect(order).toMatchObject({ status: "closed", filled: 0.01, average: 60_000 });
  expect(await venue.fetchPositions()).toMatchObject([
    { symbol: BTC, side: "long", contracts: 0.01, entryPrice: 60_000, hedged: false },
  ]);
  expect((await venue.fetchBalance())["USDT"]).toMatchObject({ total: 99_999.7 });
});

test("startPaperExchange() rests a limit order and fills it when the price crosses", async () => {
  const { venue, control, exchange } = startPaper();
  const order = await venue.createOrder(BTC, "limit", "buy", 0.01, 66_000);
  expect(order.status).toBe("open");
  expect(await venue.fetchOpenOrders()).toHaveLength(1);
  await control("set", { prices: { [BTC]: 65_990 } });
  const filled = await venue.fetchOrder(String(order.id), BTC);
  expect(filled).toMatchObject({ status: "closed", average: 66_000 });
  expect(exchange.state().orders).toEqual([]);
  expect(await venue.fetchMyTrades(BTC)).toMatchObject([{ price: 66_000, amount: 0.01, takerOrMaker: "maker" }]);
});

test("startPaperExchange() cancels one order and all orders of a symbol", async () => {
  const { venue, exchange } = startPaper();
  const first = await venue.createOrder(BTC, "limit", "buy", 0.01, 66_000);
  await venue.createOrder(BTC, "limit", "buy", 0.01, 65_000);
  await venue.createOrder(ETH, "limit", "sell", 0.1, 3_400);
  expect((await venue.cancelOrder(String(first.id), BTC)).status).toBe("canceled");
  expect((await rejection(venue.cancelOrder(String(first.id), BTC))).name).toBe("OrderNotFound");
  await venue.cancelAllOrders(BTC);
  expect(exchange.state().orders.map((order) => order.symbol)).toEqual(["ETHUSDT"]);
});

test("startPaperExchange() keeps conditional orders apart from regular ones", async () => {
  const { venue, exchange } = startPaper();
  await venue.createOrder(BTC, "market", "buy", 0.02);
  const stop = await venue.createOrder(BTC, "market", "sell", 0.02, undefined, {
    stopLossPrice: 60_000,
    reduceOnly: true,
  });
  expect(stop).toMatchObject({ status: "open", triggerPrice: 60_000 });
  expect(await venue.fetchOpenOrders(BTC)).toEqual([]);
  await venue.cancelAllOrders(BTC);
  expect(await venue.fetchOpenOrders(BTC, undefined, undefined, { trigger: true })).toHaveLength(1);
  expect(await venue.fetchOrder(String(stop.id), BTC, { trigger: true })).toMatchObject({ status: "open" });
  await venue.cancelOrder(String(stop.id), BTC, { trigger: true });
  await venue.createOrder(BTC, "market", "sell", 0, undefined, { stopLossPrice: 60_000, closePosition: true });
  await venue.cancelAllOrders(BTC, { trigger: true });
  expect(exchange.state().algoOrders).toEqual([]);
});

test("startPaperExchange() closes the whole position when a closePosition order triggers", async () => {
  const { venue, control, exchange } = startPaper();
  await venue.createOrder(BTC, "market", "buy", 0.02);
  await venue.createOrder(BTC, "market", "sell", 0, undefined, { stopLossPrice: 60_000, closePosition: true });
  await control("set", { prices: { BTCUSDT: 59_900 } });
  expect(exchange.state()).toMatchObject({ flat: true, fills: [{}, { quantity: 0.02, price: 59_900 }] });
});

test("startPaperExchange() cuts a reduce-only order to the position and refuses one that would add", async () => {
  const { venue, exchange } = startPaper();
  await venue.createOrder(BTC, "market", "buy", 0.02);
  const wrongWay = await rejection(venue.createOrder(BTC, "market", "buy", 0.02, undefined, { reduceOnly: true }));
  expect(wrongWay.message).toContain("-2022");
  const close = await venue.createOrder(BTC, "market", "sell", 5, undefined, { reduceOnly: true });
  expect(close).toMatchObject({ status: "closed", filled: 0.02 });
  expect(exchange.state()).toMatchObject({ flat: true, flips: [] });
  const again = await rejection(venue.createOrder(BTC, "market", "sell", 5, undefined, { reduceOnly: true }));
  expect(again.name).toBe("InvalidOrder");
});

test("startPaperExchange() expires a resting reduce-only order with its position, and counts it against a further one", async () => {
  const { venue, exchange } = startPaper();
  await venue.createOrder(BTC, "market", "buy", 0.02);
  const take = await venue.createOrder(BTC, "limit", "sell", 0.02, 69_000, { reduceOnly: true });
  const blocked = await rejection(venue.createOrder(BTC, "market", "sell", 0.02, undefined, { reduceOnly: true }));
  expect(blocked.message).toContain("-4118");
  await venue.createOrder(BTC, "market", "sell", 0.02);
  expect(exchange.state().flat).toBe(true);
  expect((await venue.fetchOrder(String(take.id), BTC)).status).toBe("expired");
});

test("startPaperExchange() holds both legs in hedge mode and closes each by its side", async () => {
  const { venue, exchange } = startPaper();
  await venue.setPositionMode(true);
  expect((await venue.fetchPositionMode()).hedged).toBe(true);
  await venue.createOrder(BTC, "market", "buy", 0.02, undefined, { hedged: true });
  await venue.createOrder(BTC, "market", "sell", 0.01, undefined, { hedged: true });
  const held = await venue.fetchPositions();
  expect(held.map(({ side, contracts, hedged }) => ({ side, contracts, hedged }))).toEqual([
    { side: "long", contracts: 0.02, hedged: true },
    { side: "short", contracts: 0.01, hedged: true },
  ]);
  await venue.createOrder(BTC, "market", "sell", 0.02, undefined, { hedged: true, reduceOnly: true });
  await venue.createOrder(BTC, "market", "buy", 0.01, undefined, { hedged: true, reduceOnly: true });
  expect(exchange.state().flat).toBe(true);
});

test("startPaperExchange() cancels the regular orders of one symbol when its countdown is over, and never the stops", async () => {
  const { venue, exchange, control } = startPaper();
  await control("seed", {
    orders: [
      { symbol: "BTCUSDT", side: "buy", amount: 0.01 },
      { symbol: "ETHUSDT", side: "buy", amount: 0.1 },
      { symbol: "BTCUSDT", side: "sell", triggerPrice: 1, amount: 0.01 },
    ],
  });
  await venue.fapiPrivatePostCountdownCancelAll({ symbol: "BTCUSDT", countdownTime: 60_000 });
  expect(exchange.state().countdowns).toEqual({ BTCUSDT: 60_000 });
  await venue.fapiPrivatePostCountdownCancelAll({ symbol: "BTCUSDT", countdownTime: 0 });
  expect(exchange.state().countdowns).toEqual({});
  await venue.fapiPrivatePostCountdownCancelAll({ symbol: "BTCUSDT", countdownTime: 50 });
  await until(() => exchange.state().orders.length === 1, "the order is cancelled");
  expect(exchange.state()).toMatchObject({ orders: [{ symbol: "ETHUSDT" }], algoOrders: [{ symbol: "BTCUSDT" }] });
});

test("startPaperExchange() tells transfers as income, and the key's rights as they were set", async () => {
  const { venue, exchange, control } = startPaper();
  await control("set", { transfer: 500, canWithdraw: true });
  expect(await venue.fapiPrivateGetIncome({ incomeType: "TRANSFER" })).toMatchObject([{ income: "500.00000000" }]);
  expect(exchange.state().wallet).toBe(100_500);
  expect(await venue.sapiGetAccountApiRestrictions()).toMatchObject({ enableWithdrawals: true, enableFutures: true });
});

test("startPaperExchange() moves its prices by itself", async () => {
  const { exchange, control } = startPaper({ tickMs: 1 });
  await control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 1 }] });
  const price = (): number | undefined => exchange.state().positions[0]?.markPrice;
  await until(() => price() !== 67_500, "another price");
  expect(price()).toBeGreaterThan(60_000);
});

test("startPaperExchange() gives ccxt a ticker, an order book and candles", async () => {
  const { venue } = startPaper();
  expect((await venue.fetchTicker(BTC)).last).toBe(67_500);
  const book = await venue.fetchOrderBook(BTC, 5);
  expect([book.bids[0]?.[0], book.asks[0]?.[0]]).toEqual([67_499.9, 67_500.1]);
  expect(await venue.fetchOHLCV(BTC, "1m", undefined, 3)).toHaveLength(3);
  expect((await venue.fetchMarkPrice(BTC)).markPrice).toBe(67_500);
  expect((await venue.fetchBidsAsks())[BTC]?.bid).toBe(67_499.9);
});

test("startPaperExchange() frees its port when stopped, and says so when the port is taken", async () => {
  const { exchange } = startPaper();
  expect(() => startPaper({ port: exchange.port })).toThrow(
    `cannot start the paper exchange on 127.0.0.1:${exchange.port}`,
  );
  await exchange.stop();
  expect(startPaper({ port: exchange.port }).exchange.port).toBe(exchange.port);
});

/** Prices of BTC over 500 steps. */
function walk(market: Market): number[] {
  return Array.from({ length: 500 }, () => {
    market.step();
    return market.price("BTCUSDT");
  });
}

test("Market walks the same way from the same seed, also after a reset, and another way from another", () => {
  const market = new Market(7, binanceListing(2));
  const first = walk(market);
  expect(walk(new Market(7, binanceListing(0)))).toEqual(first);
  expect(walk(new Market(8, binanceListing(0)))).not.toEqual(first);
  market.reset();
  expect(walk(market)).toEqual(first);
});

test("Market walks slowly, on whole ticks and not away for ever", () => {
  const prices = walk(new Market(1, binanceListing(0)));
  const steps = prices.slice(1).map((price, index) => Math.abs(price - (prices[index] ?? 0)) / price);
  expect(Math.max(...steps)).toBeLessThan(0.002);
  expect(Math.max(...prices.map((price) => Math.abs(price - 67_500) / 67_500))).toBeLessThan(0.05);
  expect(prices.every((price) => Number(price.toFixed(1)) === price)).toBe(true);
});
