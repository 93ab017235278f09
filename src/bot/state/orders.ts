/** Orders as rows: an intent before it is sent, and what became of it. */
import type { IntentOutcome, KnownIntent, OrderIntent } from "../../core/order-intent.ts";
import { columnOf } from "../../core/state-merge.ts";
import type { Cell } from "../../core/state-tables.ts";

/** The row of an intent that was not sent yet. */
export function intentCells(intent: OrderIntent): Cell[] {
  const { clientOrderId, positionId, name, action, symbol, side, type, reduceOnly, quantity, price, createdAt } =
    intent;
  const head = [clientOrderId, null, positionId, name, action, symbol, side, type, reduceOnly ? 1 : 0, quantity, price];
  return [...head, null, null, "intent", 0, null, createdAt, createdAt];
}

/** The row of an order after `outcome`. */
export function settledCells(cells: readonly Cell[], outcome: IntentOutcome): Cell[] {
  const { status, exchangeOrderId, filled, avgPrice, attempts, error, at } = outcome;
  const next = [...cells];
  const set = (name: string, value: Cell): void => {
    next[columnOf("orders", name)] = value;
  };
  const kept = (name: string): Cell => cells[columnOf("orders", name)] ?? null;
  set("status", status);
  // What the venue has said once stays said where it says nothing now.
  set("exchange_order_id", exchangeOrderId ?? kept("exchange_order_id"));
  set("filled", filled ?? kept("filled"));
  set("avg_price", avgPrice ?? kept("avg_price"));
  set("attempts", attempts);
  set("error", error);
  set("updated_at", at);
  return next;
}

/** The intent of a row of `orders`. */
export function intentOf(cells: readonly Cell[]): OrderIntent {
  const text = (name: string): string => String(cells[columnOf("orders", name)] ?? "");
  const textOrNull = (name: string): string | null => {
    const value = cells[columnOf("orders", name)];
    return value === null || value === undefined ? null : String(value);
  };
  return {
    clientOrderId: text("client_order_id"),
    name: text("name"),
    // Safe: only `begin` writes these columns, from values of these types, and the row is proven by its hash.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    action: text("action") as OrderIntent["action"],
    symbol: text("symbol"),
    side: text("side") === "buy" ? "buy" : "sell",
    type: text("type"),
    reduceOnly: cells[columnOf("orders", "reduce_only")] === 1,
    quantity: text("quantity"),
    price: textOrNull("price"),
    positionId: textOrNull("position_id"),
    createdAt: Number(cells[columnOf("orders", "created_at")]),
  };
}

/** What a row of `orders` says of its intent. */
export function knownIntent(cells: readonly Cell[]): KnownIntent {
  const status = cells[columnOf("orders", "status")];
  if (status === "intent") return { intent: intentOf(cells), outcome: null };
  const cell = (name: string): string | null => {
    const value = cells[columnOf("orders", name)];
    return value === null || value === undefined ? null : String(value);
  };
  const outcome: IntentOutcome = {
    // Safe: the schema allows only these words, and `intent` was handled above.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    status: String(status) as IntentOutcome["status"],
    exchangeOrderId: cell("exchange_order_id"),
    filled: cell("filled"),
    avgPrice: cell("avg_price"),
    attempts: Number(cells[columnOf("orders", "attempts")]),
    error: cell("error"),
    at: Number(cells[columnOf("orders", "updated_at")]),
  };
  return { intent: intentOf(cells), outcome };
}
