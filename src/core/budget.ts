/**
 * Restart budget: at most `intensity` restarts within `period`.
 *
 * The rule and both names are Erlang/OTP's supervisor flags (intensity, period):
 * one restart more than `intensity` inside the sliding `period` exhausts it.
 */
import type { Budget } from "./restart-schema.ts";

/** Restart times inside the window, oldest first, in monotonic ms; never longer than `intensity + 1`. */
export type RestartLog = readonly number[];

/** The restarts of `log` that still count at `atMs`. */
export function restartsInPeriod(policy: Budget, log: RestartLog, atMs: number): RestartLog {
  return log.filter((at) => at > atMs - policy.period);
}

/** Books one restart at `atMs`; `exhausted` says that it was one too many. */
export function spendRestart(policy: Budget, log: RestartLog, atMs: number): { log: RestartLog; exhausted: boolean } {
  const next = [...restartsInPeriod(policy, log, atMs), atMs].slice(-(policy.intensity + 1));
  return { log: next, exhausted: next.length > policy.intensity };
}
