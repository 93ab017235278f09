/**
 * The ladder: what is done, rung by rung, once restarts are over and the bot is proven dead.
 *
 * A rung that fails is recorded and the next one runs: closing positions must not depend on the rung before it.
 */
import type { CloseOutcome } from "./close-job.ts";

/** Pause between two slow rounds of a close that did not end flat, ms. */
export const CLOSE_RETRY_MS = 30_000;

/** Distance of a limit order from the mark price by rung, as ratio; rung 0 is the market order. */
const BANDS = [0, 0.001, 0.005, 0.02, 0.05] as const;

/**
 * What is left when a position's own orders do not close it, in this order: the venue's own way to close a position, and a hook of
 * the user's. Which of them there are depends on the venue, the goal and the config.
 */
export type LastStep = "venue" | "hook";

/** Refusals and lost replies in a row after which a last step is tried: no price and no size cures what they say. */
export const STUBBORN_ROUNDS = 4;

/** The rung of the first last step. */
export const FIRST_LAST_RUNG = BANDS.length;

/** 0: a market order, or none at all. */
export function bandAt(rung: number): number {
  return BANDS[rung] ?? 0;
}

/** `undefined`: an order of ours. */
export function lastStepAt(rung: number, last: readonly LastStep[]): LastStep | undefined {
  return last[rung - BANDS.length];
}

/** The rung above; above the last one it begins anew with a market order. */
export function rungAbove(rung: number, last: readonly LastStep[]): number {
  return (rung + 1) % (BANDS.length + last.length);
}

/** Whether a hook that stands beside the driver takes the close over: the driver cannot see the account, or must not touch it any more. */
export function hookTakesOver(outcome: CloseOutcome): boolean {
  switch (outcome) {
    case "keyRefused":
    case "unreadable":
    case "unsupported":
    case "internal":
      return true;
    case "flat":
    case "cancelled":
    case "reduced":
    case "residual":
    case "foreign":
    case "refused":
    case "planNotEmpty":
      return false;
  }
}

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
