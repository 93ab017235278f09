/** Binance's spot market: the interface `/api/v3` that unmodified ccxt speaks as `binance`. Signing, refusals and limits are those of its futures. */
import type { Dialect, DialectHost, Incoming } from "../dialect.ts";
import { VenueError } from "../binance/errors.ts";
import { Limits } from "../binance/limits.ts";
import { apiRestrictions } from "../binance/shapes.ts";
import { readOptionalSpec, readSpec } from "../binance/rules.ts";
import { checkSigned, parseParams, type Params } from "../binance/signing.ts";
import type { Order } from "../account.ts";
import type { Bend, Books } from "../matching.ts";
import { matchSpotOrders, placeSpotOrder } from "./orders.ts";
import { spotAccountShape, spotExchangeInfo, spotOrderReply, spotOrderShape, spotTicker } from "./shapes.ts";

export interface Call {
  readonly books: Books;
  readonly params: Params;
  readonly now: number;
  readonly bend: Bend;
}

interface Route {
  readonly weight: number;
  readonly signed?: true;
  readonly trades?: true;
  readonly order?: true;
  readonly handle: (call: Call) => unknown;
}

/** Refusals that a well-behaved client never causes; −2010 among them: it has sold what was not there. */
const VIOLATION_CODES: ReadonlySet<number> = new Set([-1003, -1015, -1022, -2010, -2014, -2015]);
const LIMITS = { weight: 6_000, orders10s: 100, orders1m: 1_000 };

export type Routes = Readonly<Record<string, Route>>;

export const SPOT_ROUTES: Routes = {
  "GET /api/v3/ping": { weight: 1, handle: () => ({}) },
  "GET /api/v3/time": { weight: 1, handle: ({ now }) => ({ serverTime: now }) },
  "GET /api/v3/exchangeInfo": { weight: 20, handle: ({ books, now }) => spotExchangeInfo(books.market, now) },
  "GET /api/v3/ticker/24hr": { weight: 80, handle: tickers },
  "GET /api/v3/account": { weight: 20, signed: true, handle: ({ books, now }) => spotAccountShape(books, now) },
  "GET /api/v3/openOrders": { weight: 80, signed: true, handle: (call) => openOrders(call).map(spotOrderShape) },
  "GET /api/v3/order": { weight: 4, signed: true, handle: (call) => spotOrderShape(find(call, true)) },
  "POST /api/v3/order": {
    weight: 1,
    signed: true,
    trades: true,
    order: true,
    handle: ({ books, params, now, bend }) =>
      spotOrderReply(placeSpotOrder(books, params, now, bend), books.account.fills),
  },
  "POST /api/v3/order/test": {
    weight: 1,
    signed: true,
    trades: true,
    handle: ({ books, params }) => {
      readSpec(books.market, params);
      return {};
    },
  },
  "GET /sapi/v1/account/apiRestrictions": {
    weight: 1,
    signed: true,
    handle: ({ books, now }) => apiRestrictions(books.account, now, "spot"),
  },
  "DELETE /api/v3/order": {
    weight: 1,
    signed: true,
    trades: true,
    handle: (call) => cancel(call, [find(call, false)])[0],
  },
  "DELETE /api/v3/openOrders": { weight: 1, signed: true, trades: true, handle: cancelAll },
};

export function spotDialect(host: DialectHost): Dialect {
  return spotLikeDialect(host, SPOT_ROUTES);
}

/** A market that signs, refuses and limits as the spot market does; `further`: refusals that a well-behaved client does not cause there. */
export function spotLikeDialect(host: DialectHost, routes: Routes, further: readonly number[] = []): Dialect {
  const violations = new Set([...VIOLATION_CODES, ...further]);
  const limits = new Limits(host.speed, LIMITS);
  const refusal = (error: VenueError): Response =>
    Response.json(
      { code: error.code, msg: error.message },
      { status: error.status, headers: { ...limits.headers(), ...error.headers } },
    );
  return {
    knows: (label) => label in routes,
    execute: (incoming, bend, now) => {
      try {
        return Response.json(handle(host, routes, limits, incoming, bend, now), { headers: limits.headers() });
      } catch (error) {
        if (!(error instanceof VenueError)) throw error;
        const label = `${incoming.method} ${incoming.path}`;
        host.log(`refused ${label}: ${error.code} ${error.message}`);
        if (violations.has(error.code)) host.violation(`${label}: ${error.code} ${error.message}`);
        return refusal(error);
      }
    },
    refuse: ({ code, msg, status = 400 }) => refusal(new VenueError(code, msg, status)),
    rateLimit: (retryAfterSeconds) =>
      refusal(new VenueError(-1003, "Too many requests.", 429, { "Retry-After": String(retryAfterSeconds) })),
    ban: (seconds, now) => refusal(limits.ban(seconds, now)),
    fire: () => false,
    match: (now) => matchSpotOrders(host.books, now),
    reset: () => limits.reset(),
  };
}

function handle(
  host: DialectHost,
  routes: Routes,
  limits: Limits,
  incoming: Incoming,
  bend: Bend,
  now: number,
): unknown {
  const { books, credentials, log } = host;
  const { method, path, query, body, headers } = incoming;
  const label = `${method} ${path}`;
  const params = parseParams(query, body);
  const route = routes[label];
  if (route === undefined) throw new VenueError(-5000, `Path ${label} is invalid`, 404);
  const banned = limits.banned(now);
  if (banned !== undefined) throw banned;
  limits.spend(route.weight, route.order === true ? 1 : 0, now);
  if (route.signed === true) checkSigned(credentials, { key: headers.get("X-MBX-APIKEY"), query, body, params }, now);
  if (route.trades === true && !books.account.canTrade)
    throw new VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401);
  const reply = route.handle({ books, params, now, bend });
  if (route.order === true)
    log(`${params.get("side")} ${params.get("quantity")} ${params.get("symbol")} ${params.get("type")}`);
  return reply;
}

function tickers({ books: { market }, params, now }: Call): unknown {
  const only = readOptionalSpec(market, params);
  if (only !== undefined) return spotTicker(market, only, now);
  const named: unknown = JSON.parse(params.get("symbols") ?? "null");
  const wanted = Array.isArray(named) ? new Set(named.map(String)) : undefined;
  return [...market.specs.values()]
    .filter(({ symbol }) => wanted === undefined || wanted.has(symbol))
    .map((spec) => spotTicker(market, spec, now));
}

function openOrders({ books: { account, market }, params }: Call): Order[] {
  const only = readOptionalSpec(market, params);
  return [...account.openOrders.values()].filter(({ symbol }) => only === undefined || only.symbol === symbol);
}

function find({ books: { account, market }, params }: Call, closedToo: boolean): Order {
  const { symbol } = readSpec(market, params);
  const [id, clientId] = [params.get("orderId"), params.get("origClientOrderId")];
  const all = [...(closedToo ? account.closedOrders : []), ...account.openOrders.values()].toReversed();
  const order = all.find(
    (each) =>
      each.symbol === symbol && (id === undefined ? each.clientOrderId === clientId : String(each.orderId) === id),
  );
  if (order === undefined) throw closedToo ? new VenueError(-2013, "Order does not exist.") : unknownOrder();
  return order;
}

function cancelAll(call: Call): unknown {
  const orders = openOrders(call);
  readSpec(call.books.market, call.params);
  if (orders.length === 0) throw unknownOrder();
  return cancel(call, orders);
}

function cancel({ books: { account }, now }: Call, orders: readonly Order[]): Record<string, unknown>[] {
  return orders.map((order) => {
    account.finish(order, "CANCELED", now);
    return { ...spotOrderShape(order), origClientOrderId: order.clientOrderId, transactTime: now };
  });
}

function unknownOrder(): VenueError {
  return new VenueError(-2011, "Unknown order sent.");
}
