/** Regular orders and their refusals, as OKX's "Place order" and "Cancel order" pages and its trade error codes have them. */
import type { MarginMode, Order, PositionSide, Side, TimeInForce } from "../account.ts";
import { isMultiple } from "../decimal.ts";
import type { SymbolSpec } from "../market.ts";
import { claimed, closesLeg, crosses, fillMarket, fillOrRest, reducible, type Bend, type Books } from "../matching.ts";
import { affords } from "../valuation.ts";
import { ItemError, wrongParameter } from "./errors.ts";
import {
  readClientId,
  readMarginMode,
  readPositionSide,
  readPositive,
  readSide,
  readSpec,
  type Params,
} from "./params.ts";

interface Request {
  spec: SymbolSpec;
  side: Side;
  positionSide: PositionSide;
  marginMode: MarginMode;
  ordType: string;
  timeInForce: TimeInForce;
  quantity: number;
  /** 0 for a market order. */
  price: number;
  clientId: string;
  reduces: boolean;
}

const TIME_IN_FORCE: Readonly<Record<string, TimeInForce>> = {
  market: "IOC",
  limit: "GTC",
  post_only: "GTX",
  ioc: "IOC",
  fok: "FOK",
};
/** A limit price may be 5 % worse than the mark price. */
const PRICE_LIMIT_RATIO = 0.05;

/** Places an order and matches it at once; throws the venue's refusal. `now` is the venue's time, ms. */
export function placeOrder(books: Books, params: Params, now: number, bend: Bend = {}): Order {
  const request = readRequest(books, params);
  if (request.reduces) checkReduces(books, request, bend);
  else checkOpens(books, request);
  const order: Order = {
    orderId: books.account.nextId(),
    clientOrderId: request.clientId,
    symbol: request.spec.symbol,
    side: request.side,
    positionSide: request.positionSide,
    type: request.ordType,
    timeInForce: request.timeInForce,
    price: request.price,
    quantity: request.quantity,
    executed: 0,
    quote: 0,
    reduceOnly: request.reduces,
    closePosition: false,
    marginMode: request.marginMode,
    status: "NEW",
    time: now,
    updateTime: now,
  };
  if (request.price === 0) fillMarket(books, order, bend.fillRatio ?? 1, now);
  // Post-only that would take is acknowledged, then cancelled.
  else if (request.timeInForce === "GTX" && crosses(books, order)) books.account.finish(order, "CANCELED", now);
  else fillOrRest(books, order, bend, now);
  return order;
}

/**
 * Closes what there is of a position at the market, whatever its size and whatever rests on its symbol, as OKX's "Close positions"
 * page has it; throws 51023 when there is none.
 */
export function closeWhole(books: Books, params: Params, now: number, bend: Bend = {}): Order {
  const { account, market } = books;
  const { symbol } = readSpec(market, params);
  const positionSide = readPositionSide(account.hedge, params);
  const marginMode = readMarginMode(params, "mgnMode");
  const clientOrderId = readClientId(params, "clOrdId");
  const position = account.position(symbol, positionSide);
  if (position === undefined || position.marginMode !== marginMode || bend.rejectReduceOnly === true)
    throw new ItemError("51023", "Position does not exist.");
  const order: Order = {
    orderId: account.nextId(),
    clientOrderId,
    symbol,
    side: position.amount > 0 ? "SELL" : "BUY",
    positionSide,
    type: "market",
    timeInForce: "IOC",
    price: 0,
    quantity: Math.abs(position.amount),
    executed: 0,
    quote: 0,
    reduceOnly: true,
    closePosition: true,
    marginMode,
    status: "NEW",
    time: now,
    updateTime: now,
  };
  fillMarket(books, order, bend.fillRatio ?? 1, now);
  return order;
}

function readRequest(books: Books, params: Params): Request {
  const { account, market } = books;
  const spec = readSpec(market, params);
  const ordType = params.get("ordType") ?? "";
  const timeInForce = Object.hasOwn(TIME_IN_FORCE, ordType) ? TIME_IN_FORCE[ordType] : undefined;
  if (timeInForce === undefined) throw wrongParameter("ordType");
  const side = readSide(params);
  const positionSide = readPositionSide(account.hedge, params);
  const marginMode = readMarginMode(params);
  const clientId = readClientId(params, "clOrdId");
  for (const open of account.openOrders.values()) {
    if (clientId !== "" && open.clientOrderId === clientId)
      throw new ItemError("51016", "Client order ID already exists.");
  }
  const quantity = readPositive(params, "sz");
  checkSize(spec, quantity, ordType === "market");
  const price = ordType === "market" ? 0 : readPositive(params, "px");
  if (price !== 0) checkPrice(books, spec, side, price);
  // In hedge mode side and leg say it, and the parameter is ignored.
  const reduces = account.hedge ? closesLeg(side, positionSide) : params.get("reduceOnly") === "true";
  return { spec, side, positionSide, marginMode, ordType, timeInForce, quantity, price, clientId, reduces };
}

function checkSize(spec: SymbolSpec, quantity: number, market: boolean): void {
  if (!isMultiple(quantity, spec.stepSize)) {
    throw new ItemError("51121", "Order quantity must be a multiple of the lot size.");
  }
  if (quantity < Number(spec.minQty)) {
    throw new ItemError("51020", "Your order should meet or exceed the minimum order amount.");
  }
  if (market && quantity > Number(spec.marketMaxQty)) {
    throw new ItemError("51202", "Market order amount exceeds the maximum amount.");
  }
  if (quantity > Number(spec.maxQty)) throw new ItemError("51203", `Order amount exceeds the limit ${spec.maxQty}.`);
}

function checkPrice({ market }: Books, spec: SymbolSpec, side: Side, price: number): void {
  if (!isMultiple(price, spec.tickSize)) throw wrongParameter("px");
  const mark = market.price(spec.symbol);
  const [highest, lowest] = [mark * (1 + PRICE_LIMIT_RATIO), mark * (1 - PRICE_LIMIT_RATIO)];
  if (side === "BUY" ? price <= highest : price >= lowest) return;
  const range = `(Maximum buy price: ${highest.toFixed(2)}, minimum sell price: ${lowest.toFixed(2)})`;
  throw new ItemError("51006", `Order price is not within the price limit ${range}`);
}

/** The margin mode must be the position's own; in hedge mode nothing is cut, a close that is too large is refused. */
function checkReduces(
  { account }: Books,
  { spec, side, positionSide, marginMode, quantity }: Request,
  bend: Bend,
): void {
  const position = account.position(spec.symbol, positionSide);
  const held = reducible(account, spec.symbol, side, positionSide);
  if (position === undefined || position.marginMode !== marginMode || bend.rejectReduceOnly === true) {
    const text =
      "Order failed because you don't have any positions in this direction for this contract to reduce or close.";
    throw new ItemError("51169", text);
  }
  if (held === 0) {
    const text =
      "Failed to place order. A reduce-only order can't be the same trading direction as your existing positions.";
    throw new ItemError("51170", text);
  }
  const left = held - claimed(account, spec.symbol, side, positionSide);
  if (account.hedge && quantity > left + Number(spec.stepSize) / 2) {
    throw new ItemError("51112", "Close order size exceeds available size for this position.");
  }
  if (left <= 0)
    throw new ItemError("51206", "Please cancel your pending reduce-only orders to avoid reverse opening.");
}

function checkOpens(books: Books, { spec, positionSide, marginMode, quantity, price }: Request): void {
  const held = books.account.position(spec.symbol, positionSide);
  // The real venue keeps one position per margin mode; here a symbol has one mode at a time.
  if (held !== undefined && held.marginMode !== marginMode) throw wrongParameter("tdMode");
  const notional = quantity * spec.contractSize * (price === 0 ? books.market.price(spec.symbol) : price);
  if (!affords(books, spec.symbol, notional)) {
    throw new ItemError("51008", "Order failed. Insufficient USDT margin in account");
  }
}

/** Cancels one order named by `ordId` or `clOrdId`; 51400 when no such order is open. */
export function cancelOrder(books: Books, params: Params, now: number): Order {
  const order = [...books.account.openOrders.values()].find((open) => names(open, params));
  if (order === undefined) {
    const text = "Order cancellation failed as the order has been filled, canceled or does not exist.";
    throw new ItemError("51400", text);
  }
  books.account.finish(order, "CANCELED", now);
  return order;
}

/** An order in any state, the newest of that name; 51603 when there is none. */
export function queryOrder({ account }: Books, params: Params): Order {
  const all = [...account.closedOrders, ...account.openOrders.values()].toReversed();
  const order = all.find((each) => names(each, params));
  if (order === undefined) throw new ItemError("51603", "Order does not exist");
  return order;
}

function names(order: Order, params: Params): boolean {
  const id = params.get("ordId") ?? "";
  const clientId = params.get("clOrdId") ?? "";
  if (id === "" && clientId === "") throw new ItemError("51003", "Either client order ID or order ID is required.");
  if (order.symbol !== params.get("instId")) return false;
  return id === "" ? order.clientOrderId === clientId : String(order.orderId) === id;
}
