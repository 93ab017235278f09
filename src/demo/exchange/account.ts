/** What the account holds: positions, orders, fills and money. Pure bookkeeping; the venue's rules are in rules.ts and orders.ts. */
import { digitsOf, round } from "./decimal.ts";
import type { SymbolSpec } from "./market.ts";

export type Side = "BUY" | "SELL";
export type PositionSide = "BOTH" | "LONG" | "SHORT";
export type OrderStatus = "NEW" | "PARTIALLY_FILLED" | "FILLED" | "CANCELED" | "EXPIRED";
export type AlgoStatus = "NEW" | "CANCELED" | "FINISHED" | "REJECTED";
export type MarginMode = "cross" | "isolated";
export type TimeInForce = "GTC" | "IOC" | "FOK" | "GTX" | "GTD";

export interface Position {
  symbol: string;
  positionSide: PositionSide;
  /** Signed: short is negative. */
  amount: number;
  entryPrice: number;
  marginMode: MarginMode;
  updateTime: number;
}

export interface Order {
  orderId: number;
  clientOrderId: string;
  symbol: string;
  side: Side;
  positionSide: PositionSide;
  type: string;
  timeInForce: TimeInForce;
  /** 0 for a market order. */
  price: number;
  quantity: number;
  executed: number;
  /** Sum of price × quantity over the fills. */
  quote: number;
  reduceOnly: boolean;
  closePosition: boolean;
  marginMode: MarginMode;
  status: OrderStatus;
  time: number;
  updateTime: number;
}

export interface AlgoOrder {
  algoId: number;
  clientAlgoId: string;
  orderType: string;
  symbol: string;
  side: Side;
  positionSide: PositionSide;
  timeInForce: TimeInForce;
  /** 0 when the order closes the whole position. */
  quantity: number;
  triggerPrice: number;
  /** 0 when it becomes a market order. */
  price: number;
  workingType: string;
  priceProtect: boolean;
  closePosition: boolean;
  reduceOnly: boolean;
  /** It fires when the price rises to `triggerPrice`, else when it falls to it. */
  rising: boolean;
  marginMode: MarginMode;
  status: AlgoStatus;
  createTime: number;
  updateTime: number;
  triggerTime: number;
}

export interface Fill {
  id: number;
  orderId: number;
  clientOrderId: string;
  symbol: string;
  side: Side;
  positionSide: PositionSide;
  price: number;
  quantity: number;
  realizedPnl: number;
  commission: number;
  maker: boolean;
  time: number;
}

/** Money that came into the account, or left it when negative, by a transfer. */
export interface Transfer {
  id: number;
  amount: number;
  time: number;
}

/** A position that changed its sign within one fill: a closing tool must never cause one. */
export interface Flip {
  symbol: string;
  clientOrderId: string;
  from: number;
  to: number;
}

const START_BALANCE_USDT = 100_000;
const DEFAULT_LEVERAGE = 20;
const MAKER_FEE_RATIO = 0.000_2;
const TAKER_FEE_RATIO = 0.000_5;
/** Finished orders and fills that are remembered; the oldest are forgotten, the venue does so after days. */
const MAX_HISTORY = 20_000;

export class Account {
  wallet = START_BALANCE_USDT;
  hedge = false;
  /** Whether the key may trade; without that right it still reads. */
  canTrade = true;
  /** Whether the key may withdraw, which a key of a bot should not. */
  canWithdraw = false;
  readonly leverage = new Map<string, number>();
  readonly positions = new Map<string, Position>();
  /** Resting orders by id, oldest first. */
  readonly openOrders = new Map<number, Order>();
  readonly openAlgoOrders = new Map<number, AlgoOrder>();
  readonly closedOrders: Order[] = [];
  readonly closedAlgoOrders: AlgoOrder[] = [];
  readonly fills: Fill[] = [];
  readonly flips: Flip[] = [];
  readonly transfers: Transfer[] = [];
  #lastId = 4_087_000_000;

  /** A number no other order, algo order or fill has. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  position(symbol: string, positionSide: PositionSide): Position | undefined {
    return this.positions.get(positionKey(symbol, positionSide));
  }

  /** Signed amount held. */
  amount(symbol: string, positionSide: PositionSide): number {
    return this.position(symbol, positionSide)?.amount ?? 0;
  }

  leverageOf(symbol: string): number {
    return this.leverage.get(symbol) ?? DEFAULT_LEVERAGE;
  }

  /** No position and no order of either class. */
  get flat(): boolean {
    return this.positions.size === 0 && this.openOrders.size === 0 && this.openAlgoOrders.size === 0;
  }

  /** Executes `quantity` of `order` at `price`: position, wallet, fill and the order's own counters. */
  fill(order: Order, spec: SymbolSpec, price: number, quantity: number, maker: boolean, now: number): void {
    const digits = digitsOf(spec.stepSize);
    const signed = order.side === "BUY" ? quantity : -quantity;
    const realizedPnl = round(this.#move(order, signed, price, digits, now) * spec.contractSize, 8);
    const feeRatio = maker ? MAKER_FEE_RATIO : TAKER_FEE_RATIO;
    const commission = round(price * quantity * spec.contractSize * feeRatio, 8);
    this.wallet = round(this.wallet + realizedPnl - commission, 8);
    order.executed = round(order.executed + quantity, digits);
    order.quote = round(order.quote + price * quantity, 8);
    order.status = order.executed >= order.quantity ? "FILLED" : "PARTIALLY_FILLED";
    order.updateTime = now;
    const { orderId, clientOrderId, symbol, side, positionSide } = order;
    remember(this.fills, {
      id: this.nextId(),
      orderId,
      clientOrderId,
      symbol,
      side,
      positionSide,
      price,
      quantity,
      realizedPnl,
      commission,
      maker,
      time: now,
    });
  }

  /** Takes an order off the book and remembers how it ended. */
  finish(order: Order, status: OrderStatus, now: number): void {
    order.status = status;
    order.updateTime = now;
    this.openOrders.delete(order.orderId);
    remember(this.closedOrders, order);
  }

  finishAlgo(order: AlgoOrder, status: AlgoStatus, now: number): void {
    order.status = status;
    order.updateTime = now;
    this.openAlgoOrders.delete(order.algoId);
    remember(this.closedAlgoOrders, order);
  }

  /** Puts a position there, as if it had always been; an amount of 0 removes it. */
  place({ symbol, positionSide, amount, entryPrice, marginMode }: Omit<Position, "updateTime">, now: number): void {
    const key = positionKey(symbol, positionSide);
    if (amount === 0) this.positions.delete(key);
    else this.positions.set(key, { symbol, positionSide, amount, entryPrice, marginMode, updateTime: now });
  }

  /** Moves money in, or out when `amount` is negative. */
  transfer(amount: number, now: number): void {
    this.wallet = round(this.wallet + amount, 8);
    remember(this.transfers, { id: this.nextId(), amount, time: now });
  }

  /** Forgets everything but its settings of hedge mode and leverage. */
  clear(): void {
    this.wallet = START_BALANCE_USDT;
    for (const book of [this.positions, this.openOrders, this.openAlgoOrders]) book.clear();
    for (const list of [this.closedOrders, this.closedAlgoOrders, this.fills, this.flips, this.transfers])
      list.length = 0;
  }

  /** Adds `signed` to the order's position; returns the profit that this realized, per unit of a contract. */
  #move(order: Order, signed: number, price: number, digits: number, now: number): number {
    const before = this.position(order.symbol, order.positionSide);
    const from = before?.amount ?? 0;
    const entry = before?.entryPrice ?? 0;
    const to = round(from + signed, digits);
    const closed = Math.sign(signed) === -Math.sign(from) ? Math.min(Math.abs(signed), Math.abs(from)) : 0;
    const entryPrice = nextEntryPrice(from, entry, signed, price, to);
    if (from !== 0 && to !== 0 && Math.sign(from) !== Math.sign(to)) {
      remember(this.flips, { symbol: order.symbol, clientOrderId: order.clientOrderId, from, to });
    }
    const { symbol, positionSide, marginMode } = order;
    this.place({ symbol, positionSide, amount: to, entryPrice, marginMode: before?.marginMode ?? marginMode }, now);
    return (price - entry) * closed * Math.sign(from);
  }
}

/** Entry price after a trade: the average when it adds, unchanged when it reduces, the trade's price when it turns the position. */
function nextEntryPrice(from: number, entry: number, signed: number, price: number, to: number): number {
  if (from === 0 || Math.sign(to) !== Math.sign(from)) return price;
  if (Math.sign(signed) !== Math.sign(from)) return entry;
  return round((Math.abs(from) * entry + Math.abs(signed) * price) / Math.abs(to), 8);
}

function positionKey(symbol: string, positionSide: PositionSide): string {
  return `${symbol} ${positionSide}`;
}

/** Appends with a bound. */
export function remember<T>(list: T[], item: T, limit = MAX_HISTORY): void {
  list.push(item);
  if (list.length > limit) list.shift();
}
