/** What each kind of call costs and how much a venue takes; Binance's numbers are its documented limits, the rest is cautious. */
import type { BucketLimits } from "./bucket.ts";

export type CallKind = "markets" | "time" | "positions" | "orders" | "cancel" | "order";

export interface VenueRates {
  /** Weight of all requests. */
  readonly requests: BucketLimits;
  /** Orders alone. */
  readonly orders: BucketLimits;
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
  weightOf: { markets: 1, time: 1, positions: 5, orders: 40, cancel: 1, order: 1 },
  concurrency: 20,
};

/** Ten calls a second is below the limit of every venue of the list that documents one. */
const CAUTIOUS: VenueRates = {
  requests: { burst: 20, perSecond: 10 },
  orders: { burst: 20, perSecond: 10 },
  weightOf: { markets: 1, time: 1, positions: 1, orders: 1, cancel: 1, order: 1 },
  concurrency: 10,
};

export function ratesOf(exchange: string): VenueRates {
  return exchange.startsWith("binance") ? BINANCE : CAUTIOUS;
}
