/** The sample bot's way to the exchange: unmodified ccxt, sent to the paper exchange and to nowhere else. */
import type { Exchange, Order, Position } from "ccxt";
import { OrderNotFound } from "../../../node_modules/ccxt/js/src/base/errors.js";
import type { OrderReader, RestingOrder, VenueOrder, VenuePosition } from "../../bot/index.ts";

export type VenueName = "binance" | "okx";

/** The part of ccxt that the bot uses. */
type Client = Pick<
  Exchange,
  | "loadMarkets"
  | "market"
  | "fetchTicker"
  | "fetchPositions"
  | "fetchOpenOrders"
  | "fetchOrder"
  | "fetchMyTrades"
  | "createOrder"
  | "fetchImplementation"
>;

export interface Venue {
  readonly client: Client;
  /** Parameters of a stop at `price` that closes the whole position. */
  readonly stopParams: (price: number | null) => Readonly<Record<string, unknown>>;
  /** Parameters that list such stops. */
  readonly stopListing: Readonly<Record<string, unknown>>;
}

export interface VenueOptions {
  exchange: VenueName;
  /** Base address of the paper exchange. */
  url: string;
  apiKey: string;
  apiSecret: string;
  /** Asked for by OKX only. */
  apiPassphrase: string;
  /** Ends every request under way. */
  signal: AbortSignal;
}

/** Deadline of a whole request, body included, ms; ccxt's own timeout ends at the headers. */
const REQUEST_TIMEOUT_MS = 5_000;
/** How long after it was signed Binance executes a request, ms: it is next door. */
const RECV_WINDOW_MS = 2_000;
/** Binance grants 2400 weight a minute: one each 25 ms. */
const BINANCE_WEIGHT_INTERVAL_MS = 25;
const LIVE_BASE: Readonly<Record<VenueName, string>> = {
  binance: "https://fapi.binance.com/",
  okx: "https://www.okx.com/",
};

/** An order of ccxt as the SDK takes it. */
export function venueOrder({ id, status, filled, average }: Order, clientOrderId: string): VenueOrder {
  return { id: id ?? "", clientOrderId, status, filled, average };
}

/** A position with the rules of its market; `undefined` for one that is empty. */
export function venuePosition({ client }: Venue, position: Position): VenuePosition | undefined {
  const { symbol, side, contracts, entryPrice, markPrice, notional } = position;
  if (symbol === undefined || contracts === undefined || contracts === 0) return undefined;
  const { precision, limits } = client.market(symbol);
  return {
    symbol,
    side: side === "short" ? "short" : "long",
    amount: contracts,
    entryPrice,
    markPrice,
    notional: notional === undefined ? undefined : Math.abs(notional),
    rules: { minAmount: limits.amount?.min ?? 0, stepAmount: precision.amount, stepPrice: precision.price },
  };
}

/** An open order; every stop of this bot closes whatever there is. */
export function restingOrder(order: Order): RestingOrder | undefined {
  const { id, clientOrderId, symbol, side, remaining, triggerPrice, stopLossPrice, reduceOnly } = order;
  if (id === undefined || symbol === undefined || (side !== "buy" && side !== "sell")) return undefined;
  const stopPrice = triggerPrice ?? stopLossPrice;
  const stop = stopPrice !== undefined && stopPrice > 0;
  return {
    id,
    clientOrderId,
    symbol,
    side,
    reduceOnly: stop || reduceOnly === true,
    remaining: stop ? undefined : remaining,
    stopPrice: stop ? stopPrice : undefined,
  };
}

/** Reads orders by their client ids; stops are in a list of their own. */
export function orderReader({ client }: Venue): OrderReader {
  return {
    async find({ clientOrderId, symbol, type }) {
      const params = { clientOrderId, ...(type === "stop" ? { trigger: true } : {}) };
      try {
        return venueOrder(await client.fetchOrder("", symbol, params), clientOrderId);
      } catch (error) {
        if (error instanceof OrderNotFound) return undefined;
        throw error;
      }
    },
  };
}

/** A client for the paper exchange; loads no markets yet. */
export async function connectVenue(options: VenueOptions): Promise<Venue> {
  const venue = options.exchange === "okx" ? await okx(options) : await binance(options);
  // Not by `urls.api`: ccxt picks the table of error classes by the address it believes to speak to.
  venue.client.fetchImplementation = (url: string, init: RequestInit) => redirectedFetch(url, init, options);
  return venue;
}

async function binance({ apiKey, apiSecret }: VenueOptions): Promise<Venue> {
  // `exports` of the package hides the single exchange, and all of ccxt would cost every start another 50 ms.
  const { default: Binanceusdm } = await import("../../../node_modules/ccxt/js/src/binanceusdm.js");
  const client = new Binanceusdm({
    apiKey,
    secret: apiSecret,
    timeout: REQUEST_TIMEOUT_MS,
    rateLimit: BINANCE_WEIGHT_INTERVAL_MS,
    has: { fetchCurrencies: false },
    options: {
      adjustForTimeDifference: true,
      recvWindow: RECV_WINDOW_MS,
      fetchMargins: false,
      leverageBrackets: {},
      fetchOpenOrders: { warnWithoutSymbol: false },
    },
  });
  return {
    client,
    stopParams: (price) => ({ stopLossPrice: price, closePosition: true, workingType: "MARK_PRICE" }),
    stopListing: { trigger: true },
  };
}

async function okx({ apiKey, apiSecret, apiPassphrase }: VenueOptions): Promise<Venue> {
  const { default: Okx } = await import("../../../node_modules/ccxt/js/src/okx.js");
  const client = new Okx({
    apiKey,
    secret: apiSecret,
    password: apiPassphrase,
    timeout: REQUEST_TIMEOUT_MS,
    has: { fetchCurrencies: false },
    options: { adjustForTimeDifference: true, fetchMarkets: { types: ["swap"] }, defaultType: "swap" },
  });
  return {
    client,
    stopParams: (price) => ({ stopLossPrice: price, closeFraction: "1", reduceOnly: true }),
    stopListing: { trigger: true, ordType: "conditional" },
  };
}

function redirectedFetch(url: string, init: RequestInit, options: VenueOptions): Promise<Response> {
  const base = LIVE_BASE[options.exchange];
  if (!url.startsWith(base)) {
    return Promise.reject(
      new Error(`cannot fetch ${new URL(url).origin}: the sample bot speaks to the paper exchange only`),
    );
  }
  const signals = [options.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS), init.signal].filter(
    (signal) => signal != null,
  );
  return fetch(`${options.url.replace(/\/$/, "")}/${url.slice(base.length)}`, {
    ...init,
    redirect: "error",
    signal: AbortSignal.any(signals),
  });
}
