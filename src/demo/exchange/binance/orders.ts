/** Regular orders: placing, matching against the mark price, cancelling. Rules as on Binance's "New Order" and "Cancel Order" pages. */
import type { Account, Order, PositionSide, Side, TimeInForce } from "../account.ts";
import { claimed, closesLeg, crosses, fillMarket, fillOrRest, reducible, type Bend, type Books } from "../matching.ts";
import type { SymbolSpec } from "../market.ts";
import { affords } from "../valuation.ts";
import { missing, VenueError } from "./errors.ts";
import {
  checkNotional,
  checkPrice,
  checkPriceBand,
  checkQuantity,
  MAX_NUM_ORDERS,
  readClientId,
  readNumber,
  readPositionSide,
  readReduceOnly,
  readSide,
  readSpec,
  readText,
  readTimeInForce,
} from "./rules.ts";
import type { Params } from "./signing.ts";

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
    marginMode: "cross",
    status: "NEW",
    time: now,
    updateTime: now,
  };
  if (request.market) fillMarket(books, order, bend.fillRatio ?? 1, now);
  else restOrFill(books, order, bend, now);
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
  const { spec, side, positionSide } = request;
  const held = reducible(account, spec.symbol, side, positionSide);
  if (held === 0 || bend.rejectReduceOnly === true) throw new VenueError(-2022, "ReduceOnly Order is rejected.");
  if (claimed(account, spec.symbol, side, positionSide) >= held) {
    const text = "ReduceOnly Order Failed. Please check your existing position and open orders";
    throw new VenueError(-4118, text);
  }
}

function checkOpens(books: Books, request: Request): void {
  const { account, market } = books;
  const symbol = request.spec.symbol;
  const notional = request.quantity * (request.market ? market.price(symbol) : request.price);
  checkNotional(request.spec, notional);
  if (!affords(books, symbol, notional)) throw new VenueError(-2019, "Margin is insufficient.");
  const resting = [...account.openOrders.values()].filter((order) => order.symbol === symbol);
  if (resting.length >= MAX_NUM_ORDERS) throw new VenueError(-2025, "Reach max open order limit.");
}

function restOrFill(books: Books, order: Order, bend: Bend, now: number): void {
  const taken = crosses(books, order);
  if (taken && order.timeInForce === "GTX") {
    const text = "Due to the order could not be executed as maker, the Post Only order will be rejected.";
    throw new VenueError(-5022, text);
  }
  if (!taken && order.timeInForce === "FOK") {
    const text = "Due to the order could not be filled immediately, the FOK order has been rejected.";
    throw new VenueError(-5021, text);
  }
  fillOrRest(books, order, bend, now);
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
