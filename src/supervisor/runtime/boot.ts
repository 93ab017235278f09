/** The machine's first minute, in which nothing closes positions by itself: network, clock and disks may be about to come. */
import type { Clock } from "../../platform/clock.ts";

/** How long a machine is booting, ms. */
const BOOT_MS = 60_000;

/**
 * When that minute ends on the clock, ms; `undefined` where it is over, or nobody can tell. `uptimeMs` is that of the machine, now.
 * An instant and no timer: whoever asks compares it with the time of what has happened.
 */
export function endOfBoot(clock: Clock, uptimeMs: number | undefined): number | undefined {
  return uptimeMs === undefined || uptimeMs >= BOOT_MS ? undefined : clock.monotonicMs() + BOOT_MS - uptimeMs;
}
