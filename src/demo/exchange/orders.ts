/** Regular orders: placing, matching against the mark price, cancelling. Rules as on Binance's "New Order" and "Cancel Order" pages. */
import type { Account, Order, PositionSide, Side, TimeInForce } from "./account.ts";
import { digitsOf } from "./decimal.ts";
import { missing, VenueError } from "./errors.ts";
import type { Market, SymbolSpec } from "./market.ts";
import {
  checkMargin,
  checkNotional,
  checkPrice,
  checkPriceBand,
  checkQuantity,
  closesLeg,
  MAX_NUM_ORDERS,
  readClientId,
  readNumber,
  readPositionSide,
  readReduceOnly,
  readSide,
  readSpec,
  readText,
  readTimeInForce,
  reducible,
} from "./rules.ts";
import type { Params } from "./signing.ts";

export interface Books {
  account: Account;
  market: Market;
}

/** How a fault bends one order. */
export interface Bend {
  /** Share of a market order that fills; the rest expires. */
  fillRatio?: number;
  /** Refuse a reduce-only order whatever the position is. */
  rejectReduceOnly?: boolean;
}

interface Request {
  spec: SymbolSpec;
  side: Side;
  positionSide: PositionSide;
  market: boolean;
  timeInForce: TimeInForce;
  quantity: number;
  price: number;
  clientOrderId: string;
  /** Takes away from a position and never adds: said by the parameter, or in hedge mode by side and leg. */
  reduces: boolean;
}

/** Places an order and matches it at once; throws the venue's refusal. `now` is the venue's time, ms. */
export function placeOrder(books: Books, params: Params, now: number, bend: Bend = {}): Order {
  const request = checkOrder(books, params, bend);
  const order: Order = {
    orderId: books.account.nextId(),
    clientOrderId: request.clientOrderId,
    symbol: request.spec.symbol,
    side: request.side,
    positionSide: request.positionSide,
    type: request.market ? "MARKET" : "LIMIT",
    timeInForce: request.timeInForce,
    price: request.price,
    quantity: request.quantity,
    executed: 0,
    quote: 0,
    reduceOnly: request.reduces,
    closePosition: false,
    status: "NEW",
    time: now,
    updateTime: now,
  };
  if (request.market) fillMarket(books, order, bend.fillRatio ?? 1, now);
  else fillOrRest(books, order, request.spec, now);
  return order;
}

/** Throws what placing this order would throw, and places nothing. */
export function testOrder(books: Books, params: Params): void {
  checkOrder(books, params, {});
}

function checkOrder(books: Books, params: Params, bend: Bend): Request {
  const request = readRequest(books, params);
  if (request.reduces) checkReduces(books.account, request, bend);
  else checkOpens(books, request);
  return request;
}

function readRequest(books: Books, params: Params): Request {
  const { account, market } = books;
  const spec = readSpec(market, params);
  const side = readSide(params);
  const type = readText(params, "type");
  if (type !== "MARKET" && type !== "LIMIT") throw refusedType(type);
  const positionSide = readPositionSide(account, params);
  const reduceOnly = readReduceOnly(account, params);
  const quantity = readNumber(params, "quantity");
  if (quantity === undefined) throw missing("quantity");
  checkQuantity(spec, quantity, type === "MARKET");
  const taken = [...account.openOrders.values()].map((order) => order.clientOrderId);
  const clientOrderId = readClientId(params, "newClientOrderId", taken, `auto-${account.nextId()}`);
  const price = readNumber(params, "price") ?? 0;
  if (type === "LIMIT") {
    if (!params.has("price")) throw missing("price");
    if (!params.has("timeInForce")) throw missing("timeInForce");
    checkPrice(spec, price);
    checkPriceBand(side, price, market.price(spec.symbol));
  }
  return {
    spec,
    side,
    positionSide,
    market: type === "MARKET",
    timeInForce: readTimeInForce(params),
    quantity,
    price: type === "LIMIT" ? price : 0,
    clientOrderId,
    reduces: reduceOnly || closesLeg(side, positionSide),
  };
}

function refusedType(type: string): VenueError {
  const conditional = ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"];
  if (!conditional.includes(type)) return new VenueError(-1116, "Invalid orderType.");
  const text = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.";
  return new VenueError(-4120, text);
}

/** A reduce-only order needs something to reduce that no resting reduce-only order already claims. */
function checkReduces(account: Account, request: Request, bend: Bend): void {
  const held = reducible(account, request.spec.symbol, request.side, request.positionSide);
  if (held === 0 || bend.rejectReduceOnly === true) throw new VenueError(-2022, "ReduceOnly Order is rejected.");
  let claimed = 0;
  for (const order of account.openOrders.values()) {
    const same = order.symbol === request.spec.symbol && order.side === request.side;
    if (same && order.positionSide === request.positionSide && order.reduceOnly)
      claimed += order.quantity - order.executed;
  }
  if (claimed >= held) {
    const text = "ReduceOnly Order Failed. Please check your existing position and open orders";
    throw new VenueError(-4118, text);
  }
}

function checkOpens(books: Books, request: Request): void {
  const { account, market } = books;
  const symbol = request.spec.symbol;
  const notional = request.quantity * (request.market ? market.price(symbol) : request.price);
  checkNotional(request.spec, notional);
  checkMargin(account, market, symbol, notional);
  const resting = [...account.openOrders.values()].filter((order) => order.symbol === symbol);
  if (resting.length >= MAX_NUM_ORDERS) throw new VenueError(-2025, "Reach max open order limit.");
}

/** Fills at the mark price; a reduce-only order is cut to the position it reduces. */
export function fillMarket(books: Books, order: Order, fillRatio: number, now: number): void {
  const { account, market } = books;
  const spec = specOf(market, order.symbol);
  const held = reducible(account, order.symbol, order.side, order.positionSide);
  const wanted = order.reduceOnly ? Math.min(order.quantity, held) : order.quantity;
  order.quantity = wanted;
  const quantity = fillRatio >= 1 ? wanted : floorToStep(wanted * fillRatio, spec);
  if (quantity > 0) account.fill(order, spec, market.price(order.symbol), quantity, false, now);
  account.finish(order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
  expireOrphans(account, order.symbol, now);
}

function fillOrRest(books: Books, order: Order, spec: SymbolSpec, now: number): void {
  const { account, market } = books;
  const mark = market.price(order.symbol);
  const crosses = order.side === "BUY" ? order.price >= mark : order.price <= mark;
  if (crosses && order.timeInForce === "GTX") {
    const text = "Due to the order could not be executed as maker, the Post Only order will be rejected.";
    throw new VenueError(-5022, text);
  }
  if (!crosses && order.timeInForce === "FOK") {
    const text = "Due to the order could not be filled immediately, the FOK order has been rejected.";
    throw new VenueError(-5021, text);
  }
  if (crosses) {
    fillResting(books, order, spec, mark, false, now);
  } else if (order.timeInForce === "IOC") {
    account.finish(order, "EXPIRED", now);
  } else {
    account.openOrders.set(order.orderId, order);
  }
}

/** Executes what is left of a limit order at `price`; reduce-only is cut to the position and the rest expires. */
function fillResting(books: Books, order: Order, spec: SymbolSpec, price: number, maker: boolean, now: number): void {
  const { account } = books;
  const left = order.quantity - order.executed;
  const held = reducible(account, order.symbol, order.side, order.positionSide);
  const quantity = order.reduceOnly ? Math.min(left, held) : left;
  if (quantity > 0) account.fill(order, spec, price, quantity, maker, now);
  account.finish(order, order.executed >= order.quantity ? "FILLED" : "EXPIRED", now);
  expireOrphans(account, order.symbol, now);
}

/** Fills every resting order that the mark price has reached. */
export function matchOrders(books: Books, now: number): void {
  for (const order of books.account.openOrders.values()) {
    const mark = books.market.price(order.symbol);
    const reached = order.side === "BUY" ? mark <= order.price : mark >= order.price;
    if (reached) fillResting(books, order, specOf(books.market, order.symbol), order.price, true, now);
  }
}

/** Reduce-only orders whose position is gone expire, as on the venue. */
function expireOrphans(account: Account, symbol: string, now: number): void {
  for (const order of account.openOrders.values()) {
    if (order.symbol !== symbol || !order.reduceOnly) continue;
    if (reducible(account, symbol, order.side, order.positionSide) === 0) account.finish(order, "EXPIRED", now);
  }
}

/** Cancels one order named by `orderId` or `origClientOrderId`; −2011 when no such order is open. */
export function cancelOrder(books: Books, params: Params, now: number): Order {
  const order = findOrder([...books.account.openOrders.values()], readSpec(books.market, params).symbol, params);
  if (order === undefined) throw new VenueError(-2011, "Unknown order sent.");
  books.account.finish(order, "CANCELED", now);
  return order;
}

/** An order in any state, the newest of that name; −2013 when there is none. */
export function queryOrder(books: Books, params: Params): Order {
  const { account } = books;
  const all = [...account.closedOrders, ...account.openOrders.values()].toReversed();
  const order = findOrder(all, readSpec(books.market, params).symbol, params);
  if (order === undefined) throw new VenueError(-2013, "Order does not exist.");
  return order;
}

export function cancelAllOrders(books: Books, params: Params, now: number): void {
  const { symbol } = readSpec(books.market, params);
  for (const order of books.account.openOrders.values()) {
    if (order.symbol === symbol) books.account.finish(order, "CANCELED", now);
  }
}

function findOrder(orders: readonly Order[], symbol: string, params: Params): Order | undefined {
  const id = params.get("orderId");
  const clientId = params.get("origClientOrderId");
  if (id === undefined && clientId === undefined) {
    throw new VenueError(-1102, "Param 'orderId' or 'origClientOrderId' must be sent, but both were empty/null!");
  }
  return orders.find(
    (order) =>
      order.symbol === symbol && (id === undefined ? order.clientOrderId === clientId : String(order.orderId) === id),
  );
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
