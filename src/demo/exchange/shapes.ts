/** The venue's reply objects. Key sets are those of replies recorded from Binance (ccxt's static response fixtures). */
import type { Account, AlgoOrder, Fill, Order, Position } from "./account.ts";
import { digitsOf } from "./decimal.ts";
import type { Market, SymbolSpec } from "./market.ts";
import { specOf } from "./orders.ts";

/** Maintenance margin of every position, as a share of its notional; one tier is enough for paper. */
export const MAINTENANCE_RATIO = 0.004;

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

interface Marked {
  spec: SymbolSpec;
  amount: string;
  mark: number;
  notional: number;
  unrealized: number;
  initialMargin: number;
  maintMargin: number;
}

/** A position at the mark price. */
function marked(account: Account, market: Market, position: Position): Marked {
  const spec = specOf(market, position.symbol);
  const mark = market.price(position.symbol);
  const notional = position.amount * mark;
  return {
    spec,
    amount: position.amount.toFixed(digitsOf(spec.stepSize)),
    mark,
    notional,
    unrealized: (mark - position.entryPrice) * position.amount,
    initialMargin: Math.abs(notional) / account.leverageOf(position.symbol),
    maintMargin: Math.abs(notional) * MAINTENANCE_RATIO,
  };
}

/** An entry of GET /fapi/v3/positionRisk. */
export function positionRiskV3(account: Account, market: Market, position: Position): Json {
  const now = marked(account, market, position);
  return {
    symbol: position.symbol,
    positionSide: position.positionSide,
    positionAmt: now.amount,
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
export function positionRiskV2(account: Account, market: Market, position: Position): Json {
  const now = marked(account, market, position);
  return {
    symbol: position.symbol,
    positionAmt: now.amount,
    entryPrice: String(position.entryPrice),
    breakEvenPrice: String(position.entryPrice),
    markPrice: now.mark.toFixed(8),
    unRealizedProfit: now.unrealized.toFixed(8),
    liquidationPrice: "0",
    leverage: String(account.leverageOf(position.symbol)),
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
function accountPosition(account: Account, market: Market, position: Position): Json {
  const now = marked(account, market, position);
  return {
    symbol: position.symbol,
    positionSide: position.positionSide,
    positionAmt: now.amount,
    unrealizedProfit: now.unrealized.toFixed(8),
    isolatedMargin: "0",
    notional: now.notional.toFixed(8),
    isolatedWallet: "0",
    initialMargin: now.initialMargin.toFixed(8),
    maintMargin: now.maintMargin.toFixed(8),
    updateTime: position.updateTime,
  };
}

interface Totals {
  unrealized: string;
  margin: string;
  maint: string;
  wallet: string;
  equity: string;
  available: string;
}

function totals(account: Account, market: Market): Totals {
  const all = [...account.positions.values()].map((position) => marked(account, market, position));
  const sum = (pick: (entry: Marked) => number): number => all.reduce((total, entry) => total + pick(entry), 0);
  const unrealized = sum((entry) => entry.unrealized);
  const margin = sum((entry) => entry.initialMargin);
  const equity = account.wallet + unrealized;
  return {
    unrealized: unrealized.toFixed(8),
    margin: margin.toFixed(8),
    maint: sum((entry) => entry.maintMargin).toFixed(8),
    wallet: account.wallet.toFixed(8),
    equity: equity.toFixed(8),
    available: Math.max(0, equity - margin).toFixed(8),
  };
}

/** GET /fapi/v3/account; version 2 adds a few fields and lists the same positions. */
export function accountShape(account: Account, market: Market, version: 2 | 3, now: number): Json {
  const total = totals(account, market);
  const v2 = {
    feeTier: 0,
    canTrade: true,
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
    positions: [...account.positions.values()].map((position) => accountPosition(account, market, position)),
  };
}

/** GET /fapi/v2/balance and /fapi/v3/balance. */
export function balanceShape(account: Account, market: Market, now: number): Json[] {
  const total = totals(account, market);
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
