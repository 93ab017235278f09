/**
 * What a process can see of its own trouble, as data: an event loop that comes late, a disk that is full, a clock that is wrong.
 * Each sign is taken back at a lower mark than it is given, so that what hovers around a limit does not flap.
 */

/** How often the loop is to come by, ms. */
export const LOOP_TICK_MS = 100;
/** Time over which lateness is counted, ms. */
const LAG_WINDOW_MS = 60_000;
/** Share of the ticks of the window that may be late: with more, the 99th percentile of the lag is above the limit. */
const LATE_RATIO = 0.01;

interface LateTicks {
  readonly atMs: number;
  readonly late: number;
  readonly gapMs: number;
}

/**
 * Lag of an event loop: whether its 99th percentile of the last minute is above a limit. A tick that never came because the loop
 * was busy counts as late, too: else one stall of ten seconds would be one late tick among six hundred (coordinated omission).
 */
export class LoopLag {
  readonly #limitMs: number;
  #lastMs: number;
  /** At most one for each tick of the window. */
  #lates: LateTicks[] = [];
  #above = false;

  constructor(limitMs: number, atMs: number) {
    this.#limitMs = limitMs;
    this.#lastMs = atMs;
  }

  /** The loop has come by. */
  tick(atMs: number): void {
    const gapMs = atMs - this.#lastMs;
    this.#lastMs = atMs;
    const late = Math.min(Math.floor((gapMs - this.#limitMs) / LOOP_TICK_MS), LAG_WINDOW_MS / LOOP_TICK_MS);
    if (late > 0) this.#lates.push({ atMs, late, gapMs });
  }

  /** The longest stall of the last minute, ms, while the lag is too long; `undefined` while it is not. */
  tooLong(atMs: number): number | undefined {
    this.#lates = this.#lates.filter((each) => each.atMs > atMs - LAG_WINDOW_MS);
    const late = this.#lates.reduce((sum, each) => sum + each.late, 0);
    this.#above = late > (LATE_RATIO * LAG_WINDOW_MS) / LOOP_TICK_MS || (this.#above && late > 0);
    return this.#above ? Math.max(...this.#lates.map(({ gapMs }) => gapMs)) : undefined;
  }
}

/** A value with a limit: reached beyond `limit`, over again at `clear`, whichever of the two is higher. A limit that is `clear`, too, is never reached from above. */
export class Mark {
  readonly #limit: number;
  readonly #clear: number;
  #reached = false;

  constructor(limit: number, clear: number) {
    this.#limit = limit;
    this.#clear = clear;
  }

  /** Whether the limit counts as reached with this value. */
  look(value: number): boolean {
    const up = this.#limit > this.#clear;
    const beyond = up ? value > this.#limit : value < this.#limit;
    const back = up ? value <= this.#clear : value >= this.#clear;
    this.#reached = beyond || (this.#reached && !back);
    return this.#reached;
  }
}

/**
 * How far a clock is off for sure, ms: the venue read its own somewhere between the two readings of ours. 0 where the request
 * took longer than the difference.
 */
export function clockOffMs(venueMs: number, beforeMs: number, afterMs: number): number {
  return Math.max(0, venueMs - afterMs, beforeMs - venueMs);
}
