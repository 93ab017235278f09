/** Market data: the public endpoints of Binance USDⓈ-M futures that ccxt reads, with their request weights. */
import { digitsOf, round } from "../decimal.ts";
import type { Market, SymbolSpec } from "../market.ts";
import { ORDERS_PER_10S, ORDERS_PER_MINUTE, WEIGHT_PER_MINUTE } from "./limits.ts";
import type { Route } from "./routes.ts";
import {
  MAX_NUM_ALGO_ORDERS,
  MAX_NUM_ORDERS,
  PERCENT_PRICE_DOWN,
  PERCENT_PRICE_UP,
  readNumber,
  readOptionalSpec,
  readSpec,
} from "./rules.ts";

type Json = Record<string, unknown>;

/** Quantity shown at the best bid and ask; paper liquidity is endless. */
const BOOK_LOTS = 5_000;
const MAX_DEPTH = 1_000;
const MAX_KLINES = 1_500;
const MINUTE_MS = 60_000;
const FUNDING_INTERVAL_MS = 8 * 3_600_000;

export const publicRoutes: Record<string, Route> = {
  "GET /fapi/v1/ping": { weight: () => 1, handle: () => ({}) },
  "GET /fapi/v1/time": { weight: () => 1, handle: ({ now }) => ({ serverTime: now }) },
  "GET /fapi/v1/exchangeInfo": { weight: () => 1, handle: ({ books, now }) => exchangeInfo(books.market, now) },
  "GET /fapi/v1/ticker/price": {
    weight: (params) => (params.has("symbol") ? 1 : 2),
    handle: ({ books, params, now }) =>
      each(books.market, readOptionalSpec(books.market, params), (spec) => priceTicker(books.market, spec, now)),
  },
  "GET /fapi/v2/ticker/price": {
    weight: (params) => (params.has("symbol") ? 1 : 2),
    handle: ({ books, params, now }) =>
      each(books.market, readOptionalSpec(books.market, params), (spec) => priceTicker(books.market, spec, now)),
  },
  "GET /fapi/v1/ticker/bookTicker": {
    weight: (params) => (params.has("symbol") ? 2 : 5),
    handle: ({ books, params, now }) =>
      each(books.market, readOptionalSpec(books.market, params), (spec) => bookTicker(books.market, spec, now)),
  },
  "GET /fapi/v1/ticker/24hr": {
    weight: (params) => (params.has("symbol") ? 1 : 40),
    handle: ({ books, params, now }) =>
      each(books.market, readOptionalSpec(books.market, params), (spec) => dayTicker(books.market, spec, now)),
  },
  "GET /fapi/v1/premiumIndex": {
    weight: (params) => (params.has("symbol") ? 1 : 10),
    handle: ({ books, params, now }) =>
      each(books.market, readOptionalSpec(books.market, params), (spec) => premiumIndex(books.market, spec, now)),
  },
  "GET /fapi/v1/depth": {
    weight: () => 5,
    handle: ({ books, params, now }) =>
      depth(books.market, readSpec(books.market, params), readNumber(params, "limit") ?? 500, now),
  },
  "GET /fapi/v1/klines": {
    weight: () => 2,
    handle: ({ books, params, now }) =>
      klines(books.market, readSpec(books.market, params), readNumber(params, "limit") ?? 500, now),
  },
};

/** One reply for the named symbol, or a list of one per listed symbol. */
function each(market: Market, spec: SymbolSpec | undefined, shape: (spec: SymbolSpec) => Json): Json | Json[] {
  return spec === undefined ? [...market.specs.values()].map(shape) : shape(spec);
}

function exchangeInfo(market: Market, now: number): Json {
  return {
    exchangeFilters: [],
    rateLimits: [
      { interval: "MINUTE", intervalNum: 1, limit: WEIGHT_PER_MINUTE, rateLimitType: "REQUEST_WEIGHT" },
      { interval: "MINUTE", intervalNum: 1, limit: ORDERS_PER_MINUTE, rateLimitType: "ORDERS" },
      { interval: "SECOND", intervalNum: 10, limit: ORDERS_PER_10S, rateLimitType: "ORDERS" },
    ],
    serverTime: now,
    assets: [{ asset: "USDT", marginAvailable: true, autoAssetExchange: "-10000" }],
    symbols: [...market.specs.values()].map(symbolInfo),
    timezone: "UTC",
  };
}

function symbolInfo(spec: SymbolSpec): Json {
  const { symbol, minPrice, maxPrice, tickSize, stepSize, minQty } = spec;
  return {
    symbol,
    pair: symbol,
    contractType: "PERPETUAL",
    deliveryDate: 4_133_404_800_000,
    onboardDate: 1_569_398_400_000,
    status: "TRADING",
    maintMarginPercent: "2.5000",
    requiredMarginPercent: "5.0000",
    baseAsset: spec.baseAsset,
    quoteAsset: "USDT",
    marginAsset: "USDT",
    pricePrecision: spec.pricePrecision,
    quantityPrecision: spec.quantityPrecision,
    baseAssetPrecision: 8,
    quotePrecision: 8,
    underlyingType: "COIN",
    underlyingSubType: [spec.subType],
    settlePlan: 0,
    triggerProtect: "0.0500",
    liquidationFee: "0.012500",
    marketTakeBound: "0.05",
    maxMoveOrderLimit: 10_000,
    filters: [
      { filterType: "PRICE_FILTER", minPrice, maxPrice, tickSize },
      { filterType: "LOT_SIZE", minQty, maxQty: spec.maxQty, stepSize },
      { filterType: "MARKET_LOT_SIZE", minQty, maxQty: spec.marketMaxQty, stepSize },
      { filterType: "MAX_NUM_ORDERS", limit: MAX_NUM_ORDERS },
      { filterType: "MAX_NUM_ALGO_ORDERS", limit: MAX_NUM_ALGO_ORDERS },
      { filterType: "MIN_NOTIONAL", notional: spec.minNotional },
      {
        filterType: "PERCENT_PRICE",
        multiplierUp: PERCENT_PRICE_UP.toFixed(4),
        multiplierDown: PERCENT_PRICE_DOWN.toFixed(4),
        multiplierDecimal: "4",
      },
    ],
    orderTypes: ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"],
    timeInForce: ["GTC", "IOC", "FOK", "GTX", "GTD"],
  };
}

function priceTicker(market: Market, spec: SymbolSpec, now: number): Json {
  return { symbol: spec.symbol, price: text(market, spec), time: now };
}

function bookTicker(market: Market, spec: SymbolSpec, now: number): Json {
  return {
    symbol: spec.symbol,
    bidPrice: text(market, spec, -1),
    bidQty: lots(spec),
    askPrice: text(market, spec, 1),
    askQty: lots(spec),
    time: now,
  };
}

function dayTicker(market: Market, spec: SymbolSpec, now: number): Json {
  const last = market.price(spec.symbol);
  const change = last - spec.startPrice;
  return {
    symbol: spec.symbol,
    priceChange: change.toFixed(spec.pricePrecision),
    priceChangePercent: ((change / spec.startPrice) * 100).toFixed(3),
    weightedAvgPrice: ((last + spec.startPrice) / 2).toFixed(spec.pricePrecision),
    lastPrice: text(market, spec),
    lastQty: spec.minQty,
    openPrice: spec.startPrice.toFixed(spec.pricePrecision),
    highPrice: Math.max(last, spec.startPrice).toFixed(spec.pricePrecision),
    lowPrice: Math.min(last, spec.startPrice).toFixed(spec.pricePrecision),
    volume: lots(spec),
    quoteVolume: (last * Number(lots(spec))).toFixed(2),
    openTime: now - 86_400_000,
    closeTime: now,
    firstId: 1,
    lastId: 2,
    count: 2,
  };
}

function premiumIndex(market: Market, spec: SymbolSpec, now: number): Json {
  const price = market.price(spec.symbol).toFixed(8);
  return {
    symbol: spec.symbol,
    markPrice: price,
    indexPrice: price,
    estimatedSettlePrice: price,
    lastFundingRate: "0.00010000",
    interestRate: "0.00010000",
    nextFundingTime: now - (now % FUNDING_INTERVAL_MS) + FUNDING_INTERVAL_MS,
    time: now,
  };
}

function depth(market: Market, spec: SymbolSpec, limit: number, now: number): Json {
  const levels = Math.max(1, Math.min(limit, MAX_DEPTH, 20));
  const side = (sign: 1 | -1): string[][] =>
    Array.from({ length: levels }, (_, index) => [text(market, spec, sign * (index + 1)), lots(spec)]);
  return { lastUpdateId: now, E: now, T: now, bids: side(-1), asks: side(1) };
}

/** Flat candles at the mark price: the walk's past is not kept. */
function klines(market: Market, spec: SymbolSpec, limit: number, now: number): unknown[][] {
  const price = text(market, spec);
  const count = Math.max(1, Math.min(limit, MAX_KLINES));
  const last = now - (now % MINUTE_MS);
  return Array.from({ length: count }, (_, index) => {
    const open = last - (count - 1 - index) * MINUTE_MS;
    return [open, price, price, price, price, "0", open + MINUTE_MS - 1, "0", 0, "0", "0", "0"];
  });
}

/** Mark price, `ticks` away. */
function text(market: Market, spec: SymbolSpec, ticks = 0): string {
  const price = round(market.price(spec.symbol) + ticks * Number(spec.tickSize), digitsOf(spec.tickSize));
  return price.toFixed(spec.pricePrecision);
}

function lots(spec: SymbolSpec): string {
  return (BOOK_LOTS * Number(spec.stepSize)).toFixed(digitsOf(spec.stepSize));
}
