/** What single venues answer beside what was recorded of them, and what the close reads in it. */
import { expect, test } from "vitest";
import { accountFactsOf } from "../../src/actions/venue/account-facts.ts";
import { VENUE_REPLIES } from "../fixtures/venue-replies.ts";
import { replay, type Overrides } from "./recorded-rig.ts";

/** A reply with other entries in its list. */
function listing(reply: unknown, path: readonly string[], list: readonly object[]): unknown {
  const [name = "", ...rest] = path;
  const inner: unknown = Reflect.get(Object(reply), name);
  return { ...Object(reply), [name]: rest.length === 0 ? list : listing(inner, rest, list) };
}

function partOf(reply: unknown, path: readonly (string | number)[]): object {
  return Object(path.reduce<unknown>((part, name) => Reflect.get(Object(part), name), reply));
}

/** As other clients of the venues have met them. */
test("CcxtVenue reads Bybit's row of a leg without a position as none, and stops whose average is null", async () => {
  const { replies } = VENUE_REPLIES.bybit;
  const leg = partOf(replies, ["GET /v5/position/list|settleCoin=USDT", "result", "list", 0]);
  const stop = partOf(replies, ["GET /v5/order/realtime|settleCoin=USDT|StopOrder", "result", "list", 0]);
  await using rig = await replay("bybit", {}, (reply, key) => {
    if (key === "GET /v5/position/list|settleCoin=USDT")
      return listing(
        reply,
        ["result", "list"],
        [
          { ...leg, openTime: 1_700_000_000_123 },
          { ...leg, symbol: "ETHUSDT", side: "", size: "0", avgPrice: "0", positionValue: "0", liqPrice: "" },
        ],
      );
    if (key.startsWith("GET /v5/order/realtime|settleCoin=USDT"))
      return listing(
        reply,
        ["result", "list"],
        [
          { ...stop, orderId: "tp", stopOrderType: "TakeProfit", avgPrice: null, blockTradeId: null, tpslMode: "Full" },
          { ...stop, orderId: "sl", stopOrderType: "StopLoss", orderType: "Limit", price: "29900", avgPrice: null },
        ],
      );
    return reply;
  });
  const { positions = [], orders, triggers, failures } = await rig.venue.read();
  expect(failures).toEqual([]);
  expect(positions.map(({ symbol }) => symbol)).toEqual(["BTC/USDT:USDT", "BTC/USDC:USDC", "ETH/USD:ETH"]);
  expect(orders).toEqual([]);
  expect(triggers).toMatchObject([
    { id: "tp", reduceOnly: true },
    { id: "sl", reduceOnly: true },
  ]);
});

test("CcxtVenue takes Kraken's take-profit, which tells no size, for a conditional order", async () => {
  const { replies } = VENUE_REPLIES.krakenfutures;
  const plain = partOf(replies, ["GET /derivatives/api/v3/openorders", "openOrders", 0]);
  const bare = { ...plain, limitPrice: undefined, unfilledSize: undefined, cliOrdId: undefined };
  await using rig = await replay("krakenfutures", {}, (reply, key) =>
    key.includes("openorders")
      ? listing(
          reply,
          ["openOrders"],
          [
            { ...plain, status: "partiallyFilled", filledSize: 0.1 },
            {
              ...bare,
              order_id: "tp",
              orderType: "take_profit",
              stopPrice: 20_000,
              triggerSignal: "last",
              reduceOnly: true,
            },
          ],
        )
      : reply,
  );
  const { orders, triggers, failures } = await rig.venue.read();
  expect(failures).toEqual([]);
  expect(orders).toMatchObject([{ clientId: "bot-1", reduceOnly: false }]);
  expect(triggers).toMatchObject([{ id: "tp", symbol: "BTC/USD:USD", reduceOnly: true }]);
});

test.each([
  ["may trade and not withdraw", {}, { trade: true, withdraw: false }],
  ["only reads", { readOnly: 1 }, { trade: false, withdraw: false }],
  [
    "may withdraw",
    { permissions: { ContractTrade: ["Order"], Wallet: ["Withdraw"] } },
    { trade: true, withdraw: true },
  ],
  ["has rights for spot alone", { permissions: { ContractTrade: [], Wallet: [] } }, { trade: false, withdraw: false }],
  ["is not described", { permissions: undefined }, { trade: undefined, withdraw: undefined }],
])("accountFactsOf() tells that a key of Bybit %s", async (_, told, rights) => {
  await using rig = await replay("bybit", {}, (reply, key) =>
    key.includes("query-api")
      ? { ...Object(reply), result: { ...Reflect.get(Object(reply), "result"), ...told } }
      : reply,
  );
  expect(await accountFactsOf({ exchange: "bybit" }).rights?.(rig.venue.exchange)).toEqual(rights);
});

test("CcxtVenue asks Bitget again what kind of account it is when that could not be told", async () => {
  let asked = 0;
  await using rig = await replay("bitgetUnified", {}, (reply, key) => {
    if (!key.includes("/account/settings")) return reply;
    asked += 1;
    // Of the listing of markets, and of the first reading.
    return asked === 1 ? { code: "45001", msg: "Unknown error", requestTime: 1, data: null } : reply;
  });
  expect((await rig.venue.read()).positions).toBeUndefined();
  expect((await rig.venue.read()).positions).toHaveLength(2);
});

function refusedByGate(label: string): Overrides {
  return { "GET /api/v4/futures/btc/": { label, message: "no" } };
}

test("CcxtVenue takes an account that the venue never made for one that holds nothing, and no other refusal", async () => {
  await using never = await replay("gate", refusedByGate("USER_NOT_FOUND"));
  const reading = await never.venue.read();
  expect(reading).toMatchObject({ failures: [], positions: [{ symbol: "BTC/USDT:USDT" }] });
  await using other = await replay("gate", refusedByGate("SERVER_ERROR"));
  expect(await other.venue.read()).toMatchObject({ positions: undefined, orders: undefined });
});
