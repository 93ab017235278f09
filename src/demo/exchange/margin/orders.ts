/**
 * Margin orders as on Binance's "Margin Account New Order" page: filled at the mark price, filters of the spot market, and the side
 * effects on loans: MARGIN_BUY and AUTO_BORROW_REPAY borrow what is missing, AUTO_REPAY repays with what the order brings.
 */
import { remember, type Side, type TimeInForce } from "../account.ts";
import { missing, VenueError } from "../binance/errors.ts";
import { readFlag, readNumber, readSide, readSpec, readText, readTimeInForce } from "../binance/rules.ts";
import type { Params } from "../binance/signing.ts";
import { digitsOf, round } from "../decimal.ts";
import type { SymbolSpec } from "../market.ts";
import { specOf, type Bend, type Books } from "../matching.ts";
import { checkFilters, executable, readClientOrderId } from "../spot/orders.ts";
import { CROSS, netOf, type MarginOrder, type MarginWallets } from "./wallets.ts";

export const QUOTE = "USDT";
/** Taken from what an order brings. */
const FEE_RATIO = 0.001;
const DIGITS = 8;
const BORROWS: ReadonlySet<string> = new Set(["MARGIN_BUY", "AUTO_BORROW_REPAY"]);
const REPAYS: ReadonlySet<string> = new Set(["AUTO_REPAY", "AUTO_BORROW_REPAY"]);
const SIDE_EFFECTS: ReadonlySet<string> = new Set(["NO_SIDE_EFFECT", ...BORROWS, ...REPAYS]);

export interface MarginBooks {
  readonly books: Books;
  readonly wallets: MarginWallets;
}

/** The wallet that a request is for. */
export function walletOf({ books }: MarginBooks, params: Params): string {
  return readFlag(params, "isIsolated") ? readSpec(books.market, params).symbol : CROSS;
}

/** Places an order and matches it at once; throws the venue's refusal. `now` is the venue's time, ms. */
export function placeMarginOrder(margin: MarginBooks, params: Params, now: number, bend: Bend): MarginOrder {
  const { books, wallets } = margin;
  const spec = readSpec(books.market, params);
  const order = newOrder(margin, spec, params, now);
  checkFilters(books, spec, order);
  const market = order.type === "MARKET";
  const price = books.market.price(spec.symbol);
  const [given, amount] = outOf(spec, order, market ? price : order.price);
  cover(margin, order, given, amount);
  const reached = market || (order.side === "BUY" ? order.price >= price : order.price <= price);
  if (reached) take(margin, spec, order, bend, now);
  else if (order.timeInForce === "GTC") {
    wallets.orders.set(order.orderId, order);
    wallets.lock(order.wallet, given, amount);
  } else finish(margin, order, "EXPIRED", now);
  return order;
}

/** Takes an order off the book and gives back what it held. */
export function cancelMarginOrder(margin: MarginBooks, order: MarginOrder, now: number): void {
  release(margin, order);
  finish(margin, order, "CANCELED", now);
}

/** Puts an order there past every rule; it locks what it would take. */
export function seedMarginOrder(margin: MarginBooks, order: MarginOrder): void {
  margin.wallets.orders.set(order.orderId, order);
  const [asset, amount] = outOf(specOf(margin.books.market, order.symbol), order, order.price);
  margin.wallets.lock(order.wallet, asset, amount);
}

/** Fills every resting order that the mark price has reached, at its own price. */
export function matchMarginOrders(margin: MarginBooks, now: number): void {
  for (const order of margin.wallets.orders.values()) {
    const spec = specOf(margin.books.market, order.symbol);
    const price = margin.books.market.price(order.symbol);
    if (order.stopPrice > 0 || (order.side === "BUY" ? price > order.price : price < order.price)) continue;
    release(margin, order);
    fill(margin, spec, order, order.price, order.quantity, now);
    finish(margin, order, "FILLED", now);
  }
}

function newOrder({ books, wallets }: MarginBooks, spec: SymbolSpec, params: Params, now: number): MarginOrder {
  const type = readText(params, "type");
  if (type !== "MARKET" && type !== "LIMIT") throw new VenueError(-1116, "Invalid orderType.");
  const market = type === "MARKET";
  const quantity = readNumber(params, "quantity");
  if (quantity === undefined) throw missing("quantity");
  const price = market ? 0 : (readNumber(params, "price") ?? 0);
  if (!market && price <= 0) throw missing("price");
  const sideEffect = params.get("sideEffectType") ?? "NO_SIDE_EFFECT";
  if (!SIDE_EFFECTS.has(sideEffect)) throw new VenueError(-1106, "Parameter 'sideEffectType' sent when not required.");
  const orderId = books.account.nextId();
  const clientOrderId = readClientOrderId(params, orderId, wallets.orders.values());
  const timeInForce: TimeInForce = market ? "GTC" : readTimeInForce(params);
  return {
    orderId,
    clientOrderId,
    symbol: spec.symbol,
    side: readSide(params),
    positionSide: "BOTH",
    type,
    timeInForce,
    price,
    quantity,
    executed: 0,
    quote: 0,
    reduceOnly: false,
    closePosition: false,
    marginMode: params.get("isIsolated")?.toLowerCase() === "true" ? "isolated" : "cross",
    status: "NEW",
    time: now,
    updateTime: now,
    wallet: walletOf({ books, wallets }, params),
    sideEffect,
    stopPrice: 0,
  };
}

/** What an order gives away, and how much of it. */
function outOf(
  spec: SymbolSpec,
  { side, quantity, executed }: { side: Side; quantity: number; executed: number },
  price: number,
): [string, number] {
  const left = quantity - executed;
  return side === "SELL" ? [spec.baseAsset, round(left, DIGITS)] : [QUOTE, round(left * price, DIGITS)];
}

/** There is enough, or enough is borrowed, where the order says so. */
function cover({ wallets }: MarginBooks, order: MarginOrder, asset: string, amount: number): void {
  const { wallet, sideEffect, clientOrderId } = order;
  const short = round(amount - wallets.balance(wallet, asset).free, DIGITS);
  if (short <= 0) return;
  if (!BORROWS.has(sideEffect)) throw new VenueError(-2010, "Account has insufficient balance for requested action.");
  wallets.borrow(wallet, asset, short, clientOrderId);
}

function take(margin: MarginBooks, spec: SymbolSpec, order: MarginOrder, bend: Bend, now: number): void {
  const quantity = executable(order, spec, bend);
  const price = margin.books.market.takerPrice(spec.symbol, order.side);
  if (quantity > 0) fill(margin, spec, order, price, quantity, now);
  finish(margin, order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
}

function fill(
  { books: { account }, wallets }: MarginBooks,
  { baseAsset, stepSize }: SymbolSpec,
  order: MarginOrder,
  price: number,
  quantity: number,
  now: number,
): void {
  const { orderId, clientOrderId, symbol, side, positionSide, wallet } = order;
  const from = netOf(wallets.balance(wallet, baseAsset));
  const cost = round(price * quantity, DIGITS);
  const [given, gave, taken, took] =
    side === "SELL" ? [baseAsset, quantity, QUOTE, cost] : [QUOTE, cost, baseAsset, quantity];
  const commission = round(took * FEE_RATIO, DIGITS);
  wallets.move(wallet, given, -gave);
  wallets.move(wallet, taken, took - commission);
  if (REPAYS.has(order.sideEffect)) wallets.repay(wallet, taken, took - commission, clientOrderId);
  const to = netOf(wallets.balance(wallet, baseAsset));
  // One lot is what rounding a purchase up may leave.
  const turned = (from > 0 && to < 0) || (from < 0 && to > Number(stepSize));
  if (turned) remember(account.flips, { symbol, clientOrderId, from, to });
  order.executed = round(order.executed + quantity, digitsOf(stepSize));
  order.quote = round(order.quote + cost, DIGITS);
  order.status = order.executed >= order.quantity ? "FILLED" : "PARTIALLY_FILLED";
  order.updateTime = now;
  const what = { orderId, clientOrderId, symbol, side, positionSide, price, quantity, commission };
  remember(account.fills, { id: account.nextId(), ...what, realizedPnl: 0, maker: false, time: now });
}

function release({ books, wallets }: MarginBooks, order: MarginOrder): void {
  const [asset, amount] = outOf(specOf(books.market, order.symbol), order, order.price);
  wallets.lock(order.wallet, asset, -amount);
}

function finish({ wallets }: MarginBooks, order: MarginOrder, status: MarginOrder["status"], now: number): void {
  order.status = status;
  order.updateTime = now;
  wallets.orders.delete(order.orderId);
  remember(wallets.closedOrders, order);
}
