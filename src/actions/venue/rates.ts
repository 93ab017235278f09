/** What each kind of call costs and how much a venue takes; Binance's and OKX's numbers are their documented limits, the rest is cautious. */
import type { BucketLimits } from "./bucket.ts";

export type CallKind =
  | "markets"
  | "time"
  | "prices"
  | "positions"
  | "orders"
  | "triggers"
  | "cancel"
  | "cancelTriggers"
  | "order"
  | "account"
  | "countdown";

/** The limit of one kind of call alone, beside that of all requests. */
interface OwnLimit extends BucketLimits {
  /** Each instrument has this limit for itself. */
  readonly perSymbol: boolean;
}

export interface VenueRates {
  /** Weight of all requests. */
  readonly requests: BucketLimits;
  /** Orders alone. */
  readonly orders: BucketLimits;
  readonly own: Partial<Readonly<Record<CallKind, OwnLimit>>>;
  readonly weightOf: Readonly<Record<CallKind, number>>;
  /** Symbols worked on at once. */
  readonly concurrency: number;
}

/**
 * Binance USDⓈ-M and COIN-M: 2400 weight a minute, 300 orders in 10 s, 1200 a minute. A bucket of `burst` and `rate` spends at
 * most burst + rate × window: 1200 + 20 × 60 = 2400, 200 + 10 × 10 = 300, 200 + 10 × 60 = 800.
 */
const BINANCE: VenueRates = {
  requests: { burst: 1_200, perSecond: 20 },
  orders: { burst: 200, perSecond: 10 },
  own: {},
  weightOf: {
    markets: 1,
    time: 1,
    prices: 2,
    positions: 5,
    orders: 40,
    triggers: 40,
    cancel: 1,
    cancelTriggers: 1,
    order: 1,
    account: 30,
    countdown: 10,
  },
  concurrency: 20,
};

/** Binance's spot market: 6000 weight a minute, 100 orders in 10 s. 3000 + 50 × 60 = 6000, 60 + 4 × 10 = 100. */
const BINANCE_SPOT: VenueRates = {
  requests: { burst: 3_000, perSecond: 50 },
  orders: { burst: 60, perSecond: 4 },
  own: {},
  weightOf: {
    markets: 20,
    time: 1,
    prices: 80,
    positions: 20,
    orders: 80,
    triggers: 80,
    cancel: 1,
    cancelTriggers: 1,
    order: 1,
    account: 20,
    countdown: 10,
  },
  concurrency: 20,
};

/** A window of 2 s sees at most burst + 2 × rate of a bucket. */
const own = (burst: number, perSecond: number, perSymbol = false): OwnLimit => ({ burst, perSecond, perSymbol });

/**
 * OKX limits each endpoint for itself, per 2 s: positions 10, open orders 60, conditional orders 20, cancelled orders 300 and
 * cancelled conditional orders 20 of each instrument, new orders 300 of each instrument and 1000 of the account. A call to
 * cancel costs as many tokens as it names orders. `requests` is only there to carry a pause.
 */
const OKX: VenueRates = {
  requests: { burst: 200, perSecond: 100 },
  orders: { burst: 200, perSecond: 50 },
  own: {
    positions: own(6, 2),
    orders: own(40, 10),
    triggers: own(16, 2),
    cancel: own(200, 50, true),
    cancelTriggers: own(10, 5, true),
    account: own(3, 1),
    countdown: own(1, 0.5),
  },
  weightOf: {
    markets: 1,
    time: 1,
    prices: 1,
    positions: 1,
    orders: 1,
    triggers: 1,
    cancel: 1,
    cancelTriggers: 1,
    order: 1,
    account: 1,
    countdown: 1,
  },
  concurrency: 20,
};

/** Ten calls a second is below the limit of every venue of the list that documents one. */
const CAUTIOUS: VenueRates = {
  requests: { burst: 20, perSecond: 10 },
  orders: { burst: 20, perSecond: 10 },
  own: {},
  weightOf: {
    markets: 1,
    time: 1,
    prices: 1,
    positions: 1,
    orders: 1,
    triggers: 1,
    cancel: 1,
    cancelTriggers: 1,
    order: 1,
    account: 1,
    countdown: 1,
  },
  concurrency: 10,
};

export function ratesOf(exchange: string, spot = false): VenueRates {
  if (exchange.startsWith("binance")) return spot ? BINANCE_SPOT : BINANCE;
  return exchange === "okx" || exchange === "okxus" || exchange === "myokx" ? OKX : CAUTIOUS;
}
