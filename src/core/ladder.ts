/**
 * The ladder: what is done, rung by rung, once restarts are over and the bot is proven dead.
 *
 * A rung that fails is recorded and the next one runs: closing positions must not depend on the rung before it.
 */
import type { CloseOutcome } from "./close-job.ts";

/** Pause between two slow rounds of a close that did not end flat, ms. */
export const CLOSE_RETRY_MS = 30_000;

/** Actions that can stand on a rung; each is a worker subprocess `supervisor __action NAME`. */
export type Rung = "close-positions";

/** How a rung ended: an outcome of the close, that its worker could not be run at all, or that the lockout file cannot be read. */
export type RungOutcome = CloseOutcome | "failed" | "lockDamaged";

/** The rung to run after `rung` rungs have ended; `undefined` at the end of the ladder. */
export function rungAt(ladder: readonly Rung[], rung: number): Rung | undefined {
  return ladder[rung];
}

/** Whether the close came to what it was to reach. */
export function isReached(outcome: RungOutcome): boolean {
  return outcome === "flat" || outcome === "cancelled" || outcome === "reduced";
}

/** Whether the close is tried again by itself, in slow rounds: everything that time may cure. */
export function retriesByItself(outcome: RungOutcome): boolean {
  switch (outcome) {
    case "residual":
    case "foreign":
    case "unreadable":
    case "internal":
    case "refused":
    case "failed":
      return true;
    case "flat":
    case "cancelled":
    case "reduced":
    case "planNotEmpty":
    case "keyRefused":
    case "unsupported":
    case "lockDamaged":
      return false;
  }
}
