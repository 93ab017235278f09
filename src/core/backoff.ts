/**
 * Restart delay as a pure function of the attempt number.
 *
 * Terms follow Kubernetes CrashLoopBackOff: an *attempt* is one restart in a row,
 * the *base* is the first delay, the *cap* the largest, jitter included.
 */
import * as z from "zod";
import { duration } from "./duration.ts";

/** The fields, to be spread into the config's `restart` section. */
export const backoffFields = {
  base: duration().prefault("1s").describe("Delay before the first restart in a row."),
  factor: z.number().min(1).max(10).default(2).describe("Growth of the delay per restart in a row, a ratio."),
  cap: duration().prefault("60s").describe("Upper bound of the delay, jitter included."),
  jitter: z.number().min(0).max(1).default(0.1).describe("Share of the delay that is added at random, 0 to 1."),
};

export const backoffSchema = z
  .strictObject(backoffFields)
  .refine((b) => b.base <= b.cap, { path: ["base"], message: "base must not be larger than cap" });
export type Backoff = z.output<typeof backoffSchema>;

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
