/** Conditional orders, a class of their own since 2025-12-09 (/fapi/v1/algoOrder): regular endpoints neither list nor cancel them. */
import type { AlgoOrder } from "../account.ts";
import { closesLeg, specOf, type Books } from "../matching.ts";
import { reached } from "../triggers.ts";
import { missing, VenueError } from "./errors.ts";
import { placeOrder } from "./orders.ts";
import {
  checkPrice,
  checkQuantity,
  MAX_NUM_ALGO_ORDERS,
  readClientId,
  readFlag,
  readNumber,
  readPositionSide,
  readReduceOnly,
  readSide,
  readSpec,
  readText,
  readTimeInForce,
} from "./rules.ts";
import type { Params } from "./signing.ts";

const TYPES: readonly string[] = ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"];

/** Places a conditional order; throws the venue's refusal. */
export function placeAlgoOrder(books: Books, params: Params, now: number): AlgoOrder {
  const { account, market } = books;
  if (readText(params, "algoType") !== "CONDITIONAL")
    throw new VenueError(-1130, "Data sent for parameter 'algoType' is not valid.");
  const spec = readSpec(market, params);
  const side = readSide(params);
  const orderType = readText(params, "type");
  if (!TYPES.includes(orderType)) throw new VenueError(-1116, "Invalid orderType.");
  const positionSide = readPositionSide(account, params);
  const closePosition = readFlag(params, "closePosition");
  const reduceOnly = readReduceOnly(account, params);
  const triggerPrice = readNumber(params, "triggerPrice");
  if (triggerPrice === undefined) throw missing("triggerPrice");
  checkPrice(spec, triggerPrice);
  const order: AlgoOrder = {
    algoId: account.nextId(),
    clientAlgoId: readClientId(params, "clientAlgoId", takenIds(books), `auto-${account.nextId()}`),
    orderType,
    symbol: spec.symbol,
    side,
    positionSide,
    timeInForce: readTimeInForce(params),
    quantity: readQuantity(books, params, closePosition, orderType),
    triggerPrice,
    price: readLimitPrice(books, params, orderType),
    workingType: params.get("workingType") ?? "CONTRACT_PRICE",
    priceProtect: readFlag(params, "priceProtect"),
    closePosition,
    reduceOnly: reduceOnly || closesLeg(side, positionSide),
    // A stop waits for the price to move against its position, a take-profit for the other way.
    rising: (side === "BUY") === orderType.startsWith("STOP"),
    marginMode: "cross",
    status: "NEW",
    createTime: now,
    updateTime: now,
    triggerTime: 0,
  };
  if (reached(order, market.price(spec.symbol))) throw new VenueError(-2021, "Order would immediately trigger.");
  const resting = [...account.openAlgoOrders.values()].filter((other) => other.symbol === spec.symbol);
  if (resting.length >= MAX_NUM_ALGO_ORDERS) throw new VenueError(-4045, "Reach max stop order limit.");
  account.openAlgoOrders.set(order.algoId, order);
  return order;
}

/** 0 for an order that closes the whole position: such an order takes neither quantity nor reduceOnly. */
function readQuantity(books: Books, params: Params, closePosition: boolean, orderType: string): number {
  const quantity = readNumber(params, "quantity");
  if (!closePosition) {
    if (quantity === undefined) throw missing("quantity");
    checkQuantity(readSpec(books.market, params), quantity, orderType.endsWith("_MARKET"));
    return quantity;
  }
  if (!orderType.endsWith("_MARKET"))
    throw new VenueError(-4136, "Target strategy invalid for orderType, closePosition.");
  if (quantity !== undefined) throw new VenueError(-4137, "Quantity must be zero with closePosition equals true.");
  if (params.has("reduceOnly")) throw new VenueError(-4138, "Reduce only must be true with closePosition equals true.");
  return 0;
}

function readLimitPrice(books: Books, params: Params, orderType: string): number {
  if (orderType.endsWith("_MARKET")) return 0;
  const price = readNumber(params, "price");
  if (price === undefined) throw missing("price");
  checkPrice(readSpec(books.market, params), price);
  return price;
}

function takenIds(books: Books): string[] {
  return [...books.account.openAlgoOrders.values()].map((order) => order.clientAlgoId);
}

/** Places what the triggered order stands for; `false` when the book refused it. */
export function fireAlgoOrder(books: Books, algo: AlgoOrder, now: number): boolean {
  const spec = specOf(books.market, algo.symbol);
  const params = new Map([
    ["symbol", algo.symbol],
    ["side", algo.side],
    ["type", algo.price === 0 ? "MARKET" : "LIMIT"],
    ["quantity", String(algo.quantity)],
    ["timeInForce", algo.timeInForce],
    ["positionSide", algo.positionSide],
    ["newClientOrderId", algo.clientAlgoId],
  ]);
  if (algo.price !== 0) params.set("price", algo.price.toFixed(spec.pricePrecision));
  if (algo.reduceOnly && !books.account.hedge) params.set("reduceOnly", "true");
  try {
    placeOrder(books, params, now);
    return true;
  } catch (error) {
    if (error instanceof VenueError) return false;
    throw error;
  }
}

/** Cancels one conditional order named by `algoId` or `clientAlgoId`; −2011 when no such order is open. */
export function cancelAlgoOrder(books: Books, params: Params, now: number): AlgoOrder {
  const order = findAlgoOrder([...books.account.openAlgoOrders.values()], params);
  if (order === undefined) throw new VenueError(-2011, "Unknown order sent.");
  books.account.finishAlgo(order, "CANCELED", now);
  return order;
}

export function cancelAllAlgoOrders(books: Books, params: Params, now: number): void {
  const { symbol } = readSpec(books.market, params);
  for (const order of books.account.openAlgoOrders.values()) {
    if (order.symbol === symbol) books.account.finishAlgo(order, "CANCELED", now);
  }
}

/** A conditional order in any state, the newest of that name; −2013 when there is none. */
export function queryAlgoOrder(books: Books, params: Params): AlgoOrder {
  const { account } = books;
  const all = [...account.closedAlgoOrders, ...account.openAlgoOrders.values()].toReversed();
  const order = findAlgoOrder(all, params);
  if (order === undefined) throw new VenueError(-2013, "Order does not exist.");
  return order;
}

function findAlgoOrder(orders: readonly AlgoOrder[], params: Params): AlgoOrder | undefined {
  const id = params.get("algoId");
  const clientId = params.get("clientAlgoId");
  if (id === undefined && clientId === undefined) {
    throw new VenueError(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!");
  }
  return orders.find((order) => (id === undefined ? order.clientAlgoId === clientId : String(order.algoId) === id));
}
