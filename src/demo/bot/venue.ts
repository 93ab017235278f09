/** The sample bot's way to the exchange: unmodified ccxt `binanceusdm`, sent to the paper exchange and to nowhere else. */
import type Binanceusdm from "../../../node_modules/ccxt/js/src/binanceusdm.js";

export type Venue = Binanceusdm;

export interface VenueOptions {
  /** Base address of the paper exchange. */
  url: string;
  apiKey: string;
  apiSecret: string;
  /** Ends every request under way. */
  signal: AbortSignal;
}

const LIVE_BASE = "https://fapi.binance.com/";
/** Deadline of a whole request, body included, ms; ccxt's own timeout ends at the headers. */
const REQUEST_TIMEOUT_MS = 5_000;
/** The venue grants 2400 weight a minute: one each 25 ms. */
const WEIGHT_INTERVAL_MS = 25;

/** A client for the paper exchange; loads no markets yet. */
export async function connectVenue(options: VenueOptions): Promise<Venue> {
  // `exports` of the package hides the single exchange, and all of ccxt would cost every start another 50 ms.
  const { default: Exchange } = await import("../../../node_modules/ccxt/js/src/binanceusdm.js");
  const venue = new Exchange({
    apiKey: options.apiKey,
    secret: options.apiSecret,
    timeout: REQUEST_TIMEOUT_MS,
    rateLimit: WEIGHT_INTERVAL_MS,
    has: { fetchCurrencies: false },
    options: {
      adjustForTimeDifference: true,
      fetchMargins: false,
      leverageBrackets: {},
      fetchOpenOrders: { warnWithoutSymbol: false },
    },
  });
  // Not by `urls.api`: ccxt picks the table of error classes by the address it believes to speak to.
  venue.fetchImplementation = (url: string, init: RequestInit) => redirectedFetch(url, init, options);
  return venue;
}

function redirectedFetch(url: string, init: RequestInit, options: VenueOptions): Promise<Response> {
  if (!url.startsWith(LIVE_BASE)) {
    return Promise.reject(
      new Error(`cannot fetch ${new URL(url).origin}: the sample bot speaks to the paper exchange only`),
    );
  }
  const signals = [options.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS), init.signal].filter(
    (signal) => signal != null,
  );
  return fetch(`${options.url.replace(/\/$/, "")}/${url.slice(LIVE_BASE.length)}`, {
    ...init,
    redirect: "error",
    signal: AbortSignal.any(signals),
  });
}
