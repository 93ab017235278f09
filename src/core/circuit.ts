/** Circuit breaker as a pure state machine (Nygard, "Release It!"). */

/** A breaker as it outlives its process. Times are wall time, ms since 1970 UTC: a monotonic clock starts anew with the machine. */
export interface SavedBreaker {
  /** Half-open is kept as open with no time left. */
  readonly state: "closed" | "open" | "forced-open" | "disabled";
  /** When the next call is let through; `null` unless `open`. */
  readonly openUntil: number | null;
  /** Openings in a row without a close between them. */
  readonly attempt: number;
  /** Failures in a row. */
  readonly consecutive: number;
  /** The rolling window, oldest first. */
  readonly window: readonly SavedCall[];
  readonly totals: BreakerTotals;
  /** Why it is not closed, for people. */
  readonly reason: string | null;
  readonly savedAt: number;
}

export interface SavedCall {
  readonly at: number;
  readonly failed: boolean;
}

/** Counted since the breaker was made, over restarts where it is persisted. */
export interface BreakerTotals {
  /** Calls that were let through and have ended. */
  readonly calls: number;
  readonly successes: number;
  /** Errors and slow calls. */
  readonly failures: number;
  /** Calls that took too long, whatever they returned. */
  readonly slow: number;
  /** Errors that say nothing against the service. */
  readonly ignored: number;
  /** Calls that were not let through. */
  readonly rejected: number;
  /** Times it has opened. */
  readonly opened: number;
}
