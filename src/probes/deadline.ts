/** The deadline of one probe run: a run that outlives its `timeout` is a failure, unless the supervisor itself was stalled. */
import { formatDuration } from "../core/duration.ts";
import type { ProbeResult } from "../core/verdict.ts";
import type { Clock } from "../platform/clock.ts";

/** A timer that fires this much too late tells of our own stall (stopped process, frozen machine), not of the bot, ms. */
export const OWN_STALL_MS = 5_000;

/** A timer may fire this much before its time by the monotonic clock, ms: both are rounded. */
const EARLY_TIMER_MS = 10;

export interface Deadline {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Aborts when the result is no longer wanted, e.g. because the bot's generation ended. */
  readonly signal: AbortSignal;
  /** What a run means that took too long: `unknown` for probes that ask only the supervisor's own machine. */
  readonly late: "failure" | "unknown";
}

/**
 * Runs `run` and answers within `timeoutMs`, also when `run` never ends or ignores its signal.
 * The signal given to `run` aborts as soon as there is an answer; what `run` throws is `unknown`.
 */
export function withDeadline(
  deadline: Deadline,
  run: (signal: AbortSignal) => Promise<ProbeResult>,
): Promise<ProbeResult> {
  const { clock, timeoutMs, signal } = deadline;
  if (signal.aborted) return Promise.resolve(cancelled);
  const startedAtMs = clock.monotonicMs();
  const own = new AbortController();
  return new Promise((resolve) => {
    const end = (result: ProbeResult): void => {
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
      resolve(result);
      own.abort();
    };
    const onAbort = (): void => {
      const elapsedMs = clock.monotonicMs() - startedAtMs;
      end(wasGivenUp(elapsedMs, timeoutMs) ? cancelled : tooLate(deadline, elapsedMs));
    };
    const cancelTimer = clock.after(timeoutMs, () => end(tooLate(deadline, clock.monotonicMs() - startedAtMs)));
    signal.addEventListener("abort", onAbort, { once: true });
    run(own.signal).then(end, (error: unknown) =>
      end({
        kind: "unknown",
        reason: `cannot run the probe: ${error instanceof Error ? error.message : String(error)}`,
      }),
    );
  });
}

/** The run was given up before its timeout: it says nothing. */
export const cancelled: ProbeResult = { kind: "unknown", reason: "cancelled before it ended" };

/** Whether an aborted run of `elapsedMs` was given up by its owner, rather than ended because its time was over. */
export function wasGivenUp(elapsedMs: number, timeoutMs: number): boolean {
  return elapsedMs < timeoutMs - EARLY_TIMER_MS;
}

/** The supervisor or the whole machine stood still for `stalledMs`: nothing is known of the bot. */
export function ownStall(stalledMs: number): ProbeResult {
  return { kind: "unknown", reason: `the supervisor itself was stalled for ${Math.round(stalledMs / 1_000)} s` };
}

function tooLate({ timeoutMs, late }: Deadline, elapsedMs: number): ProbeResult {
  const stalledMs = elapsedMs - timeoutMs;
  if (stalledMs > OWN_STALL_MS) return ownStall(stalledMs);
  return { kind: late, reason: `no answer within ${formatDuration(timeoutMs)}` };
}
