/** How many retries a bot may spend: a sliding hour and a share of its first attempts (Finagle's RetryBudget). */

/** A budget as it outlives its process, so that a crash loop cannot refill it. Times are wall time, ms since 1970 UTC. */
export interface SavedBudget {
  /** Tokens of the ratio bucket at `savedAt`. */
  readonly tokens: number;
  /** When the retries of the last hour were spent, oldest first. */
  readonly spent: readonly number[];
  readonly savedAt: number;
}
