/** The spot market's reply objects. Key sets are those of replies recorded from Binance (ccxt's static response fixtures). */
import type { Fill, Order } from "../account.ts";
import { digitsOf } from "../decimal.ts";
import type { Market, SymbolSpec } from "../market.ts";
import { specOf, type Books } from "../matching.ts";
import { ASK_DOWN, BID_UP, locked, lockedQuote } from "./orders.ts";

type Json = Record<string, unknown>;

const DIGITS = 8;

/** An order as GET order and openOrders tell it. */
export function spotOrderShape(order: Order): Json {
  return {
    symbol: order.symbol,
    orderId: order.orderId,
    orderListId: -1,
    clientOrderId: order.clientOrderId,
    price: order.price.toFixed(DIGITS),
    origQty: order.quantity.toFixed(DIGITS),
    executedQty: order.executed.toFixed(DIGITS),
    origQuoteOrderQty: "0.00000000",
    cummulativeQuoteQty: order.quote.toFixed(DIGITS),
    status: order.status,
    timeInForce: order.timeInForce,
    type: order.type,
    side: order.side,
    stopPrice: "0.00000000",
    icebergQty: "0.00000000",
    time: order.time,
    updateTime: order.updateTime,
    isWorking: true,
    workingTime: order.time,
    selfTradePreventionMode: "EXPIRE_MAKER",
  };
}

/** The full answer to a new order, with its fills. */
export function spotOrderReply(order: Order, fills: readonly Fill[]): Json {
  const {
    time: _time,
    updateTime,
    stopPrice: _stop,
    icebergQty: _iceberg,
    isWorking: _working,
    ...shape
  } = spotOrderShape(order);
  return {
    ...shape,
    transactTime: updateTime,
    fills: fills
      .filter(({ orderId }) => orderId === order.orderId)
      .map(({ id, price, quantity, commission }) => ({
        price: price.toFixed(DIGITS),
        qty: quantity.toFixed(DIGITS),
        commission: commission.toFixed(DIGITS),
        commissionAsset: "USDT",
        tradeId: id,
      })),
  };
}

/** GET /api/v3/account. */
export function spotAccountShape({ account, market }: Books, now: number): Json {
  return {
    makerCommission: 10,
    takerCommission: 10,
    buyerCommission: 0,
    sellerCommission: 0,
    commissionRates: { maker: "0.00100000", taker: "0.00100000", buyer: "0.00000000", seller: "0.00000000" },
    canTrade: account.canTrade,
    canWithdraw: account.canWithdraw,
    canDeposit: true,
    brokered: false,
    requireSelfTradePrevention: false,
    preventSor: false,
    updateTime: now,
    accountType: "SPOT",
    balances: [
      balanceOf("USDT", account.wallet, lockedQuote(account)),
      ...[...account.positions.values()].map(({ symbol, amount }) =>
        balanceOf(specOf(market, symbol).baseAsset, amount, locked(account, symbol)),
      ),
    ],
    permissions: ["SPOT"],
    uid: 1,
  };
}

function balanceOf(asset: string, total: number, held: number): Json {
  return { asset, free: Math.max(0, total - held).toFixed(DIGITS), locked: Math.min(total, held).toFixed(DIGITS) };
}

/** `margin`: the markets are traded on margin, too. */
export function spotExchangeInfo(market: Market, now: number, margin = false): Json {
  return {
    timezone: "UTC",
    serverTime: now,
    rateLimits: [
      { rateLimitType: "REQUEST_WEIGHT", interval: "MINUTE", intervalNum: 1, limit: 6_000 },
      { rateLimitType: "ORDERS", interval: "SECOND", intervalNum: 10, limit: 100 },
    ],
    exchangeFilters: [],
    symbols: [...market.specs.values()].map((spec) => symbolInfo(spec, margin)),
  };
}

function symbolInfo({ symbol, baseAsset, minPrice, maxPrice, tickSize, ...spec }: SymbolSpec, margin: boolean): Json {
  const { minQty, maxQty, stepSize, marketMaxQty, minNotional } = spec;
  return {
    symbol,
    status: "TRADING",
    baseAsset,
    baseAssetPrecision: DIGITS,
    quoteAsset: "USDT",
    quotePrecision: DIGITS,
    quoteAssetPrecision: DIGITS,
    baseCommissionPrecision: DIGITS,
    quoteCommissionPrecision: DIGITS,
    orderTypes: ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
    icebergAllowed: true,
    ocoAllowed: true,
    quoteOrderQtyMarketAllowed: true,
    allowTrailingStop: true,
    cancelReplaceAllowed: true,
    isSpotTradingAllowed: true,
    isMarginTradingAllowed: margin,
    filters: [
      { filterType: "PRICE_FILTER", minPrice, maxPrice, tickSize },
      { filterType: "LOT_SIZE", minQty, maxQty, stepSize },
      { filterType: "MARKET_LOT_SIZE", minQty: "0.00000000", maxQty: marketMaxQty, stepSize: "0.00000000" },
      {
        filterType: "PERCENT_PRICE_BY_SIDE",
        bidMultiplierUp: String(BID_UP),
        bidMultiplierDown: "0.2",
        askMultiplierUp: "5",
        askMultiplierDown: String(ASK_DOWN),
        avgPriceMins: 5,
      },
      {
        filterType: "NOTIONAL",
        minNotional,
        applyMinToMarket: true,
        maxNotional: "9000000",
        applyMaxToMarket: false,
        avgPriceMins: 5,
      },
      { filterType: "MAX_NUM_ORDERS", maxNumOrders: 200 },
    ],
    permissions: [],
    permissionSets: [margin ? ["SPOT", "MARGIN"] : ["SPOT"]],
    defaultSelfTradePreventionMode: "EXPIRE_MAKER",
    allowedSelfTradePreventionModes: ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
  };
}

export function spotTicker(market: Market, spec: SymbolSpec, now: number): Json {
  const price = market.price(spec.symbol).toFixed(digitsOf(spec.tickSize));
  return {
    symbol: spec.symbol,
    priceChange: "0.00000000",
    priceChangePercent: "0.000",
    weightedAvgPrice: price,
    prevClosePrice: price,
    lastPrice: price,
    lastQty: spec.minQty,
    bidPrice: price,
    bidQty: "100.00000000",
    askPrice: price,
    askQty: "100.00000000",
    openPrice: price,
    highPrice: price,
    lowPrice: price,
    volume: "1000.00000000",
    quoteVolume: "1000.00000000",
    openTime: now - 86_400_000,
    closeTime: now,
    firstId: 1,
    lastId: 2,
    count: 2,
  };
}
