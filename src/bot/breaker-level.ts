/** An open breaker as a wish for a degradation level. */
import type { BreakerState } from "../core/circuit.ts";
import type { Breaker } from "./breaker.ts";
import type { Level, ProposeLevel } from "./ports.ts";

/** A breaker that keeps opening for so long raises `degraded` to `minimal`, ms. */
const WORSE_AFTER_MS = 120_000;
/** The wish holds so much longer than the breaker is open, ms: a probe must come by first. */
const GRACE_MS = 60_000;
/** How long one holds that only a person ends, ms; it is not renewed. */
const FORCED_MS = 3_600_000;

/** The clock, and a timer that does not keep the process alive. */
interface LevelClock {
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => () => void;
}

const realClock: LevelClock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/**
 * Proposes `level` while the breaker is not closed, also one that was so before: `degraded` for reads (and `minimal` once
 * that has lasted for two minutes), `minimal` for orders. Returns what ends that.
 */
export function proposeWhileOpen(
  breaker: Breaker,
  level: Extract<Level, "degraded" | "minimal">,
  propose: ProposeLevel,
  clock: LevelClock = realClock,
): () => void {
  let sinceMs: number | undefined;
  let stopWaiting: (() => void) | undefined;
  const source = `breaker:${breaker.name}`;
  const look = (state: BreakerState, reason: string | null, retryAfterMs: number | undefined): void => {
    stopWaiting?.();
    if (state === "closed" || state === "disabled") {
      sinceMs = undefined;
      propose({ source, level: "normal", reason: `the breaker is ${state}`, ttlMs: 0 });
      return;
    }
    sinceMs ??= clock.now();
    const worseInMs = sinceMs + WORSE_AFTER_MS - clock.now();
    const ttlMs = (retryAfterMs ?? FORCED_MS) + GRACE_MS;
    const held = worseInMs <= 0 ? "minimal" : level;
    propose({ source, level: held, reason: reason ?? `the breaker is ${state}`, ttlMs });
    // One that stays open for long changes nothing by itself until then.
    if (held !== "minimal")
      stopWaiting = clock.after(worseInMs, () => look(breaker.state, reason, breaker.retryAfterMs()));
  };
  if (breaker.state !== "closed" && breaker.state !== "disabled")
    look(breaker.state, "it was so at the start", breaker.retryAfterMs());
  const unhook = breaker.onStateChange(({ to, reason, retryAfterMs }) => look(to, reason, retryAfterMs));
  return () => {
    stopWaiting?.();
    unhook();
  };
}
