/** Opens a venue: its ccxt class, loaded lazily, with the settings that ccxt's defaults get wrong for an emergency. */
import type { Exchange } from "ccxt";
import type { CcxtAccess } from "../../core/close-job.ts";
import { editDistance } from "../../core/nearest.ts";
import type { Clock } from "../../platform/clock.ts";
import { EXCHANGES } from "./exchanges.ts";
import { quirksOf } from "./quirks.ts";
import type { Transport } from "./transport.ts";

/** The part of ccxt's unified interface that the close uses. */
export type VenueExchange = Pick<
  Exchange,
  | "id"
  | "has"
  | "options"
  | "urls"
  | "markets"
  | "currencies"
  | "setMarkets"
  | "fetchTime"
  | "fetchPositionMode"
  | "fetchBalance"
  | "fetchTicker"
  | "cancelAllOrdersAfter"
  | "precisionMode"
  | "fetchImplementation"
  | "handleErrors"
  | "loadMarkets"
  | "loadTimeDifference"
  | "fetchPositions"
  | "fetchTickers"
  | "fetchOpenOrders"
  | "fetchOrder"
  | "fetchOrderBook"
  | "createOrder"
  | "closePosition"
  | "closeAllPositions"
  | "cancelAllOrders"
  | "cancelOrders"
  | "cancelOrder"
  | "amountToPrecision"
  | "priceToPrecision"
  | "repayCrossMargin"
  | "repayIsolatedMargin"
  | "safeCurrencyCode"
  | "setSandboxMode"
  | "enableDemoTrading"
  | "requiredCredentials"
  | "walletAddress"
  | "privateKey"
>;
export type ExchangeClass = new (settings: Record<string, unknown>) => VenueExchange;

/** The time after which the venue no longer executes an order, ms; ccxt's default for binance of 10 s, or OKX's of 30 s, only makes lost orders live longer. */
export const RECV_WINDOW_MS = 5_000;
/** Above the transport's own deadline, which is the one that counts. */
const CCXT_TIMEOUT_MS = 10_000;
/** Names offered for an unknown id. */
const MAX_SUGGESTIONS = 3;

/** Throws `cannot use exchange …` when the id is not among the venues that the close can handle, or has no sandbox where one is asked for. */
export async function openExchange(venue: CcxtAccess, transport: Transport, clock: Clock): Promise<VenueExchange> {
  const load = Object.hasOwn(EXCHANGES, venue.exchange) ? EXCHANGES[venue.exchange] : undefined;
  if (load === undefined) throw new Error(describeUnknown(venue.exchange));
  const Class = await load();
  const exchange = new Class({
    apiKey: venue.apiKey,
    secret: venue.apiSecret,
    ...(venue.passphrase === undefined ? {} : { password: venue.passphrase }),
    // Our own token bucket replaces the limiter; see bucket.ts.
    enableRateLimit: false,
    timeout: CCXT_TIMEOUT_MS,
  });
  configure(exchange, venue.spot !== undefined);
  nameCredentials(exchange, venue);
  exchange.fetchImplementation = withDeadline(exchange, transport, clock);
  if (venue.sandbox) enterSandbox(exchange);
  return exchange;
}

function describeUnknown(id: string): string {
  const nearest = nearestNames(id, Object.keys(EXCHANGES));
  return `cannot use exchange ${id}: no venue with positions has that name; the nearest are ${nearest.join(", ")}`;
}

/** Whether anything is traded against that currency on a spot market. */
export function hasQuote(markets: Record<string, unknown>, quote: string): boolean {
  return Object.values(markets).some(
    (market) => asRecord(market)["spot"] === true && asRecord(market)["quote"] === quote,
  );
}

/** The names of `known` that differ least from `name`. */
export function nearestNames(name: string, known: readonly string[]): string[] {
  const scored = known.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }));
  return scored
    .sort((a, b) => a.distance - b.distance)
    .slice(0, MAX_SUGGESTIONS)
    .map(({ candidate }) => candidate);
}

/** Puts the deadline of a new order into the header that the venue has for it; after that the venue no longer executes it. */
function withDeadline({ id, options }: VenueExchange, transport: Transport, clock: Clock): Transport["fetch"] {
  const { deadline } = quirksOf(id);
  if (deadline === undefined) return transport.fetch;
  return async (url, init) => {
    const path = URL.parse(url)?.pathname ?? "";
    if (init.method !== "POST" || !deadline.paths.includes(path)) return transport.fetch(url, init);
    const headers = new Headers(init.headers);
    const skewMs = Number(options["timeDifference"] ?? 0);
    headers.set(deadline.header, String(Math.round(clock.wallTime().getTime() - skewMs + RECV_WINDOW_MS)));
    return transport.fetch(url, { ...init, headers });
  };
}

/** Venues without keys of their own want a wallet's address and its private key: the config's key and secret. */
function nameCredentials(exchange: VenueExchange, { apiKey, apiSecret }: CcxtAccess): void {
  const { walletAddress, privateKey } = exchange.requiredCredentials;
  if (walletAddress === true) exchange.walletAddress = apiKey;
  if (privateKey === true) exchange.privateKey = apiSecret;
}

function configure(exchange: VenueExchange, spot: boolean): void {
  const { options, has } = exchange;
  // Both ask for wallet rights that a trading key need not have, inside loadMarkets.
  has["fetchCurrencies"] = false;
  options["fetchMargins"] = false;
  // One request for each reading of positions, only for the maintenance margin that nobody needs here.
  options["leverageBrackets"] = {};
  // Binance refuses to list the orders of the whole account unless its price (weight 40) is accepted.
  if (exchange.id.startsWith("binance"))
    options["fetchOpenOrders"] = { ...asRecord(options["fetchOpenOrders"]), warnWithoutSymbol: false };
  // Before the first order ccxt would let a third party take fees of this wallet; a close signs orders and nothing else.
  if (exchange.id === "hyperliquid") Reflect.set(exchange, "initializeClient", () => Promise.resolve(true));
  options["recvWindow"] = RECV_WINDOW_MS;
  // Venues that have both markets would list the other one.
  if (spot) {
    options["defaultType"] = "spot";
    // Binance would load the lists of its futures as well.
    options["fetchMarkets"] = { ...asRecord(options["fetchMarkets"]), types: ["spot"] };
  } else if (has["swap"] === true) options["defaultType"] = "swap";
  // The class of all of Binance's markets would list the open orders of the spot market, whatever the default type.
  if (!spot && exchange.id === "binance") {
    options["defaultSubType"] = "linear";
    options["fetchMarkets"] = { ...asRecord(options["fetchMarkets"]), types: ["linear"] };
  }
}

/** Binance ended its futures testnet for the demo accounts; the others have the classic sandbox. */
function enterSandbox(exchange: VenueExchange): void {
  if (exchange.id.startsWith("binance") && "demo" in exchange.urls) exchange.enableDemoTrading(true);
  else exchange.setSandboxMode(true);
}

export function asRecord(value: unknown): Record<string, unknown> {
  // Safe: an object that is no array may be read by any name; what is not there is undefined.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
