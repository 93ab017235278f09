/** The machine's first minute, in which nothing closes positions by itself: network, clock and disks may be about to come. */
import type { Clock } from "../../platform/clock.ts";

/** How long a machine is booting, ms. */
const BOOT_MS = 60_000;

/**
 * What is left of that minute, ms, as a function of now. `uptimeMs` is that of the machine, now; `undefined` where it cannot be told:
 * then it is taken for long. `onEnd` is called once when the minute is over, never where it was over before.
 */
export function firstMinute(clock: Clock, uptimeMs: number | undefined, onEnd: () => void): () => number {
  const endMs = clock.monotonicMs() + BOOT_MS - (uptimeMs ?? BOOT_MS);
  const leftMs = (): number => Math.max(0, endMs - clock.monotonicMs());
  if (leftMs() > 0) clock.after(leftMs(), onEnd);
  return leftMs;
}
