/** Every endpoint of the paper exchange by method and path, with weight, order count and handler, as Binance USDⓈ-M futures has them. */
import type { Position, PositionSide } from "../account.ts";
import type { Bend, Books } from "../matching.ts";
import { MAINTENANCE_RATIO } from "../valuation.ts";
import { cancelAlgoOrder, cancelAllAlgoOrders, placeAlgoOrder, queryAlgoOrder } from "./algo.ts";
import { missing, VenueError } from "./errors.ts";
import { cancelAllOrders, cancelOrder, placeOrder, queryOrder, testOrder } from "./orders.ts";
import { publicRoutes } from "./public-routes.ts";
import { readFlag, readNumber, readOptionalSpec, readSpec } from "./rules.ts";
import {
  apiRestrictions,
  accountShape,
  algoShape,
  balanceShape,
  fillShape,
  orderReply,
  orderShape,
  positionRiskV2,
  positionRiskV3,
  transferShape,
} from "./shapes.ts";
import type { Params } from "./signing.ts";

/** What a handler sees of a request; `now` is the venue's time, ms. */
interface Call {
  books: Books;
  params: Params;
  now: number;
  bend: Bend;
}

export interface Route {
  signed?: true;
  weight: (params: Params) => number;
  /** Whether it counts as a new order. */
  order?: true;
  /** Whether the key needs the right to trade. */
  trades?: true;
  /** The reply's JSON; throws VenueError for a refusal. */
  handle: (call: Call) => unknown;
}

const MAX_LEVERAGE = 125;
/** Rows of a history reply when the request names no limit, and at most. */
const DEFAULT_ROWS = 500;
const MAX_ROWS = 1_000;

const NOTHING = { amount: 0, entryPrice: 0, marginMode: "cross", updateTime: 0 } as const;
const ALL_DONE = { code: 200, msg: "The operation of cancel all open order is done." };

const orderRoutes: Record<string, Route> = {
  "POST /fapi/v1/order": {
    weight: () => 0,
    order: true,
    handle: ({ books, params, now, bend }) => orderReply(books.market, placeOrder(books, params, now, bend)),
  },
  "POST /fapi/v1/order/test": {
    weight: () => 0,
    handle: ({ books, params }) => {
      testOrder(books, params);
      return {};
    },
  },
  "GET /fapi/v1/order": {
    weight: () => 1,
    handle: ({ books, params }) => orderShape(books.market, queryOrder(books, params)),
  },
  "GET /fapi/v1/openOrder": { weight: () => 1, handle: openOrder },
  "DELETE /fapi/v1/order": {
    weight: () => 1,
    handle: ({ books, params, now }) => orderReply(books.market, cancelOrder(books, params, now)),
  },
  "GET /fapi/v1/openOrders": { weight: (params) => (params.has("symbol") ? 1 : 40), handle: openOrders },
  "DELETE /fapi/v1/allOpenOrders": {
    weight: () => 1,
    handle: ({ books, params, now }) => {
      cancelAllOrders(books, params, now);
      return ALL_DONE;
    },
  },
  "GET /fapi/v1/allOrders": { weight: () => 5, handle: allOrders },
  "POST /fapi/v1/countdownCancelAll": { weight: () => 10, handle: setCountdown },
  "GET /fapi/v1/userTrades": { weight: () => 5, handle: userTrades },
};

const algoRoutes: Record<string, Route> = {
  "POST /fapi/v1/algoOrder": {
    weight: () => 0,
    order: true,
    handle: ({ books, params, now }) => algoShape(books.market, placeAlgoOrder(books, params, now)),
  },
  "GET /fapi/v1/algoOrder": {
    weight: () => 1,
    handle: ({ books, params }) => algoShape(books.market, queryAlgoOrder(books, params)),
  },
  "DELETE /fapi/v1/algoOrder": {
    weight: () => 1,
    handle: ({ books, params, now }) => {
      const { algoId, clientAlgoId } = cancelAlgoOrder(books, params, now);
      return { algoId, clientAlgoId, code: "200", msg: "success" };
    },
  },
  "GET /fapi/v1/openAlgoOrders": {
    weight: (params) => (params.has("symbol") ? 1 : 40),
    handle: ({ books, params }) => {
      const only = readOptionalSpec(books.market, params);
      const listed = [...books.account.openAlgoOrders.values()].filter((order) => matches(only, order));
      return listed.map((order) => algoShape(books.market, order));
    },
  },
  "GET /fapi/v1/allAlgoOrders": {
    weight: () => 5,
    handle: ({ books, params }) => {
      const only = readSpec(books.market, params);
      const { closedAlgoOrders, openAlgoOrders } = books.account;
      const listed = [...closedAlgoOrders, ...openAlgoOrders.values()].filter((order) => matches(only, order));
      return newest(listed, params).map((order) => algoShape(books.market, order));
    },
  },
  "DELETE /fapi/v1/algoOpenOrders": {
    weight: () => 1,
    handle: ({ books, params, now }) => {
      cancelAllAlgoOrders(books, params, now);
      return ALL_DONE;
    },
  },
};

const accountRoutes: Record<string, Route> = {
  "GET /fapi/v2/balance": { weight: () => 5, handle: balance },
  "GET /fapi/v3/balance": { weight: () => 5, handle: balance },
  "GET /fapi/v2/account": {
    weight: () => 5,
    handle: ({ books, now }) => accountShape(books, 2, now),
  },
  "GET /fapi/v3/account": {
    weight: () => 5,
    handle: ({ books, now }) => accountShape(books, 3, now),
  },
  "GET /fapi/v2/positionRisk": {
    weight: () => 5,
    handle: (call) => positions(call, true).map((each) => positionRiskV2(call.books, each)),
  },
  "GET /fapi/v3/positionRisk": {
    weight: () => 5,
    handle: (call) => positions(call, false).map((each) => positionRiskV3(call.books, each)),
  },
  "GET /fapi/v1/positionSide/dual": {
    weight: () => 30,
    handle: ({ books }) => ({ dualSidePosition: books.account.hedge }),
  },
  "POST /fapi/v1/positionSide/dual": { weight: () => 1, handle: setHedge },
  "POST /fapi/v1/leverage": { weight: () => 1, handle: setLeverage },
  "GET /fapi/v1/leverageBracket": { weight: () => 1, handle: leverageBrackets },
  "GET /fapi/v1/income": { weight: () => 30, handle: income },
  "GET /sapi/v1/capital/config/getall": { weight: () => 10, handle: () => [] },
  "GET /sapi/v1/margin/allPairs": { weight: () => 1, handle: () => [] },
  "GET /sapi/v1/account/apiRestrictions": {
    weight: () => 1,
    handle: ({ books, now }) => apiRestrictions(books.account, now, "futures"),
  },
};

/** All endpoints, keyed "METHOD /path". */
export const routes: ReadonlyMap<string, Route> = new Map([
  ...Object.entries(publicRoutes),
  ...Object.entries({ ...orderRoutes, ...algoRoutes, ...accountRoutes }).map(([path, route]): [string, Route] => [
    path,
    { ...route, signed: true, ...(path.startsWith("GET ") ? {} : { trades: true }) },
  ]),
]);

function openOrder({ books, params }: Call): unknown {
  const order = queryOrder(books, params);
  if (!books.account.openOrders.has(order.orderId)) throw new VenueError(-2013, "Order does not exist.");
  return orderShape(books.market, order);
}

function openOrders({ books, params }: Call): unknown {
  const only = readOptionalSpec(books.market, params);
  const listed = [...books.account.openOrders.values()].filter((order) => matches(only, order));
  return listed.map((order) => orderShape(books.market, order));
}

function allOrders({ books, params }: Call): unknown {
  const only = readSpec(books.market, params);
  const { closedOrders, openOrders: open } = books.account;
  const listed = [...closedOrders, ...open.values()].filter((order) => matches(only, order));
  return newest(listed, params).map((order) => orderShape(books.market, order));
}

function userTrades({ books, params }: Call): unknown {
  const only = readSpec(books.market, params);
  const from = readNumber(params, "startTime") ?? 0;
  const fromId = readNumber(params, "fromId") ?? 0;
  const orderId = params.get("orderId");
  const listed = books.account.fills.filter(
    (fill) =>
      matches(only, fill) &&
      fill.time >= from &&
      fill.id >= fromId &&
      (orderId === undefined || String(fill.orderId) === orderId),
  );
  return newest(listed, params).map((fill) => fillShape(books.market, fill));
}

/** The dead-man switch of one symbol; 0 stops it. */
function setCountdown({ books, params }: Call): unknown {
  const { symbol } = readSpec(books.market, params);
  const ms = readNumber(params, "countdownTime");
  if (ms === undefined) throw missing("countdownTime");
  if (!Number.isInteger(ms) || ms < 0) throw new VenueError(-4034, "Invalid countdown time.");
  books.countdowns.set(symbol, ms);
  return { symbol, countdownTime: String(ms) };
}

/** Transfers are the only income that is told here. */
function income({ books, params }: Call): unknown {
  const type = params.get("incomeType") ?? "TRANSFER";
  const from = readNumber(params, "startTime") ?? 0;
  const listed = books.account.transfers.filter(({ time }) => type === "TRANSFER" && time >= from);
  return newest(listed, params).map(transferShape);
}

function balance({ books, now }: Call): unknown {
  return balanceShape(books, now);
}

/** Positions to list. Version 3 tells only symbols with a position or an order, version 2 every symbol. */
function positions({ books, params }: Call, everySymbol: boolean): Position[] {
  const { account, market } = books;
  const only = readOptionalSpec(market, params);
  const legs: PositionSide[] = account.hedge ? ["LONG", "SHORT"] : ["BOTH"];
  const listed: Position[] = [];
  for (const { symbol } of market.specs.values()) {
    if (only !== undefined && only.symbol !== symbol) continue;
    const ordered = [...account.openOrders.values()].some((order) => order.symbol === symbol);
    for (const positionSide of legs) {
      const held = account.position(symbol, positionSide);
      if (held !== undefined) listed.push(held);
      else if (everySymbol || ordered) listed.push({ symbol, positionSide, ...NOTHING });
    }
  }
  return listed;
}

function setHedge({ books, params }: Call): unknown {
  const { account } = books;
  const hedge = readFlag(params, "dualSidePosition");
  if (hedge === account.hedge) throw new VenueError(-4059, "No need to change position side.");
  if (account.openOrders.size + account.openAlgoOrders.size > 0) {
    throw new VenueError(-4067, "Position side cannot be changed if there exists open orders.");
  }
  if (account.positions.size > 0) {
    throw new VenueError(-4068, "Position side cannot be changed if there exists position.");
  }
  account.hedge = hedge;
  return { code: 200, msg: "success" };
}

function setLeverage({ books, params }: Call): unknown {
  const { symbol } = readSpec(books.market, params);
  const leverage = readNumber(params, "leverage") ?? 0;
  if (!(Number.isInteger(leverage) && leverage >= 1 && leverage <= MAX_LEVERAGE)) {
    throw new VenueError(-4028, `Leverage ${leverage} is not valid`);
  }
  books.account.leverage.set(symbol, leverage);
  return { symbol, leverage, maxNotionalValue: "1000000" };
}

function leverageBrackets({ books, params }: Call): unknown {
  const only = readOptionalSpec(books.market, params);
  return [...books.market.specs.values()]
    .filter((spec) => matches(only, spec))
    .map(({ symbol }) => ({
      symbol,
      notionalCoef: 1,
      brackets: [
        {
          bracket: 1,
          initialLeverage: MAX_LEVERAGE,
          notionalCap: 1_000_000_000,
          notionalFloor: 0,
          maintMarginRatio: MAINTENANCE_RATIO,
          cum: 0,
        },
      ],
    }));
}

function matches(only: { symbol: string } | undefined, entry: { symbol: string }): boolean {
  return only === undefined || only.symbol === entry.symbol;
}

function newest<T>(rows: readonly T[], params: Params): readonly T[] {
  return rows.slice(-Math.max(1, Math.min(readNumber(params, "limit") ?? DEFAULT_ROWS, MAX_ROWS)));
}
