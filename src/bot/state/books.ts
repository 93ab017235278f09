/** What a bot owns, as rows of its state. */
import type { SavedDay, SavedPosition, SavedTrade } from "../../core/books.ts";
import { columnOf } from "../../core/state-merge.ts";
import type { Cell, TableName } from "../../core/state-tables.ts";

export function positionCells(position: SavedPosition): Cell[] {
  const { id, account, symbol, side, quantity, entryPrice, currentPrice, stopLoss, takeProfit } = position;
  const { entryTime, status, source, extra, updatedAt } = position;
  const head = [id, account, symbol, side, quantity, entryPrice, currentPrice, stopLoss, takeProfit];
  return [...head, entryTime, status, source, extra, updatedAt];
}

export function positionOf(cells: readonly Cell[]): SavedPosition {
  const row = new Reader("positions", cells);
  return {
    id: row.text("position_id"),
    account: row.text("account"),
    symbol: row.text("symbol"),
    side: row.text("side") === "long" ? "long" : "short",
    quantity: row.text("quantity"),
    entryPrice: row.maybe("entry_price"),
    currentPrice: row.maybe("current_price"),
    stopLoss: row.maybe("stop_loss"),
    takeProfit: row.maybe("take_profit"),
    entryTime: row.maybe("entry_time") === null ? null : row.number("entry_time"),
    // Safe: the schema allows only these words.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    status: row.text("status") as SavedPosition["status"],
    source: row.text("source"),
    extra: row.maybe("extra"),
    updatedAt: row.number("updated_at"),
  };
}

export function tradeCells(trade: SavedTrade): Cell[] {
  const { id, clientOrderId, symbol, side, quantity, price, pnl, commission, at } = trade;
  return [id, clientOrderId, symbol, side, quantity, price, pnl, commission, at];
}

export function tradeOf(cells: readonly Cell[]): SavedTrade {
  const row = new Reader("trades", cells);
  return {
    id: row.text("trade_id"),
    clientOrderId: row.maybe("client_order_id"),
    symbol: row.text("symbol"),
    side: row.text("side") === "buy" ? "buy" : "sell",
    quantity: row.text("quantity"),
    price: row.text("price"),
    pnl: row.maybe("pnl"),
    commission: row.maybe("commission"),
    at: row.number("at"),
  };
}

export function dayCells({ day, startEquity, realized, unrealized, fees, updatedAt }: SavedDay): Cell[] {
  return [day, startEquity, realized, unrealized, fees, updatedAt];
}

export function dayOf(cells: readonly Cell[]): SavedDay {
  const row = new Reader("daily", cells);
  return {
    day: row.text("day"),
    startEquity: row.text("start_equity"),
    realized: row.text("realized"),
    unrealized: row.text("unrealized"),
    fees: row.text("fees"),
    updatedAt: row.number("updated_at"),
  };
}

class Reader {
  readonly #table: TableName;
  readonly #cells: readonly Cell[];

  constructor(table: TableName, cells: readonly Cell[]) {
    this.#table = table;
    this.#cells = cells;
  }

  maybe(column: string): string | null {
    const cell = this.#cells[columnOf(this.#table, column)] ?? null;
    return cell === null ? null : String(cell);
  }

  text(column: string): string {
    return this.maybe(column) ?? "";
  }

  number(column: string): number {
    return Number(this.#cells[columnOf(this.#table, column)]);
  }
}
