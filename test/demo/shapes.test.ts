/** Replies have the key sets that were recorded from the real venue (ccxt's static response fixtures for binance). */
import { expect, test } from "vitest";
import { startPaper } from "./paper.ts";

const ORDER = (
  "orderId symbol status clientOrderId price avgPrice origQty executedQty cumQuote timeInForce type reduceOnly closePosition " +
  "side positionSide stopPrice workingType priceProtect origType priceMatch selfTradePreventionMode goodTillDate updateTime"
).split(" ");
const RECORDED = {
  orderReply: [...ORDER, "cumQty"],
  order: [...ORDER, "time"],
  positionRisk: (
    "symbol positionSide positionAmt entryPrice breakEvenPrice markPrice unRealizedProfit liquidationPrice isolatedMargin " +
    "notional marginAsset isolatedWallet initialMargin maintMargin positionInitialMargin openOrderInitialMargin adl " +
    "bidNotional askNotional updateTime"
  ).split(" "),
  account: (
    "totalInitialMargin totalMaintMargin totalWalletBalance totalUnrealizedProfit totalMarginBalance " +
    "totalPositionInitialMargin totalOpenOrderInitialMargin totalCrossWalletBalance totalCrossUnPnl availableBalance " +
    "maxWithdrawAmount assets positions"
  ).split(" "),
  accountAsset: (
    "asset walletBalance unrealizedProfit marginBalance maintMargin initialMargin positionInitialMargin " +
    "openOrderInitialMargin crossWalletBalance crossUnPnl availableBalance maxWithdrawAmount updateTime"
  ).split(" "),
  accountPosition:
    "symbol positionSide positionAmt unrealizedProfit isolatedMargin notional isolatedWallet initialMargin maintMargin updateTime".split(
      " ",
    ),
  trade:
    "symbol id orderId side price qty realizedPnl marginAsset quoteQty commission commissionAsset time positionSide maker buyer".split(
      " ",
    ),
  algoOrder: (
    "algoId clientAlgoId algoType orderType symbol side positionSide timeInForce quantity algoStatus triggerPrice price " +
    "icebergQuantity selfTradePreventionMode workingType priceMatch closePosition priceProtect reduceOnly createTime " +
    "updateTime triggerTime goodTillDate"
  ).split(" "),
  symbol: (
    "symbol pair contractType deliveryDate onboardDate status maintMarginPercent requiredMarginPercent baseAsset quoteAsset " +
    "marginAsset pricePrecision quantityPrecision baseAssetPrecision quotePrecision underlyingType underlyingSubType " +
    "settlePlan triggerProtect liquidationFee marketTakeBound maxMoveOrderLimit filters orderTypes timeInForce"
  ).split(" "),
};

/** Sorted keys of an object, of a list's first entry, or of the first entry of the list it has under `inside`. */
function keysOf(json: unknown, inside?: string): string[] {
  const value: unknown = inside === undefined ? json : Object(json)[inside];
  return Object.keys(Object(Array.isArray(value) ? value[0] : value)).toSorted();
}

test("routes reply with the recorded key sets", async () => {
  const { call } = startPaper();
  const order = {
    symbol: "BTCUSDT",
    side: "BUY",
    type: "LIMIT",
    quantity: "0.010",
    price: "66000.0",
    timeInForce: "GTC",
  };
  const stop = { algoType: "CONDITIONAL", symbol: "BTCUSDT", side: "SELL", type: "STOP_MARKET" };
  const placed = await call("POST", "/fapi/v1/order", { ...order, newClientOrderId: "one" });
  await call("POST", "/fapi/v1/order", { symbol: "BTCUSDT", side: "BUY", type: "MARKET", quantity: "0.010" });
  const algo = await call("POST", "/fapi/v1/algoOrder", { ...stop, triggerPrice: "60000.0", closePosition: "true" });
  const get = async (path: string, params: Record<string, string> = {}): Promise<unknown> =>
    (await call("GET", path, params)).json;
  const account = await get("/fapi/v3/account");
  const seen = {
    orderReply: keysOf(placed.json),
    order: keysOf(await get("/fapi/v1/openOrders")),
    positionRisk: keysOf(await get("/fapi/v3/positionRisk")),
    account: keysOf(account),
    accountAsset: keysOf(account, "assets"),
    accountPosition: keysOf(account, "positions"),
    trade: keysOf(await get("/fapi/v1/userTrades", { symbol: "BTCUSDT" })),
    algoOrder: keysOf(algo.json),
    symbol: keysOf(await get("/fapi/v1/exchangeInfo"), "symbols"),
  };
  const expected = Object.fromEntries(Object.entries(RECORDED).map(([name, keys]) => [name, keys.toSorted()]));
  expect(seen).toEqual(expected);
  expect(keysOf(await get("/fapi/v1/order", { symbol: "BTCUSDT", origClientOrderId: "one" }))).toEqual(
    expected["order"],
  );
  expect(keysOf(await get("/fapi/v1/openAlgoOrders"))).toEqual(expected["algoOrder"]);
  const canceled = await call("DELETE", "/fapi/v1/order", { symbol: "BTCUSDT", origClientOrderId: "one" });
  expect(keysOf(canceled.json)).toEqual(expected["orderReply"]);
});

test("positionRisk tells only symbols with a position or an order in version 3 and every symbol in version 2", async () => {
  const { call, control } = startPaper();
  const count = async (path: string): Promise<number> => Object.keys(Object((await call("GET", path)).json)).length;
  expect([await count("/fapi/v3/positionRisk"), await count("/fapi/v2/positionRisk")]).toEqual([0, 3]);
  await control("seed", { orders: [{ symbol: "SOLUSDT", side: "buy", amount: 1 }] });
  expect(await count("/fapi/v3/positionRisk")).toBe(1);
});
