/** What positions are worth at the mark price and what margin is left: the same sums on every venue. */
import type { Position } from "./account.ts";
import { specOf, type Books } from "./matching.ts";

/** Maintenance margin of every position, as a share of its notional; one tier is enough for paper. */
export const MAINTENANCE_RATIO = 0.004;

interface Value {
  mark: number;
  /** Signed: short is negative. */
  notional: number;
  unrealized: number;
  initialMargin: number;
  maintMargin: number;
}

/** A position at the mark price, USDT. */
export function valueOf({ account, market }: Books, position: Position): Value {
  const mark = market.price(position.symbol);
  const units = position.amount * specOf(market, position.symbol).contractSize;
  const notional = units * mark;
  return {
    mark,
    notional,
    unrealized: (mark - position.entryPrice) * units,
    initialMargin: Math.abs(notional) / account.leverageOf(position.symbol),
    maintMargin: Math.abs(notional) * MAINTENANCE_RATIO,
  };
}

interface Totals {
  unrealized: number;
  margin: number;
  maint: number;
  equity: number;
  /** Margin that is free; never negative. */
  available: number;
}

export function totalsOf(books: Books): Totals {
  const all = [...books.account.positions.values()].map((position) => valueOf(books, position));
  const sum = (pick: (entry: Value) => number): number => all.reduce((total, entry) => total + pick(entry), 0);
  const unrealized = sum((entry) => entry.unrealized);
  const margin = sum((entry) => entry.initialMargin);
  const equity = books.account.wallet + unrealized;
  const maint = sum((entry) => entry.maintMargin);
  return { unrealized, margin, maint, equity, available: Math.max(0, equity - margin) };
}

/** Whether `notional` more exposure finds its margin, USDT. */
export function affords(books: Books, symbol: string, notional: number): boolean {
  const { unrealized, margin } = totalsOf(books);
  return notional / books.account.leverageOf(symbol) <= books.account.wallet + unrealized - margin;
}
