/** The way to the venue: rate, deadline, redirection, names and what is read from a reply. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Order, Position } from "ccxt";
import { describe, expect, test } from "vitest";
import { Bucket } from "../../src/actions/venue/bucket.ts";
import { describeError } from "../../src/actions/venue/describe-error.ts";
import { CcxtVenue } from "../../src/actions/venue/ccxt-venue.ts";
import { Limiter } from "../../src/actions/venue/limiter.ts";
import { readAllPages } from "../../src/actions/venue/open-orders.ts";
import type { OpenOrder } from "../../src/core/close-orders.ts";
import { nearestNames } from "../../src/actions/venue/exchange.ts";
import { EXCHANGES } from "../../src/actions/venue/exchanges.ts";
import { heldPosition, marketRules, openOrder } from "../../src/actions/venue/normalise.ts";
import { ratesOf } from "../../src/actions/venue/rates.ts";
import { createTransport, redirect, retryAfterMs } from "../../src/actions/venue/transport.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { exchangesSource } from "../../scripts/generate-exchanges.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { until } from "../platform/until.ts";
import { quickClock } from "./rig.ts";

/** Whether a take is granted without any time passing. */
async function takesNow(bucket: Bucket, cost: number): Promise<boolean> {
  const late = new AbortController();
  const taken = bucket.take(cost, late.signal);
  late.abort();
  return taken;
}

describe("Bucket", () => {
  const limits = { burst: 4, perSecond: 2 };

  test("Bucket grants its burst at once and then its rate", async () => {
    const clock = new FakeClock();
    const bucket = new Bucket(limits, clock);
    expect(await takesNow(bucket, 4)).toBe(true);
    expect(await takesNow(bucket, 1)).toBe(false);
    clock.advance(500);
    expect(await takesNow(bucket, 1)).toBe(true);
  });

  test("Bucket grants a cost above its burst when it is full, so that nothing waits for ever", async () => {
    const clock = new FakeClock();
    expect(await takesNow(new Bucket(limits, clock), 40)).toBe(true);
  });

  test("Bucket lets nothing out during a pause, and counts several refusals within one pause once", async () => {
    const clock = new FakeClock();
    const bucket = new Bucket(limits, clock);
    for (let n = 0; n < 5; n += 1) bucket.throttle(1_000);
    expect(bucket.paused).toBe(true);
    expect(await takesNow(bucket, 1)).toBe(false);
    clock.advance(1_000);
    expect(bucket.paused).toBe(false);
    // Half of the burst of 4.
    expect(await takesNow(bucket, 2)).toBe(true);
    expect(await takesNow(bucket, 1)).toBe(false);
    clock.advance(1_000);
    expect(await takesNow(bucket, 1)).toBe(true);
  });

  test("Bucket never falls below an eighth of its rate", async () => {
    const clock = new FakeClock();
    const bucket = new Bucket({ burst: 80, perSecond: 8 }, clock);
    for (let n = 0; n < 20; n += 1) {
      bucket.throttle(10);
      clock.advance(10);
    }
    expect(await takesNow(bucket, 10)).toBe(true);
    clock.advance(1_000);
    expect(await takesNow(bucket, 1)).toBe(true);
  });
});

describe("ratesOf()", () => {
  test("ratesOf() stays within Binance's limits in every window", () => {
    const { requests, orders } = ratesOf("binanceusdm");
    expect(requests.burst + requests.perSecond * 60).toBeLessThanOrEqual(2_400);
    expect(orders.burst + orders.perSecond * 10).toBeLessThanOrEqual(300);
    expect(orders.burst + orders.perSecond * 60).toBeLessThanOrEqual(1_200);
  });
});

describe("ratesOf() of OKX", () => {
  // Per 2 s and endpoint, from its v5 reference.
  test.each([
    ["positions", 10],
    ["orders", 60],
    ["triggers", 20],
    ["cancel", 300],
    ["cancelTriggers", 20],
  ] as const)("ratesOf() lets at most %s %i through in any 2 s", (kind, limit) => {
    const { burst = 0, perSecond = 0 } = ratesOf("okx").own[kind] ?? {};
    expect(burst).toBeGreaterThan(0);
    expect(burst + 2 * perSecond).toBeLessThanOrEqual(limit);
  });
});

describe("Limiter", () => {
  test("Limiter counts each instrument for itself where the venue does, and pauses all of them", async () => {
    const clock = new FakeClock();
    const limiter = new Limiter(ratesOf("okx"), clock);
    const takes = async (symbol: string, orders: number): Promise<boolean> => {
      const late = new AbortController();
      const taken = limiter.take("cancelTriggers", late.signal, symbol, orders);
      // A turn of the event loop: what need not wait for the clock, which stands, is taken by then.
      setTimeout(() => late.abort(), 0);
      return taken;
    };
    expect([await takes("A", 10), await takes("A", 1), await takes("B", 10)]).toEqual([true, false, true]);
    limiter.throttle(1_000);
    expect([limiter.paused, await takes("C", 1)]).toEqual([true, false]);
  });
});

function row(id: string): OpenOrder {
  return { id, clientId: undefined, symbol: "A", reduceOnly: false };
}

describe("readAllPages()", () => {
  test("readAllPages() asks for what is older than the smallest id, until a page is not full", async () => {
    const asked: (string | undefined)[] = [];
    const pages = [[row("9"), row("10")], [row("8"), row("7")], [row("6")]];
    const answer = await readAllPages(2, async (_limit, after) => {
      asked.push(after);
      return { value: pages[asked.length - 1] ?? [] };
    });
    expect(asked).toEqual([undefined, "9", "7"]);
    expect("value" in answer ? answer.value.map(({ id }) => id) : []).toEqual(["9", "10", "8", "7", "6"]);
  });

  test("readAllPages() fails with a failing page, and with a venue that answers the same page for ever", async () => {
    const failure = { failure: { kind: "unknown" }, text: "gone" } as const;
    let reads = 0;
    const second = await readAllPages(1, async () => ((reads += 1) === 1 ? { value: [row("1")] } : failure));
    expect(second).toEqual(failure);
    expect(await readAllPages(1, async () => ({ value: [row("1")] }))).toMatchObject({ failure: { kind: "unknown" } });
  });
});

describe("redirect()", () => {
  test.each([
    [
      "https://fapi.binance.com/fapi/v1/order?a=%2B&b=1",
      "http://127.0.0.1:9",
      "http://127.0.0.1:9/fapi/v1/order?a=%2B&b=1",
    ],
    ["https://fapi.binance.com/fapi/v1/time", "http://proxy/venue/", "http://proxy/venue/fapi/v1/time"],
    ["https://fapi.binance.com", "http://127.0.0.1:9", "http://127.0.0.1:9/"],
    ["https://fapi.binance.com/x", undefined, "https://fapi.binance.com/x"],
  ])("redirect() of %s to %s is %s, byte for byte", (url, endpoint, expected) => {
    expect(redirect(url, endpoint)).toBe(expected);
  });
});

describe("retryAfterMs()", () => {
  test.each([
    ["2", 2_000],
    ["0.5", 500],
    ["soon", 1_000],
    [undefined, 1_000],
    [new Date(0).toUTCString(), 0],
  ])("retryAfterMs() reads %s as %i ms", (text, expected) => {
    expect(retryAfterMs(new Headers(text === undefined ? {} : { "Retry-After": text }), systemClock)).toBe(expected);
  });
});

describe("createTransport()", () => {
  const signal = new AbortController().signal;
  const options = { clock: quickClock, endpoint: undefined, signal, onThrottled: () => undefined };

  test("createTransport() refuses to follow the venue to another address", async () => {
    using server = Bun.serve({ port: 0, fetch: () => Response.redirect("http://127.0.0.1:1/", 302) });
    const { fetch: send } = createTransport(options);
    await expect(send(server.url.href, {})).rejects.toThrow(/redirect/i);
  });

  test("createTransport() ends a call whose headers never come", async () => {
    using server = Bun.serve({ port: 0, fetch: () => new Promise<Response>(() => undefined) });
    const { fetch: send, calls } = createTransport(options);
    await expect(send(server.url.href, {})).rejects.toMatchObject({ name: "TimeoutError" });
    expect(calls()).toBe(1);
    await server.stop(true);
  });

  test("createTransport() reports the pause that a 429 asks for and the skew of the venue's clock", async () => {
    const headers = { "Retry-After": "7", Date: new Date(Date.now() - 60_000).toUTCString() };
    using server = Bun.serve({ port: 0, fetch: () => new Response("slow down", { status: 429, headers }) });
    const pauses: number[] = [];
    const transport = createTransport({ ...options, onThrottled: (ms) => pauses.push(ms) });
    expect(await (await transport.fetch(server.url.href, {})).text()).toBe("slow down");
    expect(pauses).toEqual([7_000]);
    expect(transport.skewMs()).toBeGreaterThan(58_000);
  });
});

describe("nearestNames()", () => {
  test("nearestNames() puts a transposed id first", () => {
    expect(nearestNames("binanceusmd", Object.keys(EXCHANGES))[0]).toBe("binanceusdm");
  });
});

describe("EXCHANGES", () => {
  test("EXCHANGES is what the installed ccxt has", () => {
    const file = join(import.meta.dirname, "..", "..", "src", "actions", "venue", "exchanges.ts");
    expect(readFileSync(file, "utf8")).toBe(exchangesSource());
  });
});

describe("describeError()", () => {
  test("describeError() drops queries and secrets", () => {
    const access = {
      exchange: "okx",
      sandbox: false,
      symbols: [],
      timeoutMs: 1,
      apiKey: "K1",
      apiSecret: "S1",
      passphrase: "P1",
    };
    const error = new Error("okx GET https://okx.com/api?apiKey=K1&sign=abc failed: S1 P1 K1");
    expect(describeError(error, access)).toBe("Error: okx GET https://okx.com/api failed: *** *** ***");
  });
});

const position = (changes: Partial<Position>): Position => ({
  symbol: "BTC/USDT:USDT",
  info: {},
  side: "long",
  ...changes,
});

// Safe: only the fields that openOrder reads matter.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const order = (changes: object): Order => ({ id: "1", symbol: "A", info: {}, ...changes }) as Order;

describe("heldPosition()", () => {
  const market = {
    contract: true,
    precision: { amount: 0.01 },
    limits: { amount: { min: 0.01, max: 1_000 }, market: { max: 120 } },
    info: { maxMktSz: "50" },
  };
  async function okx(): Promise<Parameters<typeof heldPosition>[0]> {
    const Class = await EXCHANGES["okx"]?.();
    if (Class === undefined) throw new Error("okx is not among the exchanges");
    const exchange = new Class({});
    exchange.markets = { "BTC/USDT:USDT": market };
    return exchange;
  }

  test("heldPosition() takes size, value, mode and limits, the smallest maximum among them", async () => {
    const read = position({
      contracts: -2,
      notional: -100,
      contractSize: 0.5,
      side: "short",
      hedged: true,
      marginMode: "isolated",
    });
    expect(heldPosition(await okx(), read)).toEqual({
      symbol: "BTC/USDT:USDT",
      side: "short",
      amount: 2,
      notional: 100,
      hedged: true,
      markPrice: 100,
      marginMode: "isolated",
      rules: { minAmount: 0.01, stepAmount: 0.01, maxMarketAmount: 50, maxLimitAmount: 1_000 },
    });
  });

  test("heldPosition() skips an entry without size and takes a missing side from the venue's signed size", async () => {
    expect(heldPosition(await okx(), position({ contracts: 0 }))).toBeUndefined();
    const signed = position({ contracts: 1, side: undefined, info: { pos: "-1" } });
    expect(heldPosition(await okx(), signed)?.side).toBe("short");
  });

  test("heldPosition() throws for what may be a position but cannot be told", async () => {
    const exchange = await okx();
    expect(() => heldPosition(exchange, position({ contracts: 1, side: undefined }))).toThrow("no side");
    expect(() => heldPosition(exchange, position({ symbol: undefined, contracts: 1 }))).toThrow("without symbol");
    expect(() => heldPosition(exchange, position({}))).toThrow("without size");
  });

  test("marketRules() of a market that is not listed knows no limit", async () => {
    expect(marketRules(await okx(), "NEW/USDT:USDT")).toEqual({ minAmount: 0 });
  });

  test("openOrder() throws for an order that cannot be cancelled by name", () => {
    expect(openOrder(order({ info: { closePosition: true } }))).toMatchObject({ id: "1", reduceOnly: true });
    expect(openOrder(order({ side: "sell", info: { posSide: "long" } }))).toMatchObject({ reduceOnly: true });
    expect(openOrder(order({ side: "buy", info: { posSide: "long" } }))).toMatchObject({ reduceOnly: false });
    expect(() => openOrder(order({ symbol: undefined }))).toThrow("without id or symbol");
  });
});

test("CcxtVenue.open() begins the connection, and sends nothing", async () => {
  let connections = 0;
  let bytes = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.on("data", (chunk) => (bytes += chunk.length));
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const access = { exchange: "okx", sandbox: false, symbols: [], timeoutMs: 1_000, apiKey: "k", apiSecret: "s" };
  const options = { clock: systemClock, signal: new AbortController().signal, onFailure: () => undefined };
  await CcxtVenue.open({ ...access, passphrase: "p", endpoint: `http://127.0.0.1:${port}` }, options);
  await until("a connection", () => connections > 0);
  expect({ connections, bytes }).toEqual({ connections: 1, bytes: 0 });
  server.close();
});
