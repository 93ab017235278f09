/**
 * Reads orders by client id through ccxt: by `fetchOrder` where the venue takes client ids, else from its lists of open and
 * ended orders. It knows ccxt by its shape alone, so the bot brings its own.
 */
import type { OrderIntent, VenueOrder } from "../core/order-intent.ts";
import { judgeError } from "./errors.ts";
import type { OrderReader } from "./order-fate.ts";

/** What is used of a ccxt exchange. */
export interface CcxtExchange {
  readonly id: string;
  readonly has: Readonly<Record<string, unknown>>;
  fetchOrder(id: string, symbol: string, params: Record<string, unknown>): Promise<VenueOrder>;
  fetchOpenOrders(symbol: string): Promise<readonly VenueOrder[]>;
  fetchOrders(symbol: string, since: number): Promise<readonly VenueOrder[]>;
  fetchClosedOrders(symbol: string, since: number): Promise<readonly VenueOrder[]>;
}

/** Lists are read from so long before the intent on, ms: the clocks of bot and venue differ. */
const SKEW_MS = 60_000;
/** A list of so many orders may be one page of more: then it proves nothing. */
const FULL_PAGE = 50;

/**
 * Whose `fetchOrder` in ccxt 4.5 asks the venue for the client id that it is given. Some others drop it and report what the
 * venue says of no id at all, or an order of theirs: from them "not found" is no answer, and an order that was executed at
 * once is in no list of open ones.
 */
const KNOWS_CLIENT_IDS: ReadonlySet<string> = new Set([
  "binance",
  "binanceusdm",
  "binancecoinm",
  "binanceus",
  "okx",
  "myokx",
  "okxus",
  "bitget",
]);

/** A reader for `createExecutor`. */
export function ccxtOrders(exchange: CcxtExchange): OrderReader {
  return {
    async find(intent) {
      const byId = await fetchByClientId(exchange, intent);
      if (byId !== "unsupported" && byId !== "absent") return byId;
      const { symbol, clientOrderId, createdAt } = intent;
      const ours = (orders: readonly VenueOrder[]): VenueOrder | undefined =>
        orders.find((order) => order.clientOrderId === clientOrderId);
      const open = ours(await exchange.fetchOpenOrders(symbol));
      if (open !== undefined || (byId === "absent" && KNOWS_CLIENT_IDS.has(exchange.id))) return open;
      const since = createdAt - SKEW_MS;
      if (!can(exchange, "fetchOrders") && !can(exchange, "fetchClosedOrders"))
        throw new Error(
          `cannot tell whether order ${clientOrderId} exists: the venue does not show those that have ended, and is not known to look up client ids`,
        );
      const ended = can(exchange, "fetchOrders")
        ? await exchange.fetchOrders(symbol, since)
        : await exchange.fetchClosedOrders(symbol, since);
      const found = ours(ended);
      if (found === undefined && ended.length >= FULL_PAGE)
        throw new Error(
          `cannot tell whether order ${clientOrderId} exists: the list of ${ended.length} orders may be cut off`,
        );
      return found;
    },
  };
}

async function fetchByClientId(
  exchange: CcxtExchange,
  { clientOrderId, symbol }: OrderIntent,
): Promise<VenueOrder | "absent" | "unsupported"> {
  if (!can(exchange, "fetchOrder")) return "unsupported";
  try {
    const order = await exchange.fetchOrder("", symbol, { clientOrderId });
    // A venue that does not know the parameter may show another order.
    return order.clientOrderId === clientOrderId ? order : "unsupported";
  } catch (error) {
    if (error instanceof Error && error.name === "OrderNotFound") return "absent";
    // It refuses to look it up this way; everything else is no answer.
    if (judgeError(error).executed === "no" && !judgeError(error).retry) return "unsupported";
    throw error;
  }
}

function can(exchange: CcxtExchange, method: string): boolean {
  return exchange.has[method] === true;
}
