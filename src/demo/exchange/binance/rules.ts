/** What the venue refuses: the filters of exchangeInfo and the order rules of Binance's "New Order" page, with its codes. */
import type { Account, PositionSide, Side, TimeInForce } from "../account.ts";
import { isMultiple } from "../decimal.ts";
import { missing, VenueError } from "./errors.ts";
import type { Market, SymbolSpec } from "../market.ts";
import type { Params } from "./signing.ts";

/** Letters, digits and a few signs, at most 36 characters. */
const CLIENT_ID = /^[.A-Z:/a-z0-9_-]{1,36}$/;
/** A limit price may be 5 % worse than the mark price (filter PERCENT_PRICE). */
export const PERCENT_PRICE_UP = 1.05;
export const PERCENT_PRICE_DOWN = 0.95;
/** Resting orders per symbol: filters MAX_NUM_ORDERS and MAX_NUM_ALGO_ORDERS. */
export const MAX_NUM_ORDERS = 200;
export const MAX_NUM_ALGO_ORDERS = 10;

export function readSpec(market: Market, params: Params): SymbolSpec {
  const spec = market.specs.get(readText(params, "symbol"));
  if (spec === undefined) throw new VenueError(-1121, "Invalid symbol.");
  return spec;
}

/** The named symbol, or `undefined` when the request names none. */
export function readOptionalSpec(market: Market, params: Params): SymbolSpec | undefined {
  return params.has("symbol") ? readSpec(market, params) : undefined;
}

export function readText(params: Params, name: string): string {
  const text = params.get(name);
  if (text === undefined || text === "") throw missing(name);
  return text;
}

/** A decimal number, or `undefined` when the request has none of that name. */
export function readNumber(params: Params, name: string): number | undefined {
  const text = params.get(name);
  if (text === undefined || text === "") return undefined;
  if (!/^-?\d+(\.\d+)?$/.test(text)) throw new VenueError(-1100, `Illegal characters found in parameter '${name}'.`);
  return Number(text);
}

export function readFlag(params: Params, name: string): boolean {
  const text = params.get(name)?.toLowerCase() ?? "false";
  if (text !== "true" && text !== "false")
    throw new VenueError(-1130, `Data sent for parameter '${name}' is not valid.`);
  return text === "true";
}

export function readSide(params: Params): Side {
  const side = readText(params, "side");
  if (side !== "BUY" && side !== "SELL") throw new VenueError(-1117, "Invalid side.");
  return side;
}

export function readTimeInForce(params: Params): TimeInForce {
  const text = params.get("timeInForce") ?? "GTC";
  if (text === "GTC" || text === "IOC" || text === "FOK" || text === "GTX" || text === "GTD") return text;
  throw new VenueError(-1115, "Invalid timeInForce.");
}

/** The position an order is for; in hedge mode it must say which leg, otherwise it must not. */
export function readPositionSide(account: Account, params: Params): PositionSide {
  const text = params.get("positionSide") ?? "BOTH";
  if (text !== "BOTH" && text !== "LONG" && text !== "SHORT") throw new VenueError(-4060, "Invalid position side.");
  if (account.hedge === (text === "BOTH")) {
    throw new VenueError(-4061, "Order's position side does not match user's setting.");
  }
  return text;
}

/** `reduceOnly`; in hedge mode the venue does not take it: there the side of the leg says it. */
export function readReduceOnly(account: Account, params: Params): boolean {
  const reduceOnly = readFlag(params, "reduceOnly");
  if (account.hedge && reduceOnly) throw new VenueError(-1106, "Parameter 'reduceonly' sent when not required.");
  return reduceOnly;
}

export function checkQuantity(spec: SymbolSpec, quantity: number, market: boolean): void {
  if (quantity <= 0) throw new VenueError(-4003, "Quantity less than or equal to zero.");
  if (!isMultiple(quantity, spec.stepSize)) {
    throw new VenueError(-1111, "Precision is over the maximum defined for this asset.");
  }
  if (quantity < Number(spec.minQty)) throw new VenueError(-4004, "Quantity less than min quantity.");
  if (quantity > Number(market ? spec.marketMaxQty : spec.maxQty)) {
    throw new VenueError(-4005, "Quantity greater than max quantity.");
  }
}

export function checkPrice(spec: SymbolSpec, price: number): void {
  if (price <= 0) throw new VenueError(-4001, "Price less than 0.");
  if (!isMultiple(price, spec.tickSize)) throw new VenueError(-4014, "Price not increased by tick size.");
  if (price < Number(spec.minPrice)) throw new VenueError(-4013, "Price less than min price.");
  if (price > Number(spec.maxPrice)) throw new VenueError(-4002, "Price greater than max price.");
}

/** Filter PERCENT_PRICE: a buy not far above the mark price, a sell not far below it. */
export function checkPriceBand(side: Side, price: number, mark: number): void {
  const [highest, lowest] = [mark * PERCENT_PRICE_UP, mark * PERCENT_PRICE_DOWN];
  if (side === "BUY" && price > highest) {
    throw new VenueError(-4016, `Limit price can't be higher than ${highest.toFixed(2)}.`);
  }
  if (side === "SELL" && price < lowest) {
    throw new VenueError(-4024, `Limit price can't be lower than ${lowest.toFixed(2)}.`);
  }
}

export function checkNotional(spec: SymbolSpec, notional: number): void {
  if (notional >= Number(spec.minNotional)) return;
  const text = `Order's notional must be no smaller than ${spec.minNotional} (unless you choose reduce only).`;
  throw new VenueError(-4164, text);
}

/** A client id is free for a new order when no open order has it; a finished order's id may be used again, as on the venue. */
export function readClientId(params: Params, name: string, taken: Iterable<string>, fallback: string): string {
  const id = params.get(name) ?? fallback;
  if (!CLIENT_ID.test(id)) throw new VenueError(-4015, "Client order id is not valid.");
  for (const other of taken) if (other === id) throw new VenueError(-4116, "ClientOrderId is duplicated.");
  return id;
}
