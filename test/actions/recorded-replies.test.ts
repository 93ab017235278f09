/** What replies in the venues' documented shapes become on their way through ccxt and our normaliser, and what our orders and cancels become as requests. */
import { describe, expect, test } from "vitest";
import type { CancelOrders, CloseOrder, HeldPosition } from "../../src/core/close-orders.ts";
import { RECORDED_FIELDS } from "../fixtures/recorded-fields.ts";
import { VENUE_REPLIES } from "../fixtures/venue-replies.ts";
import { replay, type RecordedVenue } from "./recorded-rig.ts";

interface Expected {
  readonly positions: readonly Partial<HeldPosition>[];
  readonly orders: readonly string[];
  readonly triggers: readonly string[];
  /** Parts of the request that each position is closed by. */
  readonly closes: readonly (readonly string[])[];
  /** Of the cancels of the first regular and the first conditional order. */
  readonly cancels: readonly string[];
}

const short = { symbol: "BTC/USDT:USDT", side: "short", hedged: false, markPrice: 28_000 } as const;
const EXPECTED: Readonly<Record<RecordedVenue, Expected>> = {
  bybit: {
    positions: [
      { ...short, amount: 0.3, notional: 8239.35 },
      // Neither is settled in USDT, which is all that ccxt asks for by itself.
      { symbol: "BTC/USDC:USDC", side: "long", amount: 0.02, hedged: true },
      { symbol: "ETH/USD:ETH", side: "long", amount: 700, hedged: false },
    ],
    orders: ["f1a-1 bot-1 ETH/USDT:USDT"],
    triggers: ["f1a-2 bot-1 BTC/USDT:USDT reduces"],
    closes: [
      ['"symbol":"BTCUSDT"', '"side":"Buy"', '"qty":"0.3"', '"reduceOnly":true', '"orderLinkId":"svabc1231"'],
      // In hedge mode the leg says that it only reduces.
      ['"symbol":"BTCPERP"', '"side":"Sell"', '"positionIdx":1'],
      ['"category":"inverse"', '"side":"Sell"', '"qty":"700"', '"reduceOnly":true'],
    ],
    cancels: ['{"symbol":"ETHUSDT","orderId":"f1a-1"}', '{"symbol":"BTCUSDT","orderId":"f1a-2"}'],
  },
  gate: {
    positions: [
      // Contracts of 0.0001 BTC.
      { ...short, amount: 30, notional: 84 },
      { symbol: "BTC/USD:BTC", side: "long", amount: 500, hedged: false },
    ],
    orders: ["93847201445 t-bot1 BTC/USDT:USDT"],
    triggers: ["1728901233 t-stop BTC/USDT:USDT reduces"],
    closes: [
      ["/futures/usdt/orders", '"size":30', '"reduce_only":true', '"tif":"ioc"', '"text":"t-svabc1231"'],
      ["/futures/btc/orders", '"size":-500', '"reduce_only":true'],
    ],
    cancels: ["/futures/usdt/orders?contract=BTC_USDT", "/futures/usdt/price_orders?contract=BTC_USDT"],
  },
  bitget: {
    positions: [
      { ...short, amount: 0.3, notional: 8400, hedged: true, marginMode: "cross" },
      { symbol: "BTC/USDC:USDC", side: "long", amount: 0.02, hedged: false },
    ],
    orders: ["1111 bot-1 BTC/USDT:USDT"],
    triggers: ["2222 bot-2 BTC/USDT:USDT reduces", "3333 bot-2 BTC/USDT:USDT reduces"],
    closes: [
      // Bitget's hedge mode names the leg by the side that opened it.
      ['"symbol":"BTCUSDT"', '"side":"sell"', '"tradeSide":"Close"', '"size":"0.3"', '"marginMode":"crossed"'],
      ['"symbol":"BTCPERP"', '"side":"sell"', '"reduceOnly":"YES"', '"productType":"USDC-FUTURES"'],
    ],
    cancels: ["/mix/order/batch-cancel-orders", "/mix/order/cancel-plan-order"],
  },
  bitgetUnified: {
    positions: [
      { ...short, amount: 0.3, notional: 8400, hedged: true, marginMode: "cross" },
      { symbol: "BTC/USDC:USDC", side: "long", amount: 0.3, hedged: false },
    ],
    orders: ["1111 bot-1 BTC/USDT:USDT"],
    // Three listings by type show the same stop, which does not say that it only reduces.
    triggers: ["2222 2222 BTC/USDT:USDT"],
    closes: [
      ["/v3/trade/place-order", '"symbol":"BTCUSDT"', '"side":"buy"', '"posSide":"short"', '"qty":"0.3"'],
      ["/v3/trade/place-order", '"symbol":"BTCPERP"', '"side":"sell"', '"reduceOnly":"yes"'],
    ],
    cancels: ["/v3/trade/cancel-symbol-order", '/v3/trade/cancel-strategy-order {"symbol":"BTCUSDT","orderId":"2222"}'],
  },
  kucoinfutures: {
    positions: [{ ...short, amount: 300, notional: 8400, marginMode: "cross" }],
    orders: ["5cdfc138b21023a909e5ad55 bot-1 BTC/USDT:USDT"],
    triggers: ["5cdfc138b21023a909e5ad66 bot-1 BTC/USDT:USDT reduces"],
    closes: [['"symbol":"XBTUSDTM"', '"side":"buy"', '"size":300', '"reduceOnly":true', '"marginMode":"CROSS"']],
    cancels: ["DELETE /api/v1/orders?symbol=XBTUSDTM", "DELETE /api/v1/stopOrders?symbol=XBTUSDTM"],
  },
  krakenfutures: {
    positions: [{ symbol: "BTC/USD:USD", side: "short", amount: 0.3, hedged: false, markPrice: undefined }],
    orders: ["59302619-41d2-4f0b-941f-7e7914760ad3 bot-1 BTC/USD:USD"],
    triggers: ["59302619-41d2-4f0b-941f-7e7914760bbb bot-2 BTC/USD:USD reduces"],
    closes: [["symbol=PF_XBTUSD", "side=buy", "size=0.3", "reduceOnly=true", "orderType=mkt", "cliOrdId=svabc1231"]],
    cancels: ['"order_id":"59302619-41d2-4f0b-941f-7e7914760ad3"', '"order_id":"59302619-41d2-4f0b-941f-7e7914760bbb"'],
  },
  hyperliquid: {
    positions: [
      { symbol: "BTC/USDC:USDC", side: "short", amount: 0.3, notional: 8400, hedged: false, markPrice: 28_000 },
    ],
    orders: ["5003452017 undefined ETH/USDC:USDC"],
    triggers: ["5003452018 undefined BTC/USDC:USDC reduces"],
    // There is no market order: 5 % above the mark, immediate or cancel, without a client id of ours and without fees for anybody.
    closes: [
      ['"orders":[{"a":0,"b":true,"p":"29400","s":"0.3","r":true,"t":{"limit":{"tif":"Ioc"}}}],"grouping":"na"}'],
    ],
    cancels: ['"cancels":[{"a":1,"o":5003452017}]', '"cancels":[{"a":0,"o":5003452018}]'],
  },
};

function orderFor({ symbol, side, amount, hedged, marginMode }: HeldPosition): CloseOrder {
  const fixed = {
    id: "svabc1231",
    round: 1,
    seq: 1,
    reduceOnly: true,
    last: [],
    rung: 0,
    limitPrice: undefined,
    probe: false,
  } as const;
  return { ...fixed, symbol, side: side === "long" ? "sell" : "buy", positionSide: side, amount, hedged, marginMode };
}

const NAMES = [
  "bitget",
  "bitgetUnified",
  "bybit",
  "gate",
  "hyperliquid",
  "krakenfutures",
  "kucoinfutures",
] as const satisfies readonly RecordedVenue[];

describe.concurrent.each(NAMES)("recorded replies of %s", (name) => {
  const expected = EXPECTED[name];

  test("CcxtVenue reads every position, order and conditional order, and all in each other's place", async () => {
    await using rig = await replay(name);
    const reading = await rig.venue.read();
    expect(reading.failures).toEqual([]);
    expect(reading.positions).toMatchObject(expected.positions);
    const words = (list = reading.orders): string[] | undefined =>
      list?.map(({ id, clientId, symbol, reduceOnly }) => `${id} ${clientId} ${symbol}${reduceOnly ? " reduces" : ""}`);
    expect(words(reading.orders)).toEqual(expected.orders);
    expect(words(reading.triggers)).toEqual(expected.triggers);
  });

  test("CcxtVenue closes and cancels by requests that can only reduce", async () => {
    await using rig = await replay(name);
    const { positions = [], orders = [], triggers = [] } = await rig.venue.read();
    for (const [index, position] of positions.entries()) {
      // Safe: one after the other, so that the requests are in order.
      // oxlint-disable-next-line no-await-in-loop
      expect(await rig.venue.send(orderFor(position))).toMatchObject({ result: { kind: "accepted" } });
      for (const part of expected.closes[index] ?? ["no such close"]) expect(rig.sent.at(-1)).toContain(part);
    }
    for (const [index, cancel] of [cancelOf(orders, false), cancelOf(triggers, true)].entries()) {
      // Safe: as above.
      // oxlint-disable-next-line no-await-in-loop
      expect(await rig.venue.cancel(cancel)).toEqual([]);
      expect(rig.sent.at(-1)).toContain(expected.cancels[index]);
    }
    expect(rig.sent).toHaveLength(positions.length + 2);
  });

  test("CcxtVenue knows a refused reduce-only order from one of unknown fate", async () => {
    await using rig = await replay(name);
    const { positions: [first] = [] } = await rig.venue.read();
    if (first === undefined) throw new Error("no position");
    rig.refuseOrders = true;
    expect((await rig.venue.send(orderFor(first))).result).toEqual({ kind: "rejected", why: "reduceOnly" });
  });
});

/** Recorded replies have numbers as text where a venue's own have numbers, and nobody knows of every venue which of both it sends. */
function asText(value: unknown): unknown {
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return value.map(asText);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, asText(part)]));
}

test.concurrent.each(NAMES)("CcxtVenue reads the same of %s where every number is a text", async (name) => {
  await using rig = await replay(name);
  await using text = await replay(name, {}, asText);
  const reading = await rig.venue.read();
  expect(reading.failures).toEqual([]);
  expect(await text.venue.read()).toEqual(reading);
});

/** The replies that positions are read from; a venue's new ones are added to its quirks. */
const POSITIONS =
  /all-position|current-position|position\/list|futures\/\w+\/positions|openpositions|clearinghouseState|v1\/positions/;
test.concurrent.each(NAMES)(
  "CcxtVenue does not read that %s holds nothing where an answer lacks the list of positions",
  async (name) => {
    await using rig = await replay(name, {}, (reply, key) => (POSITIONS.test(key) ? withoutLists(reply) : reply));
    const { positions, failures } = await rig.venue.read();
    expect(positions).toBeUndefined();
    expect(failures).toContainEqual(expect.objectContaining({ kind: "unknown" }));
  },
);

/** A success without what was asked for. */
function withoutLists(reply: unknown): object {
  const fields = Array.isArray(reply) || typeof reply !== "object" || reply === null ? {} : reply;
  return Object.fromEntries(
    Object.entries({ label: "", ...fields }).flatMap(([name, part]: [string, unknown]) => {
      if (Array.isArray(part)) return [];
      return [[name, typeof part === "object" && part !== null ? withoutLists(part) : part]];
    }),
  );
}

test.each(RECORDED_FIELDS)(
  "the reply $reply of $venue has the fields that were recorded, at $at",
  ({ venue, reply, at, fields }) => {
    const { replies } = VENUE_REPLIES[venue];
    const found = at.reduce<unknown>((part, name) => Reflect.get(Object(part), name), Reflect.get(replies, reply));
    expect(fields.split(" ").filter((name) => !Object.hasOwn(Object(found), name))).toEqual([]);
  },
);

function cancelOf([first]: readonly { id: string; symbol: string }[], trigger: boolean): CancelOrders {
  const { id, symbol } = first ?? { id: "", symbol: "" };
  return { symbol, trigger, orders: [{ id, symbol, clientId: undefined, reduceOnly: false }] };
}
