/**
 * Restart budget: at most `intensity` restarts within `period`.
 *
 * The rule and both names are Erlang/OTP's supervisor flags (intensity, period):
 * one restart more than `intensity` inside the sliding `period` exhausts it.
 */
import type { Budget } from "./restart-schema.ts";

/** Entries of a log. A budget of more restarts is counted in slots of the period's thousandth part. */
const MAX_ENTRIES = 1_000;

/** Restarts that were close together. */
interface Restarts {
  /** Of the last of them, monotonic ms. */
  readonly atMs: number;
  readonly count: number;
}

/** The restarts inside the window, oldest first; never more than 1 001 entries, nor `intensity + 1`. */
export type RestartLog = readonly Restarts[];

/** How many restarts of `log` still count at `atMs`. */
export function restartsInPeriod(policy: Budget, log: RestartLog, atMs: number): number {
  return total(inPeriod(policy, log, atMs));
}

/** Books one restart at `atMs`; `exhausted` says that it was one too many. */
export function spendRestart(policy: Budget, log: RestartLog, atMs: number): { log: RestartLog; exhausted: boolean } {
  const next = booked(policy, inPeriod(policy, log, atMs), atMs).slice(-(policy.intensity + 1));
  return { log: next, exhausted: total(next) > policy.intensity };
}

function inPeriod({ period }: Budget, log: RestartLog, atMs: number): RestartLog {
  return log.filter((each) => each.atMs > atMs - period);
}

/** Those of one slot count until the last of them is as old as the period, so that never more than `intensity` are allowed. */
function booked({ intensity, period }: Budget, log: RestartLog, atMs: number): RestartLog {
  const last = log.at(-1);
  const slotMs = intensity > MAX_ENTRIES ? period / MAX_ENTRIES : 0;
  if (last === undefined || slotMs === 0 || Math.floor(last.atMs / slotMs) !== Math.floor(atMs / slotMs))
    return [...log, { atMs, count: 1 }];
  return [...log.slice(0, -1), { atMs, count: last.count + 1 }];
}

function total(log: RestartLog): number {
  return log.reduce((sum, { count }) => sum + count, 0);
}
