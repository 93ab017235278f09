/** Binance's margin interface `/sapi/v1/margin`, cross and isolated, beside the spot market that it trades on. */
import { apiRestrictions } from "../binance/shapes.ts";
import { missing, VenueError } from "../binance/errors.ts";
import { readNumber, readOptionalSpec, readSpec, readText } from "../binance/rules.ts";
import type { Dialect, DialectHost } from "../dialect.ts";
import { SPOT_ROUTES, spotLikeDialect, type Call, type Routes } from "../spot/dialect.ts";
import { spotExchangeInfo } from "../spot/shapes.ts";
import { cancelMarginOrder, matchMarginOrders, placeMarginOrder, walletOf, type MarginBooks } from "./orders.ts";
import { crossAccountShape, isolatedAccountShape, marginOrderReply, marginOrderShape } from "./shapes.ts";
import { CROSS, debtOf, type MarginOrder, type MarginWallets } from "./wallets.ts";

/** Pairs that a request for isolated wallets may name. */
const MAX_NAMED_PAIRS = 5;
/** The venue's own refusals of a repayment: of more than is owed, and of more than is there. */
const REPAY_EXCEEDS = -3015;
const NOT_ENOUGH = -3041;

export function marginDialect(host: DialectHost, wallets: MarginWallets): Dialect {
  const { books } = host;
  const margin: MarginBooks = { books, wallets };
  const dialect = spotLikeDialect(host, routesOf(margin), [REPAY_EXCEEDS, NOT_ENOUGH]);
  return {
    ...dialect,
    execute: (incoming, bend, now) => {
      wallets.accrue(now);
      return dialect.execute(incoming, bend, now);
    },
    match: (now) => matchMarginOrders(margin, now),
    reset: () => {
      wallets.clear();
      dialect.reset();
    },
  };
}

function routesOf(margin: MarginBooks): Routes {
  const { books } = margin;
  const signed = { signed: true } as const;
  const trades = { signed: true, trades: true } as const;
  return {
    ...SPOT_ROUTES,
    "GET /api/v3/exchangeInfo": { weight: 20, handle: ({ now }) => spotExchangeInfo(books.market, now, true) },
    "GET /sapi/v1/account/apiRestrictions": {
      weight: 1,
      ...signed,
      handle: ({ now }) => apiRestrictions(books.account, now, "margin"),
    },
    "GET /sapi/v1/margin/account": {
      weight: 10,
      ...signed,
      handle: () => crossAccountShape(margin, books.account.canTrade),
    },
    "GET /sapi/v1/margin/isolated/account": {
      weight: 10,
      ...signed,
      handle: ({ params }) => isolatedAccountShape(margin, namedPairs(params.get("symbols"))),
    },
    "GET /sapi/v1/margin/openOrders": {
      weight: 10,
      ...signed,
      handle: (call) => openOrders(margin, call).map(marginOrderShape),
    },
    "GET /sapi/v1/margin/order": {
      weight: 10,
      ...signed,
      handle: (call) => marginOrderShape(find(margin, call, true)),
    },
    "POST /sapi/v1/margin/order": {
      weight: 6,
      ...trades,
      order: true,
      handle: ({ params, now, bend }) =>
        marginOrderReply(placeMarginOrder(margin, params, now, bend), books.account.fills),
    },
    "DELETE /sapi/v1/margin/order": {
      weight: 10,
      ...trades,
      handle: (call) => cancel(margin, [find(margin, call, false)], call.now)[0],
    },
    "DELETE /sapi/v1/margin/openOrders": {
      weight: 1,
      ...trades,
      handle: (call) => {
        readSpec(books.market, call.params);
        const orders = openOrders(margin, call);
        if (orders.length === 0) throw unknownOrder();
        return cancel(margin, orders, call.now);
      },
    },
    "POST /sapi/v1/margin/borrow-repay": { weight: 1, ...trades, handle: (call) => borrowOrRepay(margin, call) },
  };
}

function borrowOrRepay(margin: MarginBooks, { params }: Call): unknown {
  const { books, wallets } = margin;
  const [asset, type] = [readText(params, "asset"), readText(params, "type")];
  const amount = readNumber(params, "amount");
  if (amount === undefined || amount <= 0) throw missing("amount");
  const wallet = walletOf(margin, params);
  const balance = wallets.balance(wallet, asset);
  if (type === "BORROW") wallets.borrow(wallet, asset, amount);
  else if (type !== "REPAY") throw new VenueError(-1130, "Data sent for parameter 'type' is not valid.");
  else if (amount > debtOf(balance)) throw new VenueError(REPAY_EXCEEDS, "Repay amount exceeds borrow amount.");
  else if (amount > balance.free) throw new VenueError(NOT_ENOUGH, "Balance is not enough");
  else wallets.repay(wallet, asset, amount);
  return { tranId: books.account.nextId(), clientTag: "" };
}

function namedPairs(symbols: string | undefined): string[] | undefined {
  const named = symbols?.split(",");
  if (named !== undefined && named.length > MAX_NAMED_PAIRS)
    throw new VenueError(-1130, "Data sent for parameter 'symbols' is not valid.");
  return named;
}

/** Of a wallet; those of an isolated one are listed by its pair alone. */
function openOrders(margin: MarginBooks, { params }: Call): MarginOrder[] {
  const { books, wallets } = margin;
  const only = readOptionalSpec(books.market, params);
  const wallet = walletOf(margin, params);
  if (wallet !== CROSS && only === undefined) throw missing("symbol");
  return [...wallets.orders.values()].filter(
    (order) => order.wallet === wallet && (only === undefined || only.symbol === order.symbol),
  );
}

function find(margin: MarginBooks, { params }: Call, closedToo: boolean): MarginOrder {
  const { books, wallets } = margin;
  const { symbol } = readSpec(books.market, params);
  const wallet = walletOf(margin, params);
  const [id, clientId] = [params.get("orderId"), params.get("origClientOrderId")];
  const all = [...(closedToo ? wallets.closedOrders : []), ...wallets.orders.values()].toReversed();
  const order = all.find(
    (each) =>
      each.symbol === symbol &&
      each.wallet === wallet &&
      (id === undefined ? each.clientOrderId === clientId : String(each.orderId) === id),
  );
  if (order === undefined) throw closedToo ? new VenueError(-2013, "Order does not exist.") : unknownOrder();
  return order;
}

function cancel(margin: MarginBooks, orders: readonly MarginOrder[], now: number): Record<string, unknown>[] {
  return orders.map((order) => {
    cancelMarginOrder(margin, order, now);
    return { ...marginOrderShape(order), origClientOrderId: order.clientOrderId };
  });
}

function unknownOrder(): VenueError {
  return new VenueError(-2011, "Unknown order sent.");
}
