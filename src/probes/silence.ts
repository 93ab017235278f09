/** The shared half of `heartbeat` and `progress`: a failure when a sign of life has been missing for too long. */
import { silenceMs } from "../core/progress.ts";
import type { ProbeResult } from "../core/verdict.ts";
import type { Probe, ProbeContext } from "./contract.ts";
import { ownStall } from "./deadline.ts";

/** The shortest delay between two looks, ms: rounding must not make a busy loop. */
const MIN_DELAY_MS = 10;
/** A look is "late" beyond half the timeout, within these bounds, ms: below is ordinary load, above the machine stood still. */
const MIN_STALL_MS = 1_000;
const MAX_STALL_MS = 5_000;

interface SilenceWatch {
  /** What is missing, for the reason: "heartbeat" or "progress". */
  readonly what: string;
  readonly periodMs: number;
  /** The longest silence, ms; `undefined`: the watch is off. */
  readonly timeoutMs: () => number | undefined;
  readonly lastAtMs: () => number | undefined;
  /** A reason to fail at once; `undefined`: none. */
  readonly alarm: () => string | undefined;
}

/**
 * A probe that sleeps until exactly the moment at which the silence would exceed its timeout.
 *
 * When a look comes much later than it was due, the supervisor or the machine stood still and so, perhaps, did the
 * bot: the silence is then counted afresh from now.
 */
export function watchSilence(watch: SilenceWatch, context: Pick<ProbeContext, "clock" | "armedAtMs">): Probe {
  let excusedAtMs = Number.NEGATIVE_INFINITY;
  let dueAtMs: number | undefined;
  let failed = false;

  const silenceNow = (): number =>
    silenceMs(Math.max(context.armedAtMs(), excusedAtMs), watch.lastAtMs(), context.clock.monotonicMs());

  const excuseStall = (timeoutMs: number): number => {
    const nowMs = context.clock.monotonicMs();
    const lateMs = dueAtMs === undefined ? 0 : nowMs - dueAtMs;
    dueAtMs = undefined;
    if (lateMs <= Math.min(MAX_STALL_MS, Math.max(MIN_STALL_MS, timeoutMs / 2))) return 0;
    excusedAtMs = nowMs;
    return lateMs;
  };

  const look = (): ProbeResult => {
    const alarm = watch.alarm();
    if (alarm !== undefined) return { kind: "failure", reason: alarm };
    const timeoutMs = watch.timeoutMs();
    if (timeoutMs === undefined) return { kind: "success" };
    const silentMs = silenceNow();
    const stalledMs = excuseStall(timeoutMs);
    if (silentMs <= timeoutMs) return watch.lastAtMs() === undefined ? notYet(watch.what) : { kind: "success" };
    if (stalledMs > 0) return ownStall(stalledMs);
    return { kind: "failure", reason: silenceReason(watch.what, silentMs, timeoutMs) };
  };

  return {
    run: () => {
      const result = look();
      failed = result.kind === "failure";
      return Promise.resolve(result);
    },
    nextDelayMs: () => {
      const timeoutMs = watch.timeoutMs();
      // A failure is known already; looking again before the period would only repeat it.
      const untilMs = timeoutMs === undefined || failed ? watch.periodMs : timeoutMs - silenceNow() + 1;
      const delayMs = Math.max(MIN_DELAY_MS, Math.min(watch.periodMs, untilMs));
      dueAtMs = context.clock.monotonicMs() + delayMs;
      return delayMs;
    },
  };
}

/** Before its first sign nothing is known of a bot: neither that it lives nor that it hangs. */
function notYet(what: string): ProbeResult {
  return { kind: "unknown", reason: `no ${what} yet` };
}

function silenceReason(what: string, silentMs: number, timeoutMs: number): string {
  // In seconds like the silence beside it, not as "1m".
  const limit = timeoutMs % 1_000 === 0 ? `${timeoutMs / 1_000}s` : `${timeoutMs}ms`;
  const silent = silentMs < 10_000 ? (silentMs / 1_000).toFixed(1) : String(Math.round(silentMs / 1_000));
  return `no ${what} for ${silent} s (timeout ${limit})`;
}
