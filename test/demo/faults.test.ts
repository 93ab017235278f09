/** Each fault of the paper exchange as unmodified ccxt meets it, and the control path itself. */
import { expect, test } from "vitest";
import { rejection, startPaper, until } from "./paper.ts";

const BTC = "BTC/USDT:USDT";
const ORDER = "POST /fapi/v1/order";

test("POST /__paper/fault dropBefore kills the connection and executes nothing", async () => {
  const { venue, control, exchange } = startPaper();
  await venue.loadMarkets();
  await control("fault", { match: ORDER, kind: "dropBefore" });
  expect((await rejection(venue.createOrder(BTC, "market", "buy", 0.01))).name).toBe("NetworkError");
  expect(exchange.state()).toMatchObject({ flat: true, requests: { [ORDER]: 1 } });
  expect((await venue.createOrder(BTC, "market", "buy", 0.01)).status).toBe("closed");
});

test("POST /__paper/fault dropAfter executes and loses the reply", async () => {
  const { venue, control, exchange } = startPaper();
  await venue.loadMarkets();
  await control("fault", { match: ORDER, kind: "dropAfter" });
  expect((await rejection(venue.createOrder(BTC, "market", "buy", 0.01))).name).toBe("NetworkError");
  expect(exchange.state()).toMatchObject({ positions: [{ amount: 0.01 }], requests: { [ORDER]: 1 } });
});

test("POST /__paper/fault late executes after the connection has died", async () => {
  const { venue, control, exchange } = startPaper();
  await venue.loadMarkets();
  await control("fault", { match: ORDER, kind: "late", ms: 300 });
  await rejection(venue.createOrder(BTC, "market", "buy", 0.01));
  expect(exchange.state().flat).toBe(true);
  await until(() => !exchange.state().flat, "the late order");
});

test("POST /__paper/fault late executes nothing once the recvWindow is over", async () => {
  const { call, control, exchange } = startPaper();
  await control("fault", { match: ORDER, kind: "late", ms: 30 });
  await control("fault", { match: ORDER, kind: "late", ms: 60 });
  const order = { symbol: "BTCUSDT", side: "BUY", type: "MARKET", quantity: "0.010" };
  await rejection(call("POST", "/fapi/v1/order", { ...order, recvWindow: "5", newClientOrderId: "short" }));
  await rejection(call("POST", "/fapi/v1/order", { ...order, newClientOrderId: "long" }));
  await until(() => exchange.state().fills.length > 0, "the second order");
  expect(exchange.state().fills).toMatchObject([{ clientOrderId: "long" }]);
});

test("POST /__paper/fault late executes nothing once the deadline is over for a client whose clock is as fast as the venue's", async () => {
  const lines: string[] = [];
  // 5 s at this speed are 50 ms.
  const options = { speed: 100, log: (line: string) => void lines.push(line) };
  const { call, control, exchange } = startPaper(options);
  await control("fault", { match: ORDER, kind: "late", ms: 100 });
  const order = { symbol: "BTCUSDT", side: "BUY", type: "MARKET", quantity: "0.010", recvWindow: "5000" };
  await rejection(call("POST", "/fapi/v1/order", order));
  await until(() => lines.some((line) => line.startsWith("too late: /fapi/v1/order")), "the late order");
  expect(exchange.state().flat).toBe(true);
});

test("POST /__paper/fault stallBody sends the headers and never the body", async () => {
  const { control, exchange } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "stallBody" });
  const giveUp = new AbortController();
  const response = await fetch(`${exchange.url}/fapi/v1/time`, { signal: giveUp.signal });
  expect(response.status).toBe(200);
  const body = rejection(response.text());
  // The body is to stay away: this is how long it is given to come after all.
  setTimeout(() => giveUp.abort(), 50);
  expect((await body).name).toBe("AbortError");
});

test("POST /__paper/fault garbage answers 200 with HTML", async () => {
  const { control, exchange } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "garbage" });
  const response = await fetch(`${exchange.url}/fapi/v1/time`);
  expect([response.status, await response.text()]).toEqual([200, expect.stringContaining("<html>")]);
});

test("POST /__paper/fault http answers with the status, as a gateway does", async () => {
  const { venue, control } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "http", status: 503, times: 2 });
  expect((await rejection(venue.fetchTime())).name).toBe("ExchangeNotAvailable");
  expect((await rejection(venue.fetchTime())).name).toBe("ExchangeNotAvailable");
  expect(await venue.fetchTime()).toBeGreaterThan(0);
});

test("POST /__paper/fault apiCode answers with the venue's code", async () => {
  const { venue, control } = startPaper();
  await control("fault", { match: "/fapi/v3/account", kind: "apiCode", code: -1001, msg: "Internal error." });
  expect((await rejection(venue.fetchBalance())).message).toContain("-1001");
});

test("POST /__paper/fault rateLimit answers 429 with Retry-After", async () => {
  const { control, exchange } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "rateLimit", retryAfterSeconds: 3 });
  const response = await fetch(`${exchange.url}/fapi/v1/time`);
  expect([response.status, response.headers.get("Retry-After")]).toEqual([429, "3"]);
  expect(exchange.state().violations).toEqual([]);
});

test("POST /__paper/fault ban refuses everything for a while and records who goes on", async () => {
  const { venue, control, exchange } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "ban", seconds: 60 });
  expect((await rejection(venue.fetchTime())).name).toBe("DDoSProtection");
  expect(exchange.state().violations).toEqual([]);
  const other = await fetch(`${exchange.url}/fapi/v1/ping`);
  expect([other.status, other.headers.get("Retry-After")]).toEqual([418, "60"]);
  expect(exchange.state().violations).toHaveLength(1);
  await control("set", { skewMs: 61_000 });
  expect((await fetch(`${exchange.url}/fapi/v1/ping`)).status).toBe(200);
});

test("POST /__paper/fault partial fills a share of a market order and lets the rest expire", async () => {
  const { venue, control, exchange } = startPaper();
  await control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 0.1 }] });
  await control("fault", { match: ORDER, kind: "partial", ratio: 0.5 });
  const order = await venue.createOrder(BTC, "market", "sell", 0.1, undefined, { reduceOnly: true });
  expect(order).toMatchObject({ status: "expired", filled: 0.05, amount: 0.1 });
  expect(exchange.state().positions).toMatchObject([{ amount: 0.05 }]);
});

test("POST /__paper/fault rejectReduceOnly refuses what it should take", async () => {
  const { venue, control, exchange } = startPaper();
  await control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 0.1 }] });
  await control("fault", { match: ORDER, kind: "rejectReduceOnly" });
  const close = (): Promise<unknown> => venue.createOrder(BTC, "market", "sell", 0.1, undefined, { reduceOnly: true });
  expect((await rejection(close())).message).toContain("-2022");
  await close();
  expect(exchange.state().flat).toBe(true);
});

test("POST /__paper/fault latency delays the matching request only", async () => {
  const { control, exchange } = startPaper();
  await control("fault", { match: "/fapi/v1/time", kind: "latency", ms: 80 });
  const start = performance.now();
  await (await fetch(`${exchange.url}/fapi/v1/ping`)).text();
  const ping = performance.now() - start;
  await (await fetch(`${exchange.url}/fapi/v1/time`)).text();
  expect(performance.now() - start - ping).toBeGreaterThanOrEqual(75);
});

test("POST /__paper/fault lets `after` requests through, hits `times`, and matches parameters too", async () => {
  const { control, exchange } = startPaper();
  const fault = { match: "symbol=ETHUSDT", kind: "http", status: 500, after: 1, times: 2 };
  await control("fault", fault);
  const statuses: number[] = [];
  for (const symbol of ["ETHUSDT", "BTCUSDT", "ETHUSDT", "ETHUSDT", "ETHUSDT"]) {
    statuses.push((await fetch(`${exchange.url}/fapi/v1/ticker/price?symbol=${symbol}`)).status);
  }
  expect(statuses).toEqual([200, 200, 500, 500, 200]);
  expect(exchange.state().faults).toEqual([]);
});

const wrong: [string, string, unknown][] = [
  ["a fault of no kind", "fault", { match: "x", kind: "earthquake" }],
  ["a fault without match", "fault", { kind: "dropBefore" }],
  ["an unknown key", "set", { latency: 5 }],
  ["a symbol that is not listed", "set", { prices: { NOPEUSDT: 1 } }],
  ["a seed of another symbol", "seed", { positions: [{ symbol: "NOPE", side: "long", amount: 1 }] }],
  ["a path that is none", "explode", {}],
];
test.each(wrong)("handleControl() answers 400 with a message to %s", async (_what, path, body) => {
  const { control } = startPaper();
  const { status, json } = await control(path, body);
  expect({ status, json }).toMatchObject({ status: 400, json: { error: expect.stringMatching(/^cannot /) } });
});

test("handleControl() answers 400 to a body that is not JSON", async () => {
  const { exchange } = startPaper();
  const response = await fetch(`${exchange.url}/__paper/set`, { method: "POST", body: "{" });
  expect([response.status, await response.json()]).toEqual([
    400,
    { error: "cannot read the settings: the body is not JSON" },
  ]);
});

test("handleControl() seeds positions and both classes of orders, and resets to nothing", async () => {
  const { control, exchange } = startPaper({ symbols: 2 });
  await control("set", { hedge: true, latencyMs: 1 });
  await control("seed", {
    positions: [
      { symbol: "S00/USDT:USDT", side: "long", amount: 30 },
      { symbol: "S00USDT", side: "short", amount: 10 },
    ],
    orders: [
      { symbol: "S01USDT", side: "sell", amount: 3 },
      { symbol: "S00USDT", side: "sell", triggerPrice: 15, closePosition: true },
    ],
  });
  expect(exchange.state()).toMatchObject({
    flat: false,
    hedge: true,
    positions: [
      { side: "long", positionSide: "LONG", amount: 30, notional: 600 },
      { side: "short", positionSide: "SHORT", amount: 10 },
    ],
    orders: [{ symbol: "S01USDT", positionSide: "SHORT" }],
    algoOrders: [{ positionSide: "LONG", triggerPrice: 15 }],
  });
  expect((await control("set", { hedge: false })).json).toMatchObject({ error: expect.stringContaining("not flat") });
  await control("reset", {});
  expect((await control("state")).json).toMatchObject({
    flat: true,
    hedge: false,
    fills: [],
    requests: {},
    violations: [],
  });
});
