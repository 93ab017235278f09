/** ccxt's unified position, order and market, reduced to what the close decides with; what it cannot trust, it refuses. */
import type { Order, Position } from "ccxt";
import type { HeldPosition, MarketRules, OpenOrder } from "../../core/close-orders.ts";
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";
import { quirksOf } from "./quirks.ts";

/** `precisionMode` of ccxt: the number is a step, or a count of decimals. */
const TICK_SIZE = 4;
const DECIMAL_PLACES = 2;
/** Names under which venues give the signed size. */
const SIGNED_SIZES = ["positionAmt", "size", "pos", "qty"];

/** `undefined` for an entry without size. Throws when there is a size but no telling what it is: that account is not flat. */
export function heldPosition(exchange: VenueExchange, position: Position): HeldPosition | undefined {
  const info = asRecord(position.info);
  const { symbol, contracts } = position;
  if (contracts === 0) return undefined;
  if (symbol === undefined || contracts === undefined) {
    if (position.notional === 0) return undefined;
    throw new TypeError(`the venue names a position without ${symbol === undefined ? "symbol" : "size"}`);
  }
  const side = position.side ?? sideOf(info);
  if (side !== "long" && side !== "short") throw new TypeError(`the venue names no side of the position in ${symbol}`);
  const { notional, markPrice, marginMode, hedged } = position;
  return {
    symbol,
    side,
    amount: Math.abs(contracts),
    ...(notional === undefined ? {} : { notional: Math.abs(notional) }),
    hedged: hedged === true,
    markPrice: markPrice ?? priceFrom(position),
    marginMode: quirksOf(exchange.id).namesMarginMode ? marginMode : undefined,
    rules: marketRules(exchange, symbol),
  };
}

/** An order, and whether it waits for a price; venues with a listing of their own for those need not ask. */
export interface ListedOrder extends OpenOrder {
  readonly conditional: boolean;
}

/** Throws for an order that cannot be named, hence not be cancelled: that account is not flat either. */
export function openOrder(order: Order): ListedOrder {
  const { id, clientOrderId, symbol, reduceOnly } = order;
  if (id === undefined || symbol === undefined) throw new TypeError("the venue names an order without id or symbol");
  const info = asRecord(order.info);
  // Binance's closePosition orders reserve the position as reduce-only orders do.
  const closes = info["closePosition"] === true || closesLeg(info["posSide"], order.side);
  const conditional = (numberOf(order.triggerPrice) ?? numberOf(order.stopPrice) ?? 0) > 0;
  // Gate wants "t-" before every id of a client, which ccxt puts there and does not take away again.
  const clientId = clientOrderId?.replace(/^t-(?=sv)/, "");
  return { id, clientId, symbol, reduceOnly: reduceOnly === true || closes, conditional };
}

/** In OKX's hedge mode side and leg say that an order only reduces, and `reduceOnly` is false. */
function closesLeg(leg: unknown, side: unknown): boolean {
  return (leg === "long" && side === "sell") || (leg === "short" && side === "buy");
}

/** Limits of a market; one that is not listed has none that we know, and the venue's refusals teach them. */
export function marketRules(exchange: VenueExchange, symbol: string): MarketRules {
  const market = asRecord(asRecord(exchange.markets)[symbol]);
  const limits = asRecord(market["limits"]);
  const [amount, marketOrders, info] = [
    asRecord(limits["amount"]),
    asRecord(limits["market"]),
    asRecord(market["info"]),
  ];
  const precision = numberOf(asRecord(market["precision"])["amount"]);
  return {
    minAmount: numberOf(amount["min"]) ?? 0,
    stepAmount: stepOf(exchange.precisionMode, precision),
    // Outside of the unified limits, in the words of OKX, Bybit, Gate, Bitget and KuCoin.
    maxMarketAmount: smallest(
      marketOrders["max"],
      amount["max"],
      info["maxMktSz"],
      asRecord(info["lotSizeFilter"])["maxMktOrderQty"],
      info["market_order_size_max"],
      info["maxMarketOrderQty"],
      info["marketMaxOrderQty"],
    ),
    maxLimitAmount: smallest(amount["max"], info["maxLmtSz"], info["maxOrderQty"]),
  };
}

function stepOf(mode: unknown, precision: number | undefined): number | undefined {
  if (precision === undefined) return undefined;
  if (mode === TICK_SIZE) return precision;
  return mode === DECIMAL_PLACES ? 10 ** -precision : undefined;
}

function smallest(...values: unknown[]): number | undefined {
  const known = values.map(numberOf).filter((value) => value !== undefined && value > 0);
  return known.length === 0 ? undefined : Math.min(...known.map(Number));
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

function sideOf(info: Record<string, unknown>): string | undefined {
  const signed = SIGNED_SIZES.map((name) => numberOf(info[name])).find((size) => size !== undefined && size !== 0);
  return signed === undefined ? undefined : signed > 0 ? "long" : "short";
}

/** Price of one unit out of the position's value, for venues that give no mark price. */
function priceFrom({ notional, contracts, contractSize }: Position): number | undefined {
  const units = (contracts ?? 0) * (contractSize ?? 1);
  return notional === undefined || units === 0 ? undefined : Math.abs(notional / units);
}
