/**
 * What happened to the machine's clocks between two looks: CLOCK_BOOTTIME runs on while the machine sleeps and
 * CLOCK_MONOTONIC does not, and only CLOCK_REALTIME can be set (clock_gettime(2)).
 */

/** The three clocks, read at one moment, ms. */
export interface ClockReading {
  readonly monotonicMs: number;
  readonly boottimeMs: number;
  readonly realtimeMs: number;
}

export interface ClockJump {
  /** How long the machine slept, ms; 0: it did not. */
  readonly sleptMs: number;
  /** How far the wall clock was set, ms: forward is positive; 0: it was not. */
  readonly steppedMs: number;
}

/** A smaller difference is that of reading, or of a clock that is slewed, ms. timesyncd steps from 400 ms on, chrony as configured. */
const NOTICED_MS = 500;
/** The kernel slews a clock by at most 500 ppm (adjtimex(2)); twice that is no slewing. */
const SLEW_RATIO = 0.001;

/** Differences below 500 ms, or below 0.1 % of the time between the two looks, are none. */
export function clockJump(before: ClockReading, now: ClockReading): ClockJump {
  const bootMs = now.boottimeMs - before.boottimeMs;
  const least = Math.max(NOTICED_MS, bootMs * SLEW_RATIO);
  const noticed = (ms: number): number => (Math.abs(ms) >= least ? ms : 0);
  const sleptMs = noticed(bootMs - (now.monotonicMs - before.monotonicMs));
  return { sleptMs: Math.max(0, sleptMs), steppedMs: noticed(now.realtimeMs - before.realtimeMs - bootMs) };
}
