/**
 * Restart delay as a pure function of the attempt number.
 *
 * Terms follow Kubernetes CrashLoopBackOff: an *attempt* is one restart in a row,
 * the *base* is the first delay, the *cap* the largest, jitter included.
 */
import type { Backoff } from "./restart-schema.ts";

/**
 * Delay before restart number `attempt` (1 is the first), in ms: `min(cap, base · factor^(attempt−1))`, plus jitter.
 *
 * `roll` is a random number in [0, 1) drawn by the caller, so that a test can pin it. The result is never below the
 * plain delay and never above `cap`: an operator who sets 60 s must not wait 66 s.
 */
export function restartDelayMs(policy: Backoff, attempt: number, roll: number): number {
  // Bounded, because 0 · Infinity is not a number: a base of 0s stays 0s after a thousand restarts.
  const growth = Math.min(policy.factor ** (attempt - 1), Number.MAX_VALUE);
  const plain = Math.min(policy.base * growth, policy.cap);
  return Math.min(Math.round(plain * (1 + policy.jitter * roll)), policy.cap);
}
