/** Orders through unmodified ccxt against the paper exchanges: what is lost on the way is found by its client id. */
import type { Exchange } from "ccxt";
import { describe, expect, test } from "vitest";
import { ccxtOrders } from "../../src/bot/ccxt-orders.ts";
import { createExecutor } from "../../src/bot/execute.ts";
import type { KnownIntent } from "../../src/core/order-intent.ts";
import { startOkxPaper } from "../demo/okx-paper.ts";
import { startPaper } from "../demo/paper.ts";
import { memoryLog } from "./order-sim.ts";

const BTC = "BTC/USDT:USDT";
/** The clock is the real one: long enough for a late request, short enough for a test, ms. */
const WINDOW_MS = 700;

function buyThrough(venue: Exchange, amount: number) {
  const intents = memoryLog(new Map<string, KnownIntent>(), () => Promise.resolve());
  const executor = createExecutor({ intents, reader: ccxtOrders(venue), orderWindowMs: WINDOW_MS, scope: "test" });
  return executor.execute(
    ({ clientOrderId, intent }) =>
      venue.createOrder(intent.symbol, intent.type, intent.side, Number(intent.quantity), undefined, { clientOrderId }),
    "place_order",
    {
      kind: "order",
      baseDelayMs: 10,
      order: { key: "entry", action: "open", symbol: BTC, side: "buy", type: "market", quantity: amount },
    },
  );
}

const venues = [
  { name: "binanceusdm", start: startPaper, match: "POST /fapi/v1/order", amount: 0.01 },
  { name: "okx", start: startOkxPaper, match: "POST /api/v5/trade/batch-orders", amount: 1 },
] as const;
const faults = [
  { name: "the reply is lost", kind: "dropAfter", attempts: 1 },
  { name: "the request is lost", kind: "dropBefore", attempts: 2 },
  { name: "the connection dies and the request is executed later", kind: "late", ms: 300, attempts: 1 },
] as const;

describe.each(venues)("execute() of an order at $name fills it once", ({ start, match, amount }) => {
  test.each(faults)("when $name", async ({ attempts, ...fault }) => {
    const { venue, control } = start();
    await venue.loadMarkets();
    expect((await control("fault", { match, ...fault, name: undefined })).status).toBe(200);
    const { value, ...sent } = await buyThrough(venue, amount);
    expect(sent).toMatchObject({ attempts, degraded: false, repeated: false });
    expect(value.clientOrderId).toBe(sent.clientOrderId);
    expect(await venue.fetchPositions()).toMatchObject([{ symbol: BTC, side: "long", contracts: amount }]);
  });
});
