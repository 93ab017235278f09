/** The venue's reply objects. Key sets are those of replies recorded from Binance (ccxt's static response fixtures). */
import type { Account, AlgoOrder, Fill, Order, Position, Transfer } from "../account.ts";
import { digitsOf } from "../decimal.ts";
import type { Market } from "../market.ts";
import { specOf, type Books } from "../matching.ts";
import { totalsOf, valueOf } from "../valuation.ts";

type Json = Record<string, unknown>;

/** An order as GET order, openOrders and allOrders tell it. */
export function orderShape(market: Market, order: Order): Json {
  const spec = specOf(market, order.symbol);
  const quantity = (value: number): string => value.toFixed(digitsOf(spec.stepSize));
  const average = order.executed === 0 ? 0 : order.quote / order.executed;
  return {
    orderId: order.orderId,
    symbol: order.symbol,
    status: order.status,
    clientOrderId: order.clientOrderId,
    price: order.price.toFixed(spec.pricePrecision),
    avgPrice: average.toFixed(5),
    origQty: quantity(order.quantity),
    executedQty: quantity(order.executed),
    cumQuote: order.quote.toFixed(5),
    timeInForce: order.timeInForce,
    type: order.type,
    reduceOnly: order.reduceOnly,
    closePosition: order.closePosition,
    side: order.side,
    positionSide: order.positionSide,
    stopPrice: (0).toFixed(spec.pricePrecision),
    workingType: "CONTRACT_PRICE",
    priceProtect: false,
    origType: order.type,
    priceMatch: "NONE",
    selfTradePreventionMode: "NONE",
    goodTillDate: 0,
    time: order.time,
    updateTime: order.updateTime,
  };
}

/** An order as POST and DELETE tell it: with the filled quantity once more and without its birth time. */
export function orderReply(market: Market, order: Order): Json {
  const { time: _time, ...shape } = orderShape(market, order);
  return { ...shape, cumQty: shape["executedQty"] };
}

export function algoShape(market: Market, order: AlgoOrder): Json {
  const spec = specOf(market, order.symbol);
  return {
    algoId: order.algoId,
    clientAlgoId: order.clientAlgoId,
    algoType: "CONDITIONAL",
    orderType: order.orderType,
    symbol: order.symbol,
    side: order.side,
    positionSide: order.positionSide,
    timeInForce: order.timeInForce,
    quantity: order.quantity.toFixed(digitsOf(spec.stepSize)),
    algoStatus: order.status,
    triggerPrice: order.triggerPrice.toFixed(spec.pricePrecision),
    price: order.price.toFixed(spec.pricePrecision),
    icebergQuantity: null,
    selfTradePreventionMode: "EXPIRE_MAKER",
    workingType: order.workingType,
    priceMatch: "NONE",
    closePosition: order.closePosition,
    priceProtect: order.priceProtect,
    reduceOnly: order.reduceOnly,
    createTime: order.createTime,
    updateTime: order.updateTime,
    triggerTime: order.triggerTime,
    goodTillDate: 0,
  };
}

export function fillShape(market: Market, fill: Fill): Json {
  const spec = specOf(market, fill.symbol);
  return {
    symbol: fill.symbol,
    id: fill.id,
    orderId: fill.orderId,
    side: fill.side,
    price: fill.price.toFixed(spec.pricePrecision),
    qty: fill.quantity.toFixed(digitsOf(spec.stepSize)),
    realizedPnl: String(fill.realizedPnl),
    marginAsset: "USDT",
    quoteQty: (fill.price * fill.quantity).toFixed(5),
    commission: fill.commission.toFixed(8),
    commissionAsset: "USDT",
    time: fill.time,
    positionSide: fill.positionSide,
    maker: fill.maker,
    buyer: fill.side === "BUY",
  };
}

/** An entry of GET /fapi/v1/income. */
export function transferShape({ id, amount, time }: Transfer): Json {
  return {
    symbol: "",
    incomeType: "TRANSFER",
    income: amount.toFixed(8),
    asset: "USDT",
    time,
    info: "TRANSFER",
    tranId: id,
    tradeId: "",
  };
}

function amountOf({ market }: Books, { symbol, amount }: Position): string {
  return amount.toFixed(digitsOf(specOf(market, symbol).stepSize));
}

/** An entry of GET /fapi/v3/positionRisk. */
export function positionRiskV3(books: Books, position: Position): Json {
  const now = valueOf(books, position);
  return {
    symbol: position.symbol,
    positionSide: position.positionSide,
    positionAmt: amountOf(books, position),
    entryPrice: String(position.entryPrice),
    breakEvenPrice: String(position.entryPrice),
    markPrice: now.mark.toFixed(8),
    unRealizedProfit: now.unrealized.toFixed(8),
    liquidationPrice: "0",
    isolatedMargin: "0",
    notional: now.notional.toFixed(8),
    marginAsset: "USDT",
    isolatedWallet: "0",
    initialMargin: now.initialMargin.toFixed(8),
    maintMargin: now.maintMargin.toFixed(8),
    positionInitialMargin: now.initialMargin.toFixed(8),
    openOrderInitialMargin: "0",
    adl: 2,
    bidNotional: "0",
    askNotional: "0",
    updateTime: position.updateTime,
  };
}

/** An entry of GET /fapi/v2/positionRisk, which also lists symbols without a position. */
export function positionRiskV2(books: Books, position: Position): Json {
  const now = valueOf(books, position);
  return {
    symbol: position.symbol,
    positionAmt: amountOf(books, position),
    entryPrice: String(position.entryPrice),
    breakEvenPrice: String(position.entryPrice),
    markPrice: now.mark.toFixed(8),
    unRealizedProfit: now.unrealized.toFixed(8),
    liquidationPrice: "0",
    leverage: String(books.account.leverageOf(position.symbol)),
    maxNotionalValue: "20000000",
    marginType: "cross",
    isolatedMargin: "0.00000000",
    isAutoAddMargin: "false",
    positionSide: position.positionSide,
    notional: now.notional.toFixed(8),
    isolatedWallet: "0",
    updateTime: position.updateTime,
  };
}

/** An entry of `positions` in GET /fapi/v3/account. */
function accountPosition(books: Books, position: Position): Json {
  const now = valueOf(books, position);
  return {
    symbol: position.symbol,
    positionSide: position.positionSide,
    positionAmt: amountOf(books, position),
    unrealizedProfit: now.unrealized.toFixed(8),
    isolatedMargin: "0",
    notional: now.notional.toFixed(8),
    isolatedWallet: "0",
    initialMargin: now.initialMargin.toFixed(8),
    maintMargin: now.maintMargin.toFixed(8),
    updateTime: position.updateTime,
  };
}

/** The account's totals as text. */
function totals(books: Books): Record<"unrealized" | "margin" | "maint" | "wallet" | "equity" | "available", string> {
  const { unrealized, margin, maint, equity, available } = totalsOf(books);
  return {
    unrealized: unrealized.toFixed(8),
    margin: margin.toFixed(8),
    maint: maint.toFixed(8),
    wallet: books.account.wallet.toFixed(8),
    equity: equity.toFixed(8),
    available: available.toFixed(8),
  };
}

/** GET /fapi/v3/account; version 2 adds a few fields and lists the same positions. */
export function accountShape(books: Books, version: 2 | 3, now: number): Json {
  const total = totals(books);
  const v2 = {
    feeTier: 0,
    canTrade: books.account.canTrade,
    canDeposit: true,
    canWithdraw: false,
    feeBurn: true,
    tradeGroupId: -1,
    updateTime: 0,
    multiAssetsMargin: false,
  };
  const asset = {
    asset: "USDT",
    walletBalance: total.wallet,
    unrealizedProfit: total.unrealized,
    marginBalance: total.equity,
    maintMargin: total.maint,
    initialMargin: total.margin,
    positionInitialMargin: total.margin,
    openOrderInitialMargin: "0.00000000",
    crossWalletBalance: total.wallet,
    crossUnPnl: total.unrealized,
    availableBalance: total.available,
    maxWithdrawAmount: total.available,
    updateTime: now,
  };
  return {
    ...(version === 2 ? v2 : {}),
    totalInitialMargin: total.margin,
    totalMaintMargin: total.maint,
    totalWalletBalance: total.wallet,
    totalUnrealizedProfit: total.unrealized,
    totalMarginBalance: total.equity,
    totalPositionInitialMargin: total.margin,
    totalOpenOrderInitialMargin: "0.00000000",
    totalCrossWalletBalance: total.wallet,
    totalCrossUnPnl: total.unrealized,
    availableBalance: total.available,
    maxWithdrawAmount: total.available,
    assets: [asset],
    positions: [...books.account.positions.values()].map((position) => accountPosition(books, position)),
  };
}

/** GET /fapi/v2/balance and /fapi/v3/balance. */
export function balanceShape(books: Books, now: number): Json[] {
  const total = totals(books);
  return [
    {
      accountAlias: "paper",
      asset: "USDT",
      balance: total.wallet,
      crossWalletBalance: total.wallet,
      crossUnPnl: total.unrealized,
      availableBalance: total.available,
      maxWithdrawAmount: total.available,
      marginAvailable: true,
      updateTime: now,
    },
  ];
}

/** GET /sapi/v1/account/apiRestrictions: the rights of a key that trades on one of the markets. */
export function apiRestrictions(
  { canTrade, canWithdraw }: Account,
  now: number,
  market: "futures" | "spot" | "margin",
): unknown {
  return {
    ipRestrict: true,
    createTime: now,
    enableReading: true,
    enableWithdrawals: canWithdraw,
    enableInternalTransfer: false,
    enableMargin: canTrade && market === "margin",
    enableFutures: canTrade && market === "futures",
    permitsUniversalTransfer: false,
    enableVanillaOptions: false,
    enableFixApiTrade: false,
    enableFixReadOnly: false,
    enableSpotAndMarginTrading: canTrade && market !== "futures",
    enablePortfolioMarginTrading: false,
  };
}
