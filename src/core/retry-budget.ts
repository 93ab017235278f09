/**
 * How many retries a bot may spend: so many in a sliding hour, and a share of its first attempts (Finagle's
 * RetryBudget). The hour alone is empty half a minute into an outage; the share alone never ends. The last ones of the
 * hour are kept for what makes the account safe: to cancel, to close, to place a stop.
 */

export interface RetryBudgetConfig {
  /** Retries in any hour. */
  readonly perHour: number;
  /** How many of them are kept for `urgent` ones. */
  readonly reserved: number;
  /** Tokens that a first attempt adds. */
  readonly ratio: number;
  /** Most tokens; a new budget has them all. */
  readonly cap: number;
  /** One token is added in this time, ms, so that a bot which makes few calls may retry, too. */
  readonly trickleMs: number;
}

export const RETRY_BUDGET: RetryBudgetConfig = { perHour: 100, reserved: 30, ratio: 0.2, cap: 10, trickleMs: 10_000 };

/** `urgent`: to cancel, to close, to place a stop-loss. */
export type RetryPriority = "normal" | "urgent";

export type Withdrawal =
  | { readonly granted: true; readonly atMs: number; readonly tokens: number }
  /** What is used up: the `hour`, or the share of first attempts (`ratio`). */
  | { readonly granted: false; readonly empty: "hour" | "ratio" };

/** A budget as it outlives its process, so that a crash loop cannot refill it. Times are wall time, ms since 1970 UTC. */
export interface SavedBudget {
  /** Tokens of the ratio bucket at `savedAt`. */
  readonly tokens: number;
  /** When the retries of the last hour were spent, oldest first. */
  readonly spent: readonly number[];
  readonly savedAt: number;
}

const HOUR_MS = 3_600_000;
/** 0.2 five times is not quite 1 in binary. */
const TOKEN = 1 - 1e-9;

export class RetryBudget {
  readonly #config: RetryBudgetConfig;
  /** At most `perHour` of them. */
  #spent: number[] = [];
  #tokens: number;
  #filledAtMs: number;

  constructor(config: RetryBudgetConfig, atMs: number) {
    this.#config = config;
    this.#tokens = config.cap;
    this.#filledAtMs = atMs;
  }

  /** A first attempt is made. */
  deposit(atMs: number): void {
    this.#fill(atMs);
    this.#tokens = Math.min(this.#config.cap, this.#tokens + this.#config.ratio);
  }

  /** Taken when a retry is scheduled, not when it is sent: else all that wait would overshoot (Envoy #30205). */
  withdraw(atMs: number, priority: RetryPriority): Withdrawal {
    this.#fill(atMs);
    const kept = priority === "urgent" ? 0 : this.#config.reserved;
    if (this.#spent.length >= this.#config.perHour - kept) return { granted: false, empty: "hour" };
    const hasToken = this.#tokens >= TOKEN;
    // What makes the account safe does not wait for the share: the hour bounds it.
    if (!hasToken && priority !== "urgent") return { granted: false, empty: "ratio" };
    const tokens = hasToken ? 1 : 0;
    this.#tokens = Math.max(0, this.#tokens - tokens);
    this.#spent.push(atMs);
    return { granted: true, atMs, tokens };
  }

  /** Gives back what was granted for a retry that was never sent. */
  refund(withdrawal: Withdrawal & { readonly granted: true }, atMs: number): void {
    this.#fill(atMs);
    const at = this.#spent.indexOf(withdrawal.atMs);
    if (at < 0) return;
    this.#spent.splice(at, 1);
    this.#tokens = Math.min(this.#config.cap, this.#tokens + withdrawal.tokens);
  }

  /** What is left at `atMs`: tokens of the share, and retries of the hour that are not reserved (never below 0). */
  left(atMs: number): { readonly tokens: number; readonly hour: number } {
    this.#fill(atMs);
    const { perHour, reserved } = this.#config;
    return { tokens: this.#tokens, hour: Math.max(0, perHour - reserved - this.#spent.length) };
  }

  save(atMs: number, wallMs: number): SavedBudget {
    this.#fill(atMs);
    return {
      tokens: this.#tokens,
      spent: this.#spent.map((at) => Math.round(at - atMs + wallMs)),
      savedAt: Math.round(wallMs),
    };
  }

  /** Takes on what was kept. Retries that seem to be from the future count as spent now; a damaged number as no token. */
  restore(saved: SavedBudget, atMs: number, wallMs: number): void {
    const { cap, perHour } = this.#config;
    this.#spent = saved.spent
      .slice(-perHour)
      .map((at) => atMs - Math.max(0, wallMs - at))
      .filter((at) => !Number.isNaN(at))
      .toSorted((a, b) => a - b);
    this.#tokens = saved.tokens > 0 ? Math.min(cap, saved.tokens) : 0;
    const awayMs = wallMs - saved.savedAt;
    this.#filledAtMs = atMs - (awayMs > 0 ? Math.min(awayMs, HOUR_MS) : 0);
    this.#fill(atMs);
  }

  #fill(atMs: number): void {
    const sinceMs = Math.max(0, atMs - this.#filledAtMs);
    this.#tokens = Math.min(this.#config.cap, this.#tokens + sinceMs / this.#config.trickleMs);
    this.#filledAtMs = atMs;
    const gone = this.#spent.findIndex((at) => at > atMs - HOUR_MS);
    this.#spent.splice(0, gone < 0 ? this.#spent.length : gone);
  }
}
