/** Every endpoint of the OKX paper exchange by method and path, with its rate limit and handler, as OKX's v5 reference has them. */
import type { Fill } from "../account.ts";
import type { Bend, Books } from "../matching.ts";
import { WHOLE_ACCOUNT } from "../countdowns.ts";
import { cancelAlgoOrder, listAlgoOrders, placeAlgoOrder, queryAlgoOrder } from "./algo.ts";
import { ItemError, wrongParameter } from "./errors.ts";
import type { EndpointLimit } from "./limits.ts";
import { cancelOrder, closeWhole, placeOrder, queryOrder } from "./orders.ts";
import { kindOf } from "./listing.ts";
import { readPositive, readSpec, type Params } from "./params.ts";
import { publicRoutes } from "./public-routes.ts";
import {
  algoAck,
  algoShape,
  balanceShape,
  billShape,
  cancelAck,
  closeAck,
  configShape,
  fillShape,
  orderAck,
  orderShape,
  positionShape,
} from "./shapes.ts";

/** What a handler sees of a request, or of one order of it; `now` is the venue's time, ms. */
export interface Call {
  books: Books;
  params: Params;
  now: number;
  bend: Bend;
}

export interface Route {
  limit: EndpointLimit;
  signed?: true;
  /** Most orders in one request; with it the handler answers for one order, and a refusal is that order's own. */
  batch?: number;
  /** Whether it sends new orders to the book: these count against the account's limit and may carry a deadline. */
  order?: true;
  /** The entries of `data`; throws RequestError or ItemError for a refusal. */
  handle: (call: Call) => unknown[];
}

/** Rows of a listing: the default and the most. */
const MAX_ROWS = 100;
const MAX_LEVERAGE = 125;

const byUser = (count: number): EndpointLimit => ({ count, per: "user", unit: "request" });
const requests = (count: number): EndpointLimit => ({ count, per: "instrument", unit: "request" });
const orders = (count: number): EndpointLimit => ({ count, per: "instrument", unit: "order" });

const place = ({ books, params, now, bend }: Call): unknown[] => [orderAck(placeOrder(books, params, now, bend), now)];
const cancel = ({ books, params, now }: Call): unknown[] => [cancelAck(cancelOrder(books, params, now), now)];

const tradeRoutes: Readonly<Record<string, Route>> = {
  "POST /api/v5/trade/order": { limit: requests(60), batch: 1, order: true, handle: place },
  "POST /api/v5/trade/batch-orders": { limit: orders(300), batch: 20, order: true, handle: place },
  "POST /api/v5/trade/close-position": {
    limit: byUser(20),
    handle: ({ books, params, now, bend }) => [closeAck(closeWhole(books, params, now, bend))],
  },
  "POST /api/v5/trade/cancel-order": { limit: requests(60), batch: 1, handle: cancel },
  "POST /api/v5/trade/cancel-batch-orders": { limit: orders(300), batch: 20, handle: cancel },
  "POST /api/v5/trade/order-algo": {
    limit: requests(20),
    batch: 1,
    handle: ({ books, params, now }) => [algoAck(placeAlgoOrder(books, params, now))],
  },
  "POST /api/v5/trade/cancel-algos": {
    limit: orders(20),
    batch: 10,
    handle: ({ books, params, now }) => [algoAck(cancelAlgoOrder(books, params, now))],
  },
  "POST /api/v5/trade/cancel-all-after": { limit: byUser(2), handle: setCountdown },
  "GET /api/v5/trade/order": {
    limit: requests(60),
    handle: ({ books, params }) => [orderShape(books, queryOrder(books, params))],
  },
  "GET /api/v5/trade/order-algo": {
    limit: byUser(20),
    handle: ({ books, params }) => [algoShape(books, queryAlgoOrder(books, params))],
  },
  "GET /api/v5/trade/orders-pending": {
    limit: byUser(60),
    handle: ({ books, params }) => {
      const open = [...books.account.openOrders.values()].filter(({ symbol }) => ofInstrument(params, symbol));
      return page(open, params, ({ orderId }) => orderId).map((order) => orderShape(books, order));
    },
  },
  "GET /api/v5/trade/orders-algo-pending": {
    limit: byUser(20),
    handle: ({ books, params }) => {
      const open = listAlgoOrders(books, params).filter(({ symbol }) => ofInstrument(params, symbol));
      return page(open, params, ({ algoId }) => algoId).map((order) => algoShape(books, order));
    },
  },
  "GET /api/v5/trade/fills": { limit: byUser(60), handle: fills },
  "GET /api/v5/trade/fills-history": { limit: byUser(10), handle: fills },
};

const accountRoutes: Readonly<Record<string, Route>> = {
  // ccxt asks for the currencies before its first call with a key, and takes an account without any.
  "GET /api/v5/asset/currencies": { limit: byUser(6), handle: () => [] },
  "GET /api/v5/account/balance": { limit: byUser(10), handle: ({ books, now }) => [balanceShape(books, now)] },
  "GET /api/v5/account/config": { limit: byUser(5), handle: ({ books }) => [configShape(books)] },
  "GET /api/v5/account/bills": { limit: byUser(10), handle: bills },
  "GET /api/v5/account/positions": {
    limit: byUser(10),
    handle: ({ books, params }) => {
      const wanted = params.get("instId")?.split(",");
      const held = [...books.account.positions.values()].filter(({ symbol }) => wanted?.includes(symbol) ?? true);
      return held.map((position) => positionShape(books, position));
    },
  },
  "POST /api/v5/account/set-position-mode": { limit: byUser(5), handle: setPositionMode },
  "POST /api/v5/account/set-leverage": { limit: byUser(40), handle: setLeverage },
};

/** All endpoints, keyed "METHOD /path". */
export const routes: ReadonlyMap<string, Route> = new Map([
  ...Object.entries(publicRoutes),
  ...Object.entries({ ...tradeRoutes, ...accountRoutes }).map(([path, route]): [string, Route] => [
    path,
    { ...route, signed: true },
  ]),
]);

function ofInstrument(params: Params, symbol: string): boolean {
  return (
    (params.get("instId") ?? symbol) === symbol &&
    (params.get("instType") ?? kindOf(symbol).instType) === kindOf(symbol).instType
  );
}

/** Newest first, at most 100 rows; `after` asks for older ones than the id it names, `before` for newer ones. */
function page<T>(rows: readonly T[], params: Params, idOf: (row: T) => number): T[] {
  const after = Number(params.get("after") ?? Number.POSITIVE_INFINITY);
  const before = Number(params.get("before") ?? Number.NEGATIVE_INFINITY);
  const limit = Math.max(1, Math.min(Number(params.get("limit") ?? MAX_ROWS), MAX_ROWS));
  return rows
    .filter((row) => idOf(row) < after && idOf(row) > before)
    .toSorted((a, b) => idOf(b) - idOf(a))
    .slice(0, limit);
}

function fills({ books, params }: Call): unknown[] {
  const from = Number(params.get("begin") ?? 0);
  const orderId = params.get("ordId");
  const matches = ({ symbol, time, orderId: id }: Fill): boolean =>
    ofInstrument(params, symbol) && time >= from && (orderId === undefined || String(id) === orderId);
  return page(books.account.fills.filter(matches), params, ({ id }) => id).map(fillShape);
}

/** Seconds of a countdown that OKX takes, beside 0, which stops it. */
const MIN_COUNTDOWN_SECONDS = 10;
const MAX_COUNTDOWN_SECONDS = 120;

/** The dead-man switch of the account. */
function setCountdown({ books, params, now }: Call): unknown[] {
  const seconds = Number(params.get("timeOut") ?? Number.NaN);
  const inRange = seconds >= MIN_COUNTDOWN_SECONDS && seconds <= MAX_COUNTDOWN_SECONDS;
  if (!Number.isInteger(seconds) || (seconds !== 0 && !inRange)) throw wrongParameter("timeOut");
  books.countdowns.set(WHOLE_ACCOUNT, seconds * 1_000);
  const triggerTime = seconds === 0 ? "0" : String(now + seconds * 1_000);
  return [{ triggerTime, tag: "", ts: String(now) }];
}

/** Transfers (type 1) are the only bills that are told here. */
function bills({ books, params }: Call): unknown[] {
  const from = Number(params.get("begin") ?? 0);
  const wanted = (params.get("type") ?? "1") === "1";
  const listed = books.account.transfers.filter(({ time }) => wanted && time >= from);
  return page(listed, params, ({ id }) => id).map(billShape);
}

function setPositionMode({ books: { account }, params }: Call): unknown[] {
  const mode = params.get("posMode");
  if (mode !== "net_mode" && mode !== "long_short_mode") throw wrongParameter("posMode");
  if (!account.flat) {
    const text =
      "Settings failed. Close any open positions and cancel any open orders before changing the position mode.";
    throw new ItemError("59000", text);
  }
  account.hedge = mode === "long_short_mode";
  return [{ posMode: mode }];
}

function setLeverage({ books, params }: Call): unknown[] {
  const { symbol } = readSpec(books.market, params);
  const leverage = readPositive(params, "lever");
  if (leverage > MAX_LEVERAGE) throw wrongParameter("lever");
  books.account.leverage.set(symbol, leverage);
  return [
    {
      instId: symbol,
      lever: String(leverage),
      mgnMode: params.get("mgnMode") ?? "cross",
      posSide: params.get("posSide") ?? "net",
    },
  ];
}
