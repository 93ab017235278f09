/** When a call is made again: full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog), never sooner than the service asks. */

import type { CallVerdict } from "./call-error.ts";

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

/** Why a call is not made again. */
export type StopReason = "fatal" | "exhausted" | "aborted" | "open" | "ambiguous";

export interface RetryFacts {
  readonly verdict: CallVerdict;
  /** Whether making it again could do twice what it does: then it is made again only if it certainly was not executed. */
  readonly repeatable: boolean;
  /** Retries made so far, and the most of them. */
  readonly retries: number;
  readonly maxRetries: number;
  readonly aborted: boolean;
  readonly delayMs: number;
  /** How long the breaker rejects calls, ms; 0 where there is none or it lets through, `undefined` until a person resets it. */
  readonly openMs: number | undefined;
}

/** Why the call is not made again after `delayMs`; `undefined` when it may be. The budget is asked after this, and last. */
export function stopReason(facts: RetryFacts): StopReason | undefined {
  if (facts.aborted) return "aborted";
  if (!facts.repeatable && facts.verdict.executed === "maybe") return "ambiguous";
  if (!facts.verdict.retry) return "fatal";
  if (facts.retries >= facts.maxRetries) return "exhausted";
  // A breaker that will let a probe through by then does not stop it: a limit that asks for two seconds costs two seconds.
  if (facts.openMs === undefined || facts.openMs > facts.delayMs) return "open";
  return undefined;
}
