/** Market data: the public endpoints of OKX that ccxt reads. */
import type { SymbolSpec } from "../market.ts";
import type { Books } from "../matching.ts";
import { kindOf } from "./listing.ts";
import { readSpec, type Params } from "./params.ts";
import type { Call, Route } from "./routes.ts";
import { priceText } from "./shapes.ts";

type Json = Record<string, unknown>;

/** Contracts shown at each price; paper liquidity is endless. */
const BOOK_CONTRACTS = "5000";
const MAX_DEPTH = 20;
const MAX_CANDLES = 300;
const MINUTE_MS = 60_000;
const DAY_VOLUME = "100000";

export const publicRoutes: Readonly<Record<string, Route>> = {
  "GET /api/v5/public/time": {
    limit: { count: 10, per: "user", unit: "request" },
    handle: ({ now }) => [{ ts: String(now) }],
  },
  "GET /api/v5/public/instruments": { limit: { count: 20, per: "user", unit: "request" }, handle: instruments },
  "GET /api/v5/public/mark-price": {
    limit: { count: 10, per: "user", unit: "request" },
    handle: ({ books, params, now }) =>
      specs(books, params).map(({ symbol }) => ({
        instId: symbol,
        instType: kindOf(symbol).instType,
        markPx: priceText(books, symbol),
        ts: String(now),
      })),
  },
  "GET /api/v5/market/ticker": {
    limit: { count: 20, per: "user", unit: "request" },
    handle: ({ books, params, now }) => [ticker(books, readSpec(books.market, params), now)],
  },
  "GET /api/v5/market/tickers": {
    limit: { count: 20, per: "user", unit: "request" },
    handle: ({ books, params, now }) => specs(books, params).map((spec) => ticker(books, spec, now)),
  },
  "GET /api/v5/market/books": { limit: { count: 40, per: "user", unit: "request" }, handle: depth },
  "GET /api/v5/market/candles": { limit: { count: 40, per: "user", unit: "request" }, handle: candles },
};

/** Swaps and futures are listed; of other types there is none. */
function specs({ market }: Books, params: Params): SymbolSpec[] {
  const [type, only] = [params.get("instType"), params.get("instId")];
  return [...market.specs.values()].filter(
    ({ symbol }) => (type ?? kindOf(symbol).instType) === kindOf(symbol).instType && (only ?? symbol) === symbol,
  );
}

function instruments({ books, params }: Call): Json[] {
  return specs(books, params).map((spec) => ({
    alias: "",
    baseCcy: "",
    category: "1",
    ctMult: "1",
    ctType: spec.subType,
    ctVal: String(spec.contractSize),
    ctValCcy: spec.baseAsset,
    instFamily: `${spec.baseAsset}-USDT`,
    instId: spec.symbol,
    ...kindOf(spec.symbol),
    lever: "100",
    listTime: "1611916828000",
    lotSz: spec.stepSize,
    maxIcebergSz: spec.maxQty,
    maxLmtAmt: "20000000",
    maxLmtSz: spec.maxQty,
    maxMktAmt: "",
    maxMktSz: spec.marketMaxQty,
    maxStopSz: spec.marketMaxQty,
    maxTriggerSz: spec.maxQty,
    maxTwapSz: spec.maxQty,
    minSz: spec.minQty,
    optType: "",
    quoteCcy: "",
    ruleType: "normal",
    settleCcy: "USDT",
    state: "live",
    stk: "",
    tickSz: spec.tickSize,
    uly: `${spec.baseAsset}-USDT`,
  }));
}

function ticker(books: Books, { symbol, startPrice }: SymbolSpec, now: number): Json {
  const open = String(startPrice);
  const last = books.market.price(symbol);
  return {
    instType: kindOf(symbol).instType,
    instId: symbol,
    last: priceText(books, symbol),
    lastSz: "1",
    askPx: priceText(books, symbol, 1),
    askSz: BOOK_CONTRACTS,
    bidPx: priceText(books, symbol, -1),
    bidSz: BOOK_CONTRACTS,
    open24h: open,
    high24h: String(Math.max(startPrice, last)),
    low24h: String(Math.min(startPrice, last)),
    volCcy24h: DAY_VOLUME,
    vol24h: DAY_VOLUME,
    ts: String(now),
    sodUtc0: open,
    sodUtc8: open,
  };
}

function depth({ books, params, now }: Call): Json[] {
  const { symbol } = readSpec(books.market, params);
  const levels = Math.max(1, Math.min(Number(params.get("sz") ?? 1), MAX_DEPTH));
  const side = (sign: 1 | -1): string[][] =>
    Array.from({ length: levels }, (_, index) => [
      priceText(books, symbol, sign * (index + 1)),
      BOOK_CONTRACTS,
      "0",
      "1",
    ]);
  return [{ asks: side(1), bids: side(-1), ts: String(now) }];
}

/** Flat candles of one minute at the mark price, newest first: the walk's past is not kept. */
function candles({ books, params, now }: Call): string[][] {
  const price = priceText(books, readSpec(books.market, params).symbol);
  const count = Math.max(1, Math.min(Number(params.get("limit") ?? 100), MAX_CANDLES));
  const last = now - (now % MINUTE_MS);
  return Array.from({ length: count }, (_, index) => {
    return [String(last - index * MINUTE_MS), price, price, price, price, "0", "0", "0", index === 0 ? "0" : "1"];
  });
}
