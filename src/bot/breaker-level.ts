/** An open breaker as a wish for a degradation level. */
import type { Breaker } from "./breaker.ts";
import type { Level, ProposeLevel } from "./ports.ts";

/** A breaker that keeps opening for so long raises `degraded` to `minimal`, ms. */
const WORSE_AFTER_MS = 120_000;
/** The wish holds so much longer than the breaker is open, ms: a probe must come by first. */
const GRACE_MS = 60_000;
/** How long one holds that only a person ends, ms; it is not renewed. */
const FORCED_MS = 3_600_000;

/**
 * Proposes `level` while the breaker is not closed: `degraded` for reads (and `minimal` once that has lasted for two
 * minutes), `minimal` for orders. Returns what ends that.
 */
export function proposeWhileOpen(
  breaker: Breaker,
  level: Extract<Level, "degraded" | "minimal">,
  propose: ProposeLevel,
  now: () => number = () => performance.now(),
): () => void {
  let sinceMs: number | undefined;
  const source = `breaker:${breaker.name}`;
  return breaker.onStateChange(({ to, reason, retryAfterMs }) => {
    if (to === "closed" || to === "disabled") {
      sinceMs = undefined;
      propose({ source, level: "normal", reason: `the breaker is ${to}`, ttlMs: 0 });
      return;
    }
    sinceMs ??= now();
    const lasting = now() - sinceMs >= WORSE_AFTER_MS;
    const ttlMs = (retryAfterMs ?? FORCED_MS) + GRACE_MS;
    propose({ source, level: lasting ? "minimal" : level, reason: reason ?? `the breaker is ${to}`, ttlMs });
  });
}
