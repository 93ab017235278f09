/**
 * Algo orders (/trade/order-algo), a class of their own: regular endpoints neither list nor cancel them, and each listing
 * shows one type. One-sided stops and trigger orders can be placed; the other types exist only when they are seeded.
 */
import type { AlgoOrder } from "../account.ts";
import { isMultiple } from "../decimal.ts";
import { closesLeg, specOf, type Books } from "../matching.ts";
import { reached } from "../triggers.ts";
import { ItemError, RequestError, wrongParameter } from "./errors.ts";
import { placeOrder } from "./orders.ts";
import {
  readClientId,
  readMarginMode,
  readPositionSide,
  readPositive,
  readSide,
  readSpec,
  type Params,
} from "./params.ts";

/** All types there are; only the first two may be asked for together. */
const TYPES: readonly string[] = ["conditional", "oco", "trigger", "move_order_stop", "chase", "iceberg", "twap"];
const PAIR = "conditional,oco";
/** Price of an order that becomes a market order. */
const AT_MARKET = "-1";

interface Trigger {
  price: number;
  rising: boolean;
  /** 0: market order. */
  limit: number;
}

/** Places a stop or a trigger order; throws the venue's refusal. */
export function placeAlgoOrder(books: Books, params: Params, now: number): AlgoOrder {
  const { account, market } = books;
  const spec = readSpec(market, params);
  const side = readSide(params);
  const positionSide = readPositionSide(account.hedge, params);
  const orderType = params.get("ordType") ?? "";
  const closePosition = params.get("closeFraction") === "1";
  const trigger = readTrigger(books, params, orderType);
  if (!isMultiple(trigger.price, spec.tickSize)) throw wrongParameter("triggerPx");
  const reduceOnly = closesLeg(side, positionSide) || params.get("reduceOnly") === "true";
  if (closePosition && !reduceOnly) throw wrongParameter("reduceOnly");
  const order: AlgoOrder = {
    algoId: account.nextId(),
    // ccxt names the id as it does for a regular order, and OKX takes it.
    clientAlgoId: readClientId(params, "algoClOrdId") || readClientId(params, "clOrdId"),
    orderType,
    symbol: spec.symbol,
    side,
    positionSide,
    timeInForce: "GTC",
    quantity: closePosition ? 0 : readPositive(params, "sz"),
    triggerPrice: trigger.price,
    rising: trigger.rising,
    price: trigger.limit,
    workingType: "last",
    priceProtect: false,
    closePosition,
    reduceOnly,
    marginMode: readMarginMode(params),
    status: "NEW",
    createTime: now,
    updateTime: now,
    triggerTime: 0,
  };
  if (reached(order, market.price(spec.symbol))) {
    throw new ItemError("51280", "The trigger price is on the wrong side of the last price");
  }
  account.openAlgoOrders.set(order.algoId, order);
  return order;
}

/** A stop waits for the price to move against its position, a take-profit for the other way, a trigger order for either. */
function readTrigger({ market }: Books, params: Params, orderType: string): Trigger {
  if (orderType === "trigger") {
    const price = readPositive(params, "triggerPx");
    const rising = price > market.price(readSpec(market, params).symbol);
    return { price, rising, limit: limitOf(params, "orderPx") };
  }
  if (orderType !== "conditional") throw wrongParameter("ordType");
  const stop = params.has("slTriggerPx");
  const price = readPositive(params, stop ? "slTriggerPx" : "tpTriggerPx");
  const rising = (params.get("side") === "buy") === stop;
  return { price, rising, limit: limitOf(params, stop ? "slOrdPx" : "tpOrdPx") };
}

function limitOf(params: Params, name: string): number {
  return (params.get(name) ?? AT_MARKET) === AT_MARKET ? 0 : readPositive(params, name);
}

/** Places what the triggered order stands for; `false` when the book refused it. */
export function fireAlgoOrder(books: Books, algo: AlgoOrder, now: number): boolean {
  const digits = specOf(books.market, algo.symbol).pricePrecision;
  const params = new Map([
    ["instId", algo.symbol],
    ["tdMode", algo.marginMode],
    ["side", algo.side.toLowerCase()],
    ["posSide", algo.positionSide === "BOTH" ? "net" : algo.positionSide.toLowerCase()],
    ["ordType", algo.price === 0 ? "market" : "limit"],
    ["sz", String(algo.quantity)],
    ["px", algo.price.toFixed(digits)],
    ["reduceOnly", String(algo.reduceOnly)],
  ]);
  try {
    placeOrder(books, params, now);
    return true;
  } catch (error) {
    if (error instanceof ItemError) return false;
    throw error;
  }
}

/** Cancels one algo order named by `algoId` or `algoClOrdId`; 51400 when no such order is open. */
export function cancelAlgoOrder(books: Books, params: Params, now: number): AlgoOrder {
  const order = [...books.account.openAlgoOrders.values()].find((open) => names(open, params));
  if (order === undefined) {
    throw new ItemError("51400", "Order cancellation failed as the order has been filled, canceled or does not exist.");
  }
  books.account.finishAlgo(order, "CANCELED", now);
  return order;
}

/** An algo order in any state, the newest of that name; 51603 when there is none. */
export function queryAlgoOrder({ account }: Books, params: Params): AlgoOrder {
  const all = [...account.closedAlgoOrders, ...account.openAlgoOrders.values()].toReversed();
  const order = all.find((each) => names(each, params));
  if (order === undefined) throw new ItemError("51603", "Order does not exist");
  return order;
}

/** Open orders of the types that `ordType` asks for; it must ask for one, or for the one pair. */
export function listAlgoOrders({ account }: Books, params: Params): AlgoOrder[] {
  const wanted = params.get("ordType") ?? "";
  if (wanted === "") throw new RequestError("50014", "Parameter ordType can not be empty.", 400);
  if (wanted !== PAIR && !TYPES.includes(wanted)) throw new RequestError("51000", "Parameter ordType error", 400);
  const types = wanted.split(",");
  return [...account.openAlgoOrders.values()].filter((order) => types.includes(okxType(order)));
}

/** The type as OKX names it; seeded stops have Binance's names unless told otherwise. */
export function okxType({ orderType }: AlgoOrder): string {
  return orderType.startsWith("STOP") ? "conditional" : orderType;
}

function names(order: AlgoOrder, params: Params): boolean {
  const id = params.get("algoId") ?? "";
  const clientId = params.get("algoClOrdId") ?? "";
  if (id === "" && clientId === "") throw new ItemError("51003", "Either client order ID or order ID is required.");
  return id === "" ? order.clientAlgoId === clientId : String(order.algoId) === id;
}
