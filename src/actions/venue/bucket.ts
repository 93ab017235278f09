/** How fast we may ask a venue: a token bucket (leaky-bucket meter) at the venue's real limits, in place of ccxt's limiter, which alone costs seconds. */
import { sleep } from "../../platform/clock.ts";
import type { Clock } from "../../platform/clock.ts";

export interface BucketLimits {
  /** Tokens that may be spent at once. */
  readonly burst: number;
  readonly perSecond: number;
}

/** Refusals halve rate and burst down to this share: slower, an account could not be read any more within its close. */
const MIN_SHARE = 1 / 8;
/** Longest single sleep, ms, so that a pause that was lengthened meanwhile is seen. */
const MAX_NAP_MS = 1_000;

export class Bucket {
  readonly #clock: Clock;
  readonly #limits: BucketLimits;
  #share = 1;
  #tokens: number;
  #refilledAtMs: number;
  #pausedUntilMs = 0;

  constructor(limits: BucketLimits, clock: Clock) {
    this.#clock = clock;
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#refilledAtMs = clock.monotonicMs();
  }

  /** Takes `cost` tokens, waiting for them; `false` when `signal` aborted first and nothing may be sent. A cost above the burst waits for a full bucket. */
  async take(cost: number, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      const waitMs = this.#waitMs(cost);
      if (waitMs <= 0) {
        this.#tokens -= cost;
        return true;
      }
      // Safe: a wait for the next token.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(this.#clock, Math.min(waitMs, MAX_NAP_MS), signal);
    }
    return false;
  }

  /** The venue said "too many": nothing goes out for `ms`, then at half the rate. Answers to requests sent before the pause count once. */
  throttle(ms: number): void {
    if (!this.paused) this.#share = Math.max(MIN_SHARE, this.#share / 2);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#clock.monotonicMs() + ms);
  }

  get paused(): boolean {
    return this.#clock.monotonicMs() < this.#pausedUntilMs;
  }

  #waitMs(cost: number): number {
    const nowMs = this.#clock.monotonicMs();
    const [burst, perSecond] = [this.#limits.burst * this.#share, this.#limits.perSecond * this.#share];
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#refilledAtMs) / 1_000) * perSecond);
    this.#refilledAtMs = nowMs;
    if (nowMs < this.#pausedUntilMs) return this.#pausedUntilMs - nowMs;
    const missing = Math.min(cost, burst) - this.#tokens;
    return missing <= 0 ? 0 : Math.ceil((missing / perSecond) * 1_000);
  }
}
