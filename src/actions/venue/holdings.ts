/** The balances of a spot wallet as positions: what of each asset can be sold for the quote currency, and where. */
import type { CcxtAccess } from "../../core/close-job.ts";
import type { HeldPosition, MarketRules } from "../../core/close-orders.ts";
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";
import { marketRules } from "./normalise.ts";

export type SpotPolicy = NonNullable<CcxtAccess["spot"]>;

interface Holding {
  readonly asset: string;
  readonly total: number;
  readonly free: number;
  /** Unified symbol of the market that sells it; `undefined`: none does. */
  readonly symbol: string | undefined;
}

/** Asks for balances and prices. Throws when the venue does not show the balances; without prices they are worth nobody knows what. */
export async function readHoldings(
  exchange: VenueExchange,
  { quote, keep }: SpotPolicy,
  priced: (call: () => Promise<unknown>) => Promise<unknown>,
): Promise<HeldPosition[]> {
  const balance = asRecord(await exchange.fetchBalance({ type: "spot" }));
  const totals = asRecord(balance["total"]);
  const frees = asRecord(balance["free"]);
  const holdings = Object.keys(totals)
    .filter((asset) => asset !== quote && !keep.includes(asset))
    .map((asset): Holding => {
      const total = amountOf(totals[asset]);
      // A venue that does not tell what is held back has nothing held back that it tells.
      const free = frees[asset] === undefined ? total : amountOf(frees[asset]);
      if (total === undefined || free === undefined)
        throw new TypeError(`the venue does not say how much ${asset} there is`);
      return { asset, total, free, symbol: marketOf(exchange, asset, quote) };
    })
    .filter(({ total }) => total > 0);
  const symbols = holdings.flatMap(({ symbol }) => symbol ?? []);
  const tickers = symbols.length === 0 ? {} : asRecord(await priced(() => exchange.fetchTickers(symbols)));
  return holdings.map((holding) => positionOf(exchange, holding, tickers));
}

function positionOf(
  exchange: VenueExchange,
  { asset, total, free, symbol }: Holding,
  tickers: Record<string, unknown>,
): HeldPosition {
  const plain = {
    side: "long",
    amount: total,
    free: Math.min(free, total),
    hedged: false,
    marginMode: undefined,
  } as const;
  if (symbol === undefined)
    return { ...plain, symbol: asset, unsellable: true, markPrice: undefined, rules: { ...NO_RULES } };
  const markPrice = priceOf(asRecord(tickers[symbol]));
  const value = markPrice === undefined ? {} : { notional: total * markPrice };
  return { ...plain, symbol, ...value, markPrice, rules: spotRules(exchange, symbol) };
}

const NO_RULES: MarketRules = {
  minAmount: 0,
  stepAmount: undefined,
  maxMarketAmount: undefined,
  maxLimitAmount: undefined,
};

/** As of a derivative, and the smallest value of an order, which spot markets hold every order to. */
export function spotRules(exchange: VenueExchange, symbol: string): MarketRules {
  const market = asRecord(asRecord(exchange.markets)[symbol]);
  const minCost = amountOf(asRecord(asRecord(market["limits"])["cost"])["min"]);
  return { ...marketRules(exchange, symbol), ...(minCost === undefined ? {} : { minCost }) };
}

function marketOf(exchange: VenueExchange, asset: string, quote: string): string | undefined {
  const symbol = `${asset}/${quote}`;
  const markets = asRecord(exchange.markets);
  const market = asRecord(Object.hasOwn(markets, symbol) ? markets[symbol] : undefined);
  return market["spot"] === true && market["active"] !== false ? symbol : undefined;
}

/** The bid is what a sale gets; a venue without a book in its tickers tells the last price. */
function priceOf(ticker: Record<string, unknown>): number | undefined {
  const price = amountOf(ticker["bid"]) ?? amountOf(ticker["last"]);
  return price === undefined || price <= 0 ? undefined : price;
}

function amountOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
