/** Matching against the mark price, the same on every venue: what fills, what rests, what expires. Liquidity is endless. */
import type { Account, Order, PositionSide, Side } from "./account.ts";
import type { Countdowns } from "./countdowns.ts";
import { digitsOf } from "./decimal.ts";
import type { Market, SymbolSpec } from "./market.ts";

export interface Books {
  account: Account;
  market: Market;
  countdowns: Countdowns;
}

/** How a fault bends one order. */
export interface Bend {
  /** Share of an order that fills at once; the rest expires. */
  fillRatio?: number;
  /** Refuse a reduce-only order whatever the position is. */
  rejectReduceOnly?: boolean;
}

/** Whether an order in hedge mode closes its leg. */
export function closesLeg(side: Side, positionSide: PositionSide): boolean {
  return (positionSide === "LONG" && side === "SELL") || (positionSide === "SHORT" && side === "BUY");
}

/** How much of the order's position an order of that side can reduce; 0 when it would add to it. */
export function reducible(account: Account, symbol: string, side: Side, positionSide: PositionSide): number {
  const amount = account.amount(symbol, positionSide);
  return side === "BUY" ? Math.max(0, -amount) : Math.max(0, amount);
}

/** What resting reduce-only orders of the same position already claim of it. */
export function claimed(account: Account, symbol: string, side: Side, positionSide: PositionSide): number {
  let sum = 0;
  for (const order of account.openOrders.values()) {
    const same = order.symbol === symbol && order.side === side && order.positionSide === positionSide;
    if (same && order.reduceOnly) sum += order.quantity - order.executed;
  }
  return sum;
}

/** Fills at the mark price; a reduce-only order is cut to the position it reduces, and what is left over expires. */
export function fillMarket(books: Books, order: Order, fillRatio: number, now: number): void {
  const { account, market } = books;
  const spec = specOf(market, order.symbol);
  const held = reducible(account, order.symbol, order.side, order.positionSide);
  const wanted = order.reduceOnly ? Math.min(order.quantity, held) : order.quantity;
  order.quantity = wanted;
  const quantity = fillRatio >= 1 ? wanted : floorToStep(wanted * fillRatio, spec);
  if (quantity > 0) account.fill(order, spec, market.takerPrice(order.symbol, order.side), quantity, false, now);
  account.finish(order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
  expireOrphans(account, order.symbol, now);
}

/** Whether a limit order would be executed at once. */
export function crosses({ market }: Books, order: Order): boolean {
  const mark = market.price(order.symbol);
  return order.side === "BUY" ? order.price >= mark : order.price <= mark;
}

/** A limit order after its venue's own rules: it fills at the mark price, rests, or (immediate-or-cancel) expires. */
export function fillOrRest(books: Books, order: Order, bend: Bend, now: number): void {
  const { account, market } = books;
  if (crosses(books, order)) fillResting(books, order, market.price(order.symbol), { maker: false, bend, now });
  else if (order.timeInForce === "IOC" || order.timeInForce === "FOK") account.finish(order, "EXPIRED", now);
  else account.openOrders.set(order.orderId, order);
}

/** Executes what is left of a limit order at `price`; reduce-only is cut to the position and the rest expires. */
function fillResting(
  books: Books,
  order: Order,
  price: number,
  { maker, bend, now }: { maker: boolean; bend: Bend; now: number },
): void {
  const { account } = books;
  const spec = specOf(books.market, order.symbol);
  const left = order.quantity - order.executed;
  const held = reducible(account, order.symbol, order.side, order.positionSide);
  const wanted = order.reduceOnly ? Math.min(left, held) : left;
  const quantity = bend.fillRatio === undefined ? wanted : floorToStep(wanted * bend.fillRatio, spec);
  if (quantity > 0) account.fill(order, spec, price, quantity, maker, now);
  account.finish(order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
  expireOrphans(account, order.symbol, now);
}

/** Fills every resting order that the mark price has reached. */
export function matchOrders(books: Books, now: number): void {
  for (const order of books.account.openOrders.values()) {
    const mark = books.market.price(order.symbol);
    const reached = order.side === "BUY" ? mark <= order.price : mark >= order.price;
    if (!reached) continue;
    if (books.market.restingFill < 1) fillShare(books, order, books.market.restingFill, now);
    else fillResting(books, order, order.price, { maker: true, bend: {}, now });
  }
}

/** Executes that share of what is left of every resting order, at its own price, wherever the mark price is. */
export function fillShares(books: Books, ratio: number, now: number): void {
  for (const order of books.account.openOrders.values()) fillShare(books, order, ratio, now);
}

/** At least a lot; a reduce-only order is cut to its position. What is left goes on resting. */
function fillShare(books: Books, order: Order, ratio: number, now: number): void {
  const { account } = books;
  const spec = specOf(books.market, order.symbol);
  const left = order.quantity - order.executed;
  const held = reducible(account, order.symbol, order.side, order.positionSide);
  const wanted = ratio === 0 ? 0 : Math.max(Number(spec.stepSize), floorToStep(left * ratio, spec));
  const quantity = Math.min(wanted, left, order.reduceOnly ? held : left);
  if (quantity > 0) account.fill(order, spec, order.price, quantity, true, now);
  if (order.executed >= order.quantity) account.finish(order, "FILLED", now);
  expireOrphans(account, order.symbol, now);
}

/** Reduce-only orders whose position is gone expire, as on the venues. */
function expireOrphans(account: Account, symbol: string, now: number): void {
  for (const order of account.openOrders.values()) {
    if (order.symbol !== symbol || !order.reduceOnly) continue;
    if (reducible(account, symbol, order.side, order.positionSide) === 0) account.finish(order, "EXPIRED", now);
  }
}

export function specOf(market: Market, symbol: string): SymbolSpec {
  const spec = market.specs.get(symbol);
  if (spec === undefined) throw new Error(`internal error: ${symbol} is not listed`);
  return spec;
}

function floorToStep(quantity: number, spec: SymbolSpec): number {
  const scale = 10 ** digitsOf(spec.stepSize);
  return Math.floor(quantity * scale + 1e-9) / scale;
}
