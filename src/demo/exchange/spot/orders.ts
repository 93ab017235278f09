/**
 * Orders of the spot market: what is placed, matched at the mark price, refused and cancelled, as on Binance's "New order" page. The
 * books of the account hold a balance as a position without a side: its amount is never negative, and what sell orders claim is locked.
 */
import { remember, type Account, type Order, type Side, type TimeInForce } from "../account.ts";
import { missing, VenueError } from "../binance/errors.ts";
import { readNumber, readSide, readSpec, readText, readTimeInForce } from "../binance/rules.ts";
import type { Params } from "../binance/signing.ts";
import { digitsOf, isMultiple, round } from "../decimal.ts";
import type { SymbolSpec } from "../market.ts";
import { specOf, type Bend, type Books } from "../matching.ts";

const QUOTE_DIGITS = 8;
const TAKER_FEE_RATIO = 0.001;
/** Filter PERCENT_PRICE_BY_SIDE. */
export const BID_UP = 1.2;
export const ASK_DOWN = 0.8;

/** What sell orders that rest hold of an asset. */
export function locked(account: Account, symbol: string): number {
  let sum = 0;
  for (const order of account.openOrders.values())
    if (order.symbol === symbol && order.side === "SELL") sum += order.quantity - order.executed;
  return sum;
}

/** What buy orders that rest hold of the quote currency. */
export function lockedQuote(account: Account): number {
  let sum = 0;
  for (const order of account.openOrders.values())
    if (order.side === "BUY") sum += (order.quantity - order.executed) * order.price;
  return sum;
}

/** Places an order and matches it at once; throws the venue's refusal. `now` is the venue's time, ms. */
export function placeSpotOrder(books: Books, params: Params, now: number, bend: Bend): Order {
  const spec = readSpec(books.market, params);
  const type = readText(params, "type");
  if (type !== "MARKET" && type !== "LIMIT") throw new VenueError(-1116, "Invalid orderType.");
  const market = type === "MARKET";
  const quantity = readNumber(params, "quantity");
  if (quantity === undefined) throw missing("quantity");
  const price = market ? 0 : (readNumber(params, "price") ?? 0);
  if (!market && price <= 0) throw missing("price");
  const order = newOrder(books, { spec, side: readSide(params), market, quantity, price, params, now });
  checkFilters(books, spec, order);
  checkBalance(books, spec, order);
  const reached = market || (order.side === "BUY" ? price >= markOf(books, spec) : price <= markOf(books, spec));
  if (reached) take(books, spec, order, bend, now);
  else if (order.timeInForce === "GTC") books.account.openOrders.set(order.orderId, order);
  else books.account.finish(order, "EXPIRED", now);
  return order;
}

interface Asked {
  spec: SymbolSpec;
  side: Side;
  market: boolean;
  quantity: number;
  price: number;
  params: Params;
  now: number;
}

function newOrder({ account }: Books, { spec, side, market, quantity, price, params, now }: Asked): Order {
  const orderId = account.nextId();
  const clientOrderId = readClientOrderId(params, orderId, account.openOrders.values());
  const timeInForce: TimeInForce = market ? "GTC" : readTimeInForce(params);
  return {
    orderId,
    clientOrderId,
    symbol: spec.symbol,
    side,
    positionSide: "BOTH",
    type: market ? "MARKET" : "LIMIT",
    timeInForce,
    price,
    quantity,
    executed: 0,
    quote: 0,
    reduceOnly: false,
    closePosition: false,
    marginMode: "cross",
    status: "NEW",
    time: now,
    updateTime: now,
  };
}

/** The client's id of an order, or one that the venue makes. Throws for one that an order of `open` has. */
export function readClientOrderId(params: Params, orderId: number, open: Iterable<Order>): string {
  const id = params.get("newClientOrderId") ?? `auto-${orderId}`;
  for (const { clientOrderId } of open) if (clientOrderId === id) throw new VenueError(-2010, "Duplicate order sent.");
  return id;
}

/** Throws the refusal of the market filter that an order does not pass. */
export function checkFilters(books: Books, spec: SymbolSpec, { side, type, quantity, price }: Order): void {
  if (quantity <= 0) throw new VenueError(-1013, "Invalid quantity.");
  if (!isMultiple(quantity, spec.stepSize)) throw failed("LOT_SIZE");
  if (quantity < Number(spec.minQty) || quantity > Number(spec.maxQty)) throw failed("LOT_SIZE");
  if (type === "MARKET" && quantity > Number(spec.marketMaxQty)) throw failed("MARKET_LOT_SIZE");
  const mark = markOf(books, spec);
  if (price > 0 && !isMultiple(price, spec.tickSize)) throw failed("PRICE_FILTER");
  if (price > 0 && (side === "BUY" ? price > mark * BID_UP : price < mark * ASK_DOWN))
    throw failed("PERCENT_PRICE_BY_SIDE");
  if (quantity * (type === "MARKET" ? mark : price) < Number(spec.minNotional)) throw failed("NOTIONAL");
}

function failed(filter: string): VenueError {
  return new VenueError(-1013, `Filter failure: ${filter}`);
}

function checkBalance(books: Books, spec: SymbolSpec, { side, quantity, price }: Order): void {
  const { account } = books;
  const digits = digitsOf(spec.stepSize);
  const cost = quantity * (price === 0 ? markOf(books, spec) : price);
  const enough =
    side === "SELL"
      ? round(account.amount(spec.symbol, "BOTH") - locked(account, spec.symbol), digits) >= quantity
      : account.wallet - lockedQuote(account) >= cost;
  if (!enough) throw new VenueError(-2010, "Account has insufficient balance for requested action.");
}

/** Executes an order that its price or its type lets be executed; what `bend` leaves over expires. */
function take(books: Books, spec: SymbolSpec, order: Order, bend: Bend, now: number): void {
  const quantity = executable(order, spec, bend);
  if (quantity > 0) fill(books, spec, order, markOf(books, spec), quantity, now);
  books.account.finish(order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
}

/** How much of an order is executed at once, in whole steps of its market. */
export function executable({ quantity }: Order, { stepSize }: SymbolSpec, { fillRatio = 1 }: Bend): number {
  const scale = 10 ** digitsOf(stepSize);
  return fillRatio >= 1 ? quantity : Math.floor(quantity * fillRatio * scale + 1e-9) / scale;
}

function fill(books: Books, spec: SymbolSpec, order: Order, price: number, quantity: number, now: number): void {
  const { account } = books;
  const { orderId, clientOrderId, symbol, side, positionSide } = order;
  const signed = side === "BUY" ? quantity : -quantity;
  const held = account.position(symbol, "BOTH");
  const from = held?.amount ?? 0;
  const to = round(from + signed, QUOTE_DIGITS);
  // A balance below nothing: no venue has it, and a client that comes here has sold twice.
  if (to < 0) remember(account.flips, { symbol, clientOrderId, from, to });
  const entryPrice = held?.entryPrice ?? price;
  account.place({ symbol, positionSide: "BOTH", amount: to, entryPrice, marginMode: "cross" }, now);
  const commission = round(price * quantity * TAKER_FEE_RATIO, QUOTE_DIGITS);
  account.wallet = round(account.wallet - signed * price - commission, QUOTE_DIGITS);
  order.executed = round(order.executed + quantity, digitsOf(spec.stepSize));
  order.quote = round(order.quote + price * quantity, QUOTE_DIGITS);
  order.status = order.executed >= order.quantity ? "FILLED" : "PARTIALLY_FILLED";
  order.updateTime = now;
  const what = { orderId, clientOrderId, symbol, side, positionSide, price, quantity, commission };
  remember(account.fills, { id: account.nextId(), ...what, realizedPnl: 0, maker: false, time: now });
}

/** Fills every resting order that the mark price has reached, at its own price. */
export function matchSpotOrders(books: Books, now: number): void {
  for (const order of books.account.openOrders.values()) {
    const spec = specOf(books.market, order.symbol);
    const mark = markOf(books, spec);
    if (order.side === "BUY" ? mark > order.price : mark < order.price) continue;
    fill(books, spec, order, order.price, round(order.quantity - order.executed, digitsOf(spec.stepSize)), now);
    books.account.finish(order, "FILLED", now);
  }
}

function markOf({ market }: Books, { symbol }: SymbolSpec): number {
  return market.price(symbol);
}
