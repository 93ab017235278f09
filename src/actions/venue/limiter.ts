/** All limits of a venue together: those of every request, of each kind of call, of each instrument, and the pause that it asked for. */
import type { Clock } from "../../platform/clock.ts";
import { Bucket } from "./bucket.ts";
import type { CallKind, VenueRates } from "./rates.ts";

export class Limiter {
  readonly #rates: VenueRates;
  readonly #clock: Clock;
  readonly #requests: Bucket;
  readonly #orders: Bucket;
  /** By kind, and instrument where each has its own; as many as the venue has instruments with something to cancel. */
  readonly #own = new Map<string, Bucket>();

  constructor(rates: VenueRates, clock: Clock) {
    this.#rates = rates;
    this.#clock = clock;
    this.#requests = new Bucket(rates.requests, clock);
    this.#orders = new Bucket(rates.orders, clock);
  }

  /** The venue asked for a pause that is not over. */
  get paused(): boolean {
    return this.#requests.paused;
  }

  /** Nothing goes out for `ms`, then everything at half the rate. */
  throttle(ms: number): void {
    for (const bucket of [this.#requests, this.#orders, ...this.#own.values()]) bucket.throttle(ms);
  }

  /** Waits for one call that names `orders` orders (default 1) of `symbol`; `false` when `signal` aborted first and nothing may be sent. */
  async take(kind: CallKind, signal: AbortSignal, symbol = "", orders = 1): Promise<boolean> {
    const own = this.#ownBucket(kind, symbol);
    if (own !== undefined && !(await own.take(orders, signal))) return false;
    return this.#requests.take(this.#rates.weightOf[kind], signal);
  }

  /** Waits for one new order. */
  async takeOrder(signal: AbortSignal): Promise<boolean> {
    return (await this.#orders.take(1, signal)) && this.#requests.take(this.#rates.weightOf.order, signal);
  }

  #ownBucket(kind: CallKind, symbol: string): Bucket | undefined {
    const limits = this.#rates.own[kind];
    if (limits === undefined) return undefined;
    const key = limits.perSymbol ? `${kind} ${symbol}` : kind;
    const bucket = this.#own.get(key) ?? new Bucket(limits, this.#clock);
    this.#own.set(key, bucket);
    return bucket;
  }
}
