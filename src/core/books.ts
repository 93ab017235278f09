/** What a bot owns, as it is kept: amounts are decimal texts, times ms since 1970 UTC. */

export interface SavedPosition {
  readonly id: string;
  readonly account: string;
  readonly symbol: string;
  readonly side: "long" | "short";
  readonly quantity: string;
  readonly entryPrice: string | null;
  readonly currentPrice: string | null;
  readonly stopLoss: string | null;
  readonly takeProfit: string | null;
  readonly entryTime: number | null;
  /** `orphan`: found at the venue without a record; `mismatch`: the record and the venue did not agree. */
  readonly status: "open" | "closing" | "closed" | "orphan" | "mismatch";
  /** Who says so: `bot` or `venue`. */
  readonly source: string;
  /** Whatever else the bot keeps with it, for example as JSON. */
  readonly extra: string | null;
  readonly updatedAt: number;
}

export interface SavedTrade {
  readonly id: string;
  readonly clientOrderId: string | null;
  readonly symbol: string;
  readonly side: "buy" | "sell";
  readonly quantity: string;
  readonly price: string;
  readonly pnl: string | null;
  readonly commission: string | null;
  readonly at: number;
}

/** A trading day, UTC. */
export interface SavedDay {
  /** As 2026-01-31. */
  readonly day: string;
  readonly startEquity: string;
  readonly realized: string;
  readonly unrealized: string;
  readonly fees: string;
  readonly updatedAt: number;
}
