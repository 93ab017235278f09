/**
 * The spot wallet of OKX: the paths of its contracts, with instruments without a suffix, cash orders (`tdMode` cash) and balances. Signing
 * and wording are those of the contracts, the book is that of the spot market.
 */
import type { Order } from "../account.ts";
import { VenueError } from "../binance/errors.ts";
import type { Dialect, DialectHost, Incoming } from "../dialect.ts";
import type { Bend, Books } from "../matching.ts";
import { ItemError, RequestError, wrongParameter } from "../okx/errors.ts";
import { readClientId, readParams, readPositive, readSide, type Params } from "../okx/params.ts";
import { cancelAck, configShape, orderAck } from "../okx/shapes.ts";
import { checkSigned } from "../okx/signing.ts";
import { html } from "../transport.ts";
import { matchSpotOrders, placeSpotOrder } from "../spot/orders.ts";
import { bookName, instrumentShape, instrumentsOf, spotOrderRow, tickerShape, walletShape } from "./shapes.ts";

interface Call {
  readonly books: Books;
  readonly params: Params;
  readonly now: number;
  readonly bend: Bend;
}

interface Route {
  readonly open?: true;
  /** Each entry of the body for itself. */
  readonly batch?: true;
  readonly handle: (call: Call) => unknown[];
}

const place: Route = {
  batch: true,
  handle: ({ books, params, now, bend }) => [orderAck(placeCash(books, params, now, bend), now)],
};
const cancel: Route = {
  batch: true,
  handle: ({ books, params, now }) => [cancelAck(cancelCash(books, params, now), now)],
};

const ROUTES: Readonly<Record<string, Route>> = {
  "GET /api/v5/public/time": { open: true, handle: ({ now }) => [{ ts: String(now) }] },
  "GET /api/v5/public/instruments": {
    open: true,
    handle: ({ books, params }) => instrumentsOf(books, params).map(instrumentShape),
  },
  "GET /api/v5/market/tickers": {
    open: true,
    handle: ({ books, params, now }) => instrumentsOf(books, params).map((spec) => tickerShape(books, spec, now)),
  },
  "GET /api/v5/account/config": { handle: ({ books }) => [configShape(books)] },
  "GET /api/v5/account/balance": { handle: ({ books, now }) => [walletShape(books, now)] },
  "GET /api/v5/trade/orders-pending": {
    handle: ({ books }) => [...books.account.openOrders.values()].map((order) => spotOrderRow(books, order)),
  },
  "GET /api/v5/trade/orders-algo-pending": { handle: () => [] },
  "POST /api/v5/trade/order": place,
  "POST /api/v5/trade/batch-orders": place,
  "POST /api/v5/trade/cancel-order": cancel,
  "POST /api/v5/trade/cancel-batch-orders": cancel,
};

/** What the book of the spot market refuses, in OKX's codes. */
const CODES: Readonly<Record<number, string>> = { [-2010]: "51008", [-1013]: "51020" };
/** Selling what is not there: no well-behaved client does. */
const VIOLATIONS: ReadonlySet<string> = new Set(["51008", "50113", "50111", "50105"]);

export function okxSpotDialect(host: DialectHost): Dialect {
  return {
    knows: (label) => label in ROUTES,
    execute: (incoming, bend, now) => {
      try {
        return Response.json(handle(host, incoming, bend, now), { headers: { Date: new Date(now).toUTCString() } });
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        note(host, incoming, error);
        return refuse(error.code, error.message, error.status);
      }
    },
    refuse: ({ code, msg, status = 200 }) => refuse(String(code), msg, status),
    rateLimit: () => refuse("50011", "Too Many Requests", 429),
    ban: () => html(429, "<html>Access denied</html>"),
    fire: () => false,
    match: (now) => matchSpotOrders(host.books, now),
    reset: () => undefined,
  };
}

function refuse(code: string, msg: string, status = 200): Response {
  return Response.json({ code, data: [], msg }, { status });
}

function handle(host: DialectHost, incoming: Incoming, bend: Bend, now: number): object {
  const { books, credentials } = host;
  const route = ROUTES[`${incoming.method} ${incoming.path}`];
  if (route === undefined) throw new RequestError("404", "Not Found", 404);
  if (route.open !== true) checkSigned(credentials, incoming, now);
  if (incoming.method === "POST" && !books.account.canTrade)
    throw new RequestError("50120", "This API key doesn't have permission to use this function");
  const items = readParams(incoming);
  if (route.batch !== true)
    return { code: "0", data: route.handle({ books, params: items[0] ?? new Map(), now, bend }), msg: "" };
  let failed = 0;
  const data = items.flatMap((params) => {
    try {
      checkDeadline(incoming, now);
      return route.handle({ books, params, now, bend });
    } catch (error) {
      const refused = asItem(error);
      failed += 1;
      note(host, incoming, refused);
      const clOrdId = params.get("clOrdId") ?? "";
      return [{ clOrdId, ordId: "", sCode: refused.code, sMsg: refused.message, tag: "", ts: "" }];
    }
  });
  const code = failed === 0 ? "0" : failed === items.length ? "1" : "2";
  return { code, data, msg: failed === 0 ? "" : "All operations failed" };
}

function asItem(error: unknown): ItemError {
  if (error instanceof ItemError) return error;
  if (error instanceof VenueError) return new ItemError(CODES[error.code] ?? "51000", error.message);
  throw error;
}

/** A request that names a deadline (header `expTime`) is not executed after it. */
function checkDeadline({ headers, path }: Incoming, now: number): void {
  const deadline = path.includes("cancel") ? null : headers.get("expTime");
  if (deadline !== null && Number(deadline) < now)
    throw new ItemError("50036", "The expTime can't be earlier than the current system time.");
}

/** Amounts of a sale are in the base currency; of a purchase at the market only where `tgtCcy` says so. */
function placeCash(books: Books, params: Params, now: number, bend: Bend): Order {
  const symbol = bookName(books, params);
  const type = params.get("ordType");
  if (params.get("tdMode") !== "cash") throw wrongParameter("tdMode");
  if (type !== "market" && type !== "limit" && type !== "ioc") throw wrongParameter("ordType");
  const side = readSide(params);
  if (side === "BUY" && type === "market" && params.get("tgtCcy") !== "base_ccy") throw wrongParameter("tgtCcy");
  const fields: [string, string][] = [
    ["symbol", symbol],
    ["side", side],
    ["type", type === "market" ? "MARKET" : "LIMIT"],
    ["quantity", String(readPositive(params, "sz"))],
    ...(type === "market" ? [] : ([["price", String(readPositive(params, "px"))]] satisfies [string, string][])),
    ...(type === "limit" ? ([["timeInForce", "GTC"]] satisfies [string, string][]) : []),
    ...(type === "ioc" ? ([["timeInForce", "IOC"]] satisfies [string, string][]) : []),
    ["newClientOrderId", readClientId(params, "clOrdId")],
  ];
  return placeSpotOrder(books, new Map(fields), now, bend);
}

function cancelCash({ account }: Books, params: Params, now: number): Order {
  const [id, clientId] = [params.get("ordId") ?? "", params.get("clOrdId") ?? ""];
  const order = [...account.openOrders.values()].find((open) =>
    id === "" ? open.clientOrderId === clientId : String(open.orderId) === id,
  );
  if (order === undefined)
    throw new ItemError("51400", "Order cancellation failed as the order has been filled, canceled or does not exist.");
  account.finish(order, "CANCELED", now);
  return order;
}

function note(host: DialectHost, { method, path }: Incoming, { code, message }: ItemError | RequestError): void {
  host.log(`refused ${method} ${path}: ${code} ${message}`);
  if (VIOLATIONS.has(code)) host.violation(`${method} ${path}: ${code} ${message}`);
}
