/** What orders at the touch need of a venue that ccxt knows: the near side of the book, and what became of an order. */
import type { Order, OrderBook } from "ccxt";
import type { CloseOrder } from "../../core/close-orders.ts";
import type { EndedOrder, Rest } from "../../core/close-rests.ts";
import type { VenueExchange } from "./exchange.ts";
import type { Answer } from "./open-orders.ts";
import type { CallKind } from "./rates.ts";

/** Asks within the venue's limits; nothing is thrown. */
interface Asker {
  readonly exchange: VenueExchange;
  ask<T>(kind: CallKind, call: () => Promise<T>): Promise<Answer<T>>;
}

/** How an order that rested ended, with its average for the report. */
export interface RestEnd extends EndedOrder {
  readonly average: number | undefined;
}

/** Rows asked for where the venue's own number of them costs more of its limits. */
const ROWS = 5;
const COUNTS_ROWS = /^(binance|okx|myokx)/;
/** The order will not be executed any more. */
const OVER: ReadonlySet<unknown> = new Set(["closed", "canceled", "expired", "rejected"]);

/** The best price of the order's own side: one that takes nothing from the book, so that no spread is paid. A text: why there is none. */
export async function readTouch(
  venue: Asker,
  { symbol, side }: CloseOrder,
): Promise<{ readonly price: number } | { readonly error: string }> {
  const { exchange } = venue;
  const rows = COUNTS_ROWS.test(exchange.id) ? ROWS : undefined;
  const answer = await venue.ask("prices", async (): Promise<OrderBook> => exchange.fetchOrderBook(symbol, rows));
  if ("failure" in answer) return { error: `the book cannot be read: ${answer.text}` };
  const { bids, asks } = answer.value;
  const price = (side === "buy" ? bids : asks)[0]?.[0];
  return price !== undefined && price > 0
    ? { price }
    : { error: `the book shows no ${side === "buy" ? "bid" : "ask"}` };
}

/** `undefined`: it may still be executed, or nobody tells. */
export async function readEnd(venue: Asker, { id, venueId, symbol }: Rest): Promise<RestEnd | undefined> {
  const { exchange } = venue;
  if (venueId === undefined || exchange.has["fetchOrder"] !== true) return undefined;
  // Without it ccxt refuses to ask Bybit, which shows the last 500 orders only: it is one of them.
  const params = exchange.id.startsWith("bybit") ? { acknowledged: true } : {};
  const answer = await venue.ask("prices", async (): Promise<Order> => exchange.fetchOrder(venueId, symbol, params));
  if ("failure" in answer) return undefined;
  const { status, filled, average } = answer.value;
  // How much was filled is what is to be proven.
  if (!OVER.has(status) || typeof filled !== "number") return undefined;
  return { id, filled, average };
}
