/** What a circuit breaker is made of: its config with defaults and bounds, its rolling window, and its form in a store. */

export interface BreakerConfig {
  /** Failures in a row that open it; Infinity switches this off. */
  readonly failureThreshold: number;
  /** Share of failures in the window that opens it, in (0, 1], once there are `minimumCalls`; Infinity switches this off. */
  readonly failureRate: number;
  readonly minimumCalls: number;
  /** Calls in the rolling window, at most 10 000. */
  readonly windowSize: number;
  /** Older calls do not count, ms: a bot that makes five calls an hour must not open on yesterday's failures. */
  readonly windowMaxAgeMs: number;
  /** From this time on a call counts as a failure, whatever it returns, ms; Infinity switches this off. */
  readonly slowCallMs: number;
  /**
   * How long it is open, ms; `openFactor` times longer each time it opens again without having closed, at most
   * `openMaxMs` (by default 300 s or twice `openMs`, whichever is more).
   */
  readonly openMs: number;
  readonly openFactor: number;
  readonly openMaxMs: number;
  /** Share of the open time that chance may add, in [0, 1], so that many bots do not come back in the same moment. */
  readonly openJitter: number;
  /** Calls under way at once while half-open. */
  readonly halfOpenMaxCalls: number;
  /** Successes while half-open that close it. */
  readonly successThreshold: number;
  /** After this time a call that was let through while half-open gives its place back, ms. */
  readonly probeLeaseMs: number;
}

/** Longest time that a service may close itself for us, ms: Binance bans addresses for up to 3 days. */
export const TRIP_MAX_MS = 3 * 86_400_000;

const DEFAULTS: BreakerConfig = {
  failureThreshold: 5,
  failureRate: 0.5,
  minimumCalls: 10,
  windowSize: 100,
  windowMaxAgeMs: 600_000,
  slowCallMs: 5_000,
  openMs: 60_000,
  openFactor: 1,
  openMaxMs: 300_000,
  openJitter: 0.1,
  halfOpenMaxCalls: 1,
  successThreshold: 2,
  probeLeaseMs: 60_000,
};

/** Least and most of each, both included. */
const BOUNDS: Readonly<Record<keyof BreakerConfig, readonly [number, number]>> = {
  failureThreshold: [1, Number.POSITIVE_INFINITY],
  failureRate: [Number.MIN_VALUE, Number.POSITIVE_INFINITY],
  minimumCalls: [1, 10_000],
  windowSize: [1, 10_000],
  windowMaxAgeMs: [1, Number.POSITIVE_INFINITY],
  slowCallMs: [1, Number.POSITIVE_INFINITY],
  openMs: [1, TRIP_MAX_MS],
  openFactor: [1, 100],
  openMaxMs: [1, TRIP_MAX_MS],
  openJitter: [0, 1],
  halfOpenMaxCalls: [1, 1_000],
  successThreshold: [1, 10_000],
  probeLeaseMs: [1, TRIP_MAX_MS],
};

const WHOLE: ReadonlySet<string> = new Set(["minimumCalls", "windowSize", "halfOpenMaxCalls", "successThreshold"]);

/** A whole config, or what is wrong with the given one, one sentence each. */
export function breakerConfig(given: Partial<BreakerConfig>): BreakerConfig | readonly string[] {
  const openMaxMs = Math.max(DEFAULTS.openMaxMs, Math.min(TRIP_MAX_MS, (given.openMs ?? 0) * 2));
  const config = { ...DEFAULTS, openMaxMs, ...given };
  const mistakes: string[] = [];
  for (const key of Object.keys(given))
    if (!Object.hasOwn(BOUNDS, key)) mistakes.push(`${key} is no setting of a breaker`);
  for (const [key, [least, most]] of Object.entries(BOUNDS)) {
    const value: unknown = Reflect.get(config, key);
    if (typeof value !== "number" || !(value >= least && value <= most))
      mistakes.push(`${key} is ${String(value)}; use ${least} to ${most}`);
    else if (WHOLE.has(key) && !Number.isInteger(value)) mistakes.push(`${key} is ${value}; use a whole number`);
  }
  if (config.failureRate > 1 && config.failureRate !== Number.POSITIVE_INFINITY)
    mistakes.push(`failureRate is ${config.failureRate}; it is a share: use up to 1`);
  if (config.minimumCalls > config.windowSize)
    mistakes.push(`minimumCalls is ${config.minimumCalls}, and windowSize ${config.windowSize} never holds so many`);
  if (config.openMaxMs < config.openMs)
    mistakes.push(`openMaxMs is ${config.openMaxMs}, less than openMs ${config.openMs}`);
  return mistakes.length > 0 ? mistakes : config;
}

/** A breaker as it outlives its process. Times are wall time, ms since 1970 UTC: a monotonic clock starts anew with the machine. */
export interface SavedBreaker {
  /** Half-open is kept as open with no time left. */
  readonly state: "closed" | "open" | "forced-open" | "disabled";
  /** When the next call is let through; `null` unless `open`. */
  readonly openUntil: number | null;
  /** Openings in a row without a close between them. */
  readonly attempt: number;
  /** Failures in a row. */
  readonly consecutive: number;
  /** The rolling window, oldest first. */
  readonly window: readonly SavedCall[];
  readonly totals: BreakerTotals;
  /** Why it is not closed, for people. */
  readonly reason: string | null;
  readonly savedAt: number;
}

export interface SavedCall {
  readonly at: number;
  readonly failed: boolean;
}

/** Counted since the breaker was made, over restarts where it is persisted. */
export interface BreakerTotals {
  /** Calls that were let through and have ended. */
  readonly calls: number;
  readonly successes: number;
  /** Errors and slow calls. */
  readonly failures: number;
  /** Failures that took too long, whatever they returned. */
  readonly slow: number;
  /** Errors that say nothing against the service, and calls that their caller gave up. */
  readonly ignored: number;
  /** Calls that were not let through. */
  readonly rejected: number;
  /** Times it has opened. */
  readonly opened: number;
}

export const NO_TOTALS: BreakerTotals = {
  calls: 0,
  successes: 0,
  failures: 0,
  slow: 0,
  ignored: 0,
  rejected: 0,
  opened: 0,
};

/** Totals as a store gave them back: what is missing there is 0. */
export function savedTotals(saved: Partial<BreakerTotals> | undefined): BreakerTotals {
  const totals = { ...NO_TOTALS, ...saved };
  return { ...totals };
}

/** The last calls in a ring: at most `size` of them, none older than `maxAgeMs`. */
export class CallWindow {
  calls = 0;
  failures = 0;
  readonly #failed: Uint8Array;
  readonly #atMs: Float64Array;
  readonly #maxAgeMs: number;
  /** Where the oldest is. */
  #first = 0;

  constructor(size: number, maxAgeMs: number) {
    this.#failed = new Uint8Array(size);
    this.#atMs = new Float64Array(size);
    this.#maxAgeMs = maxAgeMs;
  }

  add(atMs: number, failed: boolean): void {
    this.forget(atMs);
    const size = this.#failed.length;
    if (this.calls === size) this.#drop();
    let at = this.#first + this.calls;
    if (at >= size) at -= size;
    this.#atMs[at] = atMs;
    this.#failed[at] = failed ? 1 : 0;
    this.calls += 1;
    if (failed) this.failures += 1;
  }

  /** Lets go of what is too old at `atMs`. */
  forget(atMs: number): void {
    const oldest = atMs - this.#maxAgeMs;
    while (this.calls > 0 && (this.#atMs[this.#first] ?? 0) <= oldest) this.#drop();
  }

  clear(): void {
    this.calls = 0;
    this.failures = 0;
    this.#first = 0;
  }

  save(wallMinusMonotonicMs: number): readonly SavedCall[] {
    const size = this.#failed.length;
    return Array.from({ length: this.calls }, (_, n) => {
      const at = (this.#first + n) % size;
      return { at: Math.round((this.#atMs[at] ?? 0) + wallMinusMonotonicMs), failed: this.#failed[at] === 1 };
    });
  }

  restore(saved: readonly SavedCall[], atMs: number, wallMs: number): void {
    this.clear();
    let latestMs = Number.NEGATIVE_INFINITY;
    for (const { at, failed } of saved.slice(-this.#failed.length)) {
      const wasAtMs = Math.min(atMs, atMs - wallMs + at);
      // Whatever the record says, the ring is in the order of time.
      if (!(wasAtMs >= latestMs)) continue;
      latestMs = wasAtMs;
      this.add(wasAtMs, failed);
    }
    this.forget(atMs);
  }

  #drop(): void {
    if (this.#failed[this.#first] === 1) this.failures -= 1;
    this.#first = this.#first + 1 === this.#failed.length ? 0 : this.#first + 1;
    this.calls -= 1;
  }
}
