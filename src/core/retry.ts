/** When a call is made again: full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog), never sooner than the service asks. */

export interface RetryDelay {
  /** Most of the first delay, ms; it doubles with each retry. */
  readonly baseMs: number;
  /** Most that chance may draw, ms. */
  readonly capMs: number;
}

/**
 * Delay before retry number `retry` (0 is the first), whole ms: the larger of what the service asked for and of a number
 * drawn between 0 and `min(capMs, baseMs · 2^retry)`. `roll` is in [0, 1).
 */
export function retryDelayMs(delay: RetryDelay, retry: number, roll: number, retryAfterMs: number | undefined): number {
  const most = Math.min(delay.capMs, delay.baseMs * 2 ** Math.min(retry, 1_000));
  return Math.max(Math.ceil(retryAfterMs ?? 0), Math.floor(roll * most));
}
