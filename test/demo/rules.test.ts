/** What the paper exchange refuses, with the venue's codes. */
import { expect, test } from "vitest";
import { ccxtFor, rejection, startPaper, type Paper, type RawReply } from "./paper.ts";

const MARKET = { symbol: "BTCUSDT", side: "BUY", type: "MARKET", quantity: "0.010" };
const LIMIT = { ...MARKET, type: "LIMIT", price: "66000.0", timeInForce: "GTC" };

const refusals: [string, Record<string, string>, number][] = [
  ["a symbol that is not listed", { ...MARKET, symbol: "NOPEUSDT" }, -1121],
  ["a side that is none", { ...MARKET, side: "LONG" }, -1117],
  ["a conditional type", { ...MARKET, type: "STOP_MARKET", stopPrice: "1" }, -4120],
  ["a missing quantity", { symbol: "BTCUSDT", side: "BUY", type: "MARKET" }, -1102],
  ["a quantity of zero", { ...MARKET, quantity: "0" }, -4003],
  ["a quantity between two lots", { ...MARKET, quantity: "0.0105" }, -1111],
  ["a quantity that is no number", { ...MARKET, quantity: "1e3" }, -1100],
  ["more than the market maximum", { ...MARKET, quantity: "120.001" }, -4005],
  ["a price between two ticks", { ...LIMIT, price: "66000.05" }, -4014],
  ["a price outside the filter", { ...LIMIT, price: "100.0" }, -4013],
  ["a buy far above the mark price", { ...LIMIT, price: "80000.0" }, -4016],
  ["less than the minimum notional", { ...MARKET, symbol: "ETHUSDT", quantity: "0.006" }, -4164],
  ["more than the margin allows", { ...MARKET, quantity: "119" }, -2019],
  ["a client id with a space", { ...MARKET, newClientOrderId: "a b" }, -4015],
  ["a client id of 37 characters", { ...MARKET, newClientOrderId: "x".repeat(37) }, -4015],
  ["a leg outside hedge mode", { ...MARKET, positionSide: "LONG" }, -4061],
  ["reduce-only without a position", { ...MARKET, reduceOnly: "true" }, -2022],
  ["post-only that would take", { ...LIMIT, price: "68000.0", timeInForce: "GTX" }, -5022],
  ["fill-or-kill that would rest", { ...LIMIT, timeInForce: "FOK" }, -5021],
];
test.each(refusals)("placeOrder() refuses %s", async (_what, params, code) => {
  const { call, exchange } = startPaper();
  const { status, json } = await call("POST", "/fapi/v1/order", params);
  expect({ status, json }).toMatchObject({ status: 400, json: { code } });
  expect(exchange.state().flat).toBe(true);
});

test("placeOrder() takes a reduce-only order below the minimum notional", async () => {
  const { call, control, exchange } = startPaper();
  await control("seed", { positions: [{ symbol: "BTCUSDT", side: "short", amount: 0.001 }] });
  await control("set", { prices: { BTCUSDT: 600 } });
  const { status } = await call("POST", "/fapi/v1/order", { ...MARKET, quantity: "0.001", reduceOnly: "true" });
  expect(status).toBe(200);
  expect(exchange.state().flat).toBe(true);
});

test("placeOrder() takes a client id again once its order is done, and not before", async () => {
  const { call } = startPaper();
  const place = (): ReturnType<typeof call> => call("POST", "/fapi/v1/order", { ...LIMIT, newClientOrderId: "same" });
  expect((await place()).status).toBe(200);
  expect((await place()).json).toMatchObject({ code: -4116 });
  await call("DELETE", "/fapi/v1/order", { symbol: "BTCUSDT", origClientOrderId: "same" });
  expect((await place()).status).toBe(200);
});

test("placeOrder() wants a leg and no reduceOnly in hedge mode", async () => {
  const { call, control } = startPaper();
  await control("set", { hedge: true });
  const reply = async (params: Record<string, string>): Promise<unknown> =>
    (await call("POST", "/fapi/v1/order", { ...MARKET, ...params })).json;
  expect(await reply({ reduceOnly: "true" })).toMatchObject({ code: -4061 });
  expect(await reply({ positionSide: "LONG", reduceOnly: "true" })).toMatchObject({ code: -1106 });
  expect(await reply({ positionSide: "SHORT" })).toMatchObject({ code: -2022 });
  expect(await reply({ positionSide: "LONG" })).toMatchObject({ status: "FILLED" });
});

test("placeOrder() fills an immediate-or-cancel order at once or lets it expire", async () => {
  const { call, exchange } = startPaper();
  const ioc = { ...LIMIT, timeInForce: "IOC" };
  expect((await call("POST", "/fapi/v1/order", ioc)).json).toMatchObject({ status: "EXPIRED", executedQty: "0.000" });
  const crossing = await call("POST", "/fapi/v1/order", { ...ioc, price: "68000.0" });
  expect(crossing.json).toMatchObject({ status: "FILLED", avgPrice: "67500.00000" });
  expect(exchange.state().orders).toEqual([]);
});

test("placeOrder() records a position that was turned", async () => {
  const { call, exchange } = startPaper();
  await call("POST", "/fapi/v1/order", MARKET);
  await call("POST", "/fapi/v1/order", { ...MARKET, side: "SELL", quantity: "0.030" });
  expect(exchange.state().flips).toMatchObject([{ symbol: "BTCUSDT", from: 0.01, to: -0.02 }]);
});

const STOP = {
  algoType: "CONDITIONAL",
  symbol: "BTCUSDT",
  side: "SELL",
  type: "STOP_MARKET",
  triggerPrice: "60000.0",
};
const algoRefusals: [string, Record<string, string>, number][] = [
  ["neither quantity nor closePosition", STOP, -1102],
  ["a trigger that is reached already", { ...STOP, quantity: "0.010", triggerPrice: "70000.0" }, -2021],
  ["closePosition with a quantity", { ...STOP, quantity: "0.010", closePosition: "true" }, -4137],
  ["closePosition with reduceOnly", { ...STOP, closePosition: "true", reduceOnly: "true" }, -4138],
];
test.each(algoRefusals)("placeAlgoOrder() refuses %s", async (_what, params, code) => {
  const { call } = startPaper();
  expect((await call("POST", "/fapi/v1/algoOrder", params)).json).toMatchObject({ code });
});

test("checkSigned() refuses a wrong key, a wrong secret and changed parameters, and records the breach", async () => {
  const { call, exchange } = startPaper();
  expect((await rejection(ccxtFor(exchange.url, "wrong").fetchBalance())).name).toBe("AuthenticationError");
  const changed = await call("POST", "/fapi/v1/order", MARKET, (query) => query.replace("0.010", "0.990"));
  expect(changed).toMatchObject({ status: 400, json: { code: -1022 } });
  const headers = { "X-MBX-APIKEY": "other" };
  const reply = await fetch(`${exchange.url}/fapi/v3/account?timestamp=1&signature=00`, { headers });
  expect(reply.status).toBe(401);
  expect(exchange.state().violations).toEqual(
    expect.arrayContaining([
      expect.stringContaining("GET /fapi/v3/account: -2015"),
      expect.stringContaining("POST /fapi/v1/order: -1022"),
    ]),
  );
});

test("checkSigned() refuses a clock outside the recvWindow until ccxt has adjusted its own", async () => {
  const { venue, control } = startPaper();
  await venue.loadMarkets();
  await control("set", { skewMs: 15_000 });
  expect((await rejection(venue.fetchBalance())).name).toBe("InvalidNonce");
  await venue.loadTimeDifference();
  expect((await venue.fetchBalance())["USDT"]).toBeDefined();
  await control("set", { skewMs: -15_000 });
  expect((await rejection(venue.fetchBalance())).message).toContain("ahead of the server");
});

test("checkSigned() holds a request to the recvWindow it names", async () => {
  const { call } = startPaper();
  const old = { timestamp: String(Date.now() - 3_000) };
  expect((await call("GET", "/fapi/v3/account", { ...old, recvWindow: "1000" })).json).toMatchObject({ code: -1021 });
  expect((await call("GET", "/fapi/v3/account", { ...old, recvWindow: "9000" })).status).toBe(200);
  expect((await call("GET", "/fapi/v3/account", { ...old, recvWindow: "90000" })).json).toMatchObject({
    code: -1131,
  });
});

/** Its ten seconds last a quarter of an hour, and its clock stands where windows begin: none ends within the test. */
async function withLongWindows(): Promise<{
  readonly paper: Paper;
  readonly call: (method: string, path: string, params?: Record<string, string>) => Promise<RawReply>;
}> {
  const speed = 0.01;
  const paper = startPaper({ speed });
  const minuteMs = 60_000 / speed;
  const skewMs = minuteMs + 500 - (Date.now() % minuteMs);
  await paper.control("set", { skewMs });
  const call = (method: string, path: string, params: Record<string, string> = {}): Promise<RawReply> =>
    paper.call(method, path, { timestamp: String(Date.now() + skewMs), ...params });
  return { paper, call };
}

test("Limits tell the weight that is used and refuse with Retry-After beyond 2400 a minute", async () => {
  const { paper, call } = await withLongWindows();
  for (let requests = 1; requests <= 60; requests += 1) {
    const { headers } = await call("GET", "/fapi/v1/openOrders");
    expect(headers.get("X-MBX-USED-WEIGHT-1M")).toBe(String(40 * requests));
  }
  const refused = await call("GET", "/fapi/v1/ping");
  expect(refused).toMatchObject({ status: 429, json: { code: -1003 } });
  expect(Number(refused.headers.get("Retry-After"))).toBeGreaterThan(50);
  expect(paper.exchange.state().violations).toHaveLength(1);
});

test("Limits refuse the order after 300 in ten seconds and do not execute it", async () => {
  const { paper, call } = await withLongWindows();
  await paper.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 1 }] });
  const order = { symbol: "BTCUSDT", side: "SELL", type: "MARKET", quantity: "0.001", reduceOnly: "true" };
  for (let orders = 0; orders < 300; orders += 1) {
    expect((await call("POST", "/fapi/v1/order", order)).status).toBe(200);
  }
  const refused = await call("POST", "/fapi/v1/order", order);
  expect(refused).toMatchObject({ status: 429, json: { code: -1015 } });
  expect(Number(refused.headers.get("Retry-After"))).toBeLessThanOrEqual(10);
  expect(paper.exchange.state().fills).toHaveLength(300);
});

test("Limits ban who ignores the refusals", async () => {
  const { call } = await withLongWindows();
  for (let requests = 0; requests < 60; requests += 1) await call("GET", "/fapi/v1/openOrders");
  let status = 429;
  for (let requests = 0; requests < 200 && status === 429; requests += 1)
    ({ status } = await call("GET", "/fapi/v1/ping"));
  expect(status).toBe(418);
});
