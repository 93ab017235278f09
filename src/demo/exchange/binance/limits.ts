/** Request weights and order counts with Binance's limits for USDⓈ-M futures: 2400 weight a minute, 300 orders in 10 s, 1200 a minute. */
import { VenueError } from "./errors.ts";

export const WEIGHT_PER_MINUTE = 2_400;
export const ORDERS_PER_10S = 300;
export const ORDERS_PER_MINUTE = 1_200;

const MINUTE_MS = 60_000;
const TEN_SECONDS_MS = 10_000;
/** Refused requests in one minute after which the address is banned: who ignores 429 gets 418. */
const REFUSALS_BEFORE_BAN = 100;
const BAN_SECONDS = 120;

interface Window {
  startMs: number;
  used: number;
}

/** Weight a minute, orders in 10 s and in a minute. */
interface Caps {
  weight: number;
  orders10s: number;
  orders1m: number;
}

const FUTURES: Caps = { weight: WEIGHT_PER_MINUTE, orders10s: ORDERS_PER_10S, orders1m: ORDERS_PER_MINUTE };

export class Limits {
  #weight: Window = { startMs: 0, used: 0 };
  #orders10s: Window = { startMs: 0, used: 0 };
  #orders1m: Window = { startMs: 0, used: 0 };
  #refusals: Window = { startMs: 0, used: 0 };
  #bannedUntilMs = 0;
  readonly #speed: number;
  readonly #caps: Caps;

  /** `speed`: how many times faster than the clock windows and bans run. */
  constructor(speed: number, caps: Caps = FUTURES) {
    this.#speed = speed;
    this.#caps = caps;
  }

  reset(): void {
    for (const window of [this.#weight, this.#orders10s, this.#orders1m, this.#refusals]) window.used = 0;
    this.#bannedUntilMs = 0;
  }

  /** Refuses every request for `seconds`; returns the refusal. */
  ban(seconds: number, nowMs: number): VenueError {
    this.#bannedUntilMs = nowMs + (seconds * 1_000) / this.#speed;
    return this.#banOf(nowMs);
  }

  /** The refusal while a ban lasts. */
  banned(nowMs: number): VenueError | undefined {
    return nowMs < this.#bannedUntilMs ? this.#banOf(nowMs) : undefined;
  }

  /** Counts a request; throws 429 (and after many of them 418) when a limit is passed. Such a request is not executed. */
  spend(weight: number, orders: number, nowMs: number): void {
    if (spendOne(this.#weight, MINUTE_MS / this.#speed, weight, nowMs) > this.#caps.weight) {
      const text = `Too many requests; current limit of IP is ${this.#caps.weight} requests per minute.`;
      throw this.#refuse(-1003, text, this.#leftMs(this.#weight, MINUTE_MS, nowMs), nowMs);
    }
    if (orders === 0) return;
    if (spendOne(this.#orders10s, TEN_SECONDS_MS / this.#speed, orders, nowMs) > this.#caps.orders10s) {
      const text = `Too many new orders; current limit is ${this.#caps.orders10s} orders per 10 SECOND.`;
      throw this.#refuse(-1015, text, this.#leftMs(this.#orders10s, TEN_SECONDS_MS, nowMs), nowMs);
    }
    if (spendOne(this.#orders1m, MINUTE_MS / this.#speed, orders, nowMs) > this.#caps.orders1m) {
      const text = `Too many new orders; current limit is ${this.#caps.orders1m} orders per 1 MINUTE.`;
      throw this.#refuse(-1015, text, this.#leftMs(this.#orders1m, MINUTE_MS, nowMs), nowMs);
    }
  }

  /** The counters as the venue's reply headers tell them. */
  headers(): Record<string, string> {
    return {
      "X-MBX-USED-WEIGHT-1M": String(this.#weight.used),
      "X-MBX-ORDER-COUNT-10S": String(this.#orders10s.used),
      "X-MBX-ORDER-COUNT-1M": String(this.#orders1m.used),
    };
  }

  #banOf(nowMs: number): VenueError {
    const leftMs = (this.#bannedUntilMs - nowMs) * this.#speed;
    const headers = { "Retry-After": String(Math.ceil(leftMs / 1_000)) };
    return new VenueError(-1003, `Way too many requests; IP banned until ${this.#bannedUntilMs}.`, 418, headers);
  }

  /** Of the window, in the time of the limits. */
  #leftMs({ startMs }: Window, lengthMs: number, nowMs: number): number {
    return lengthMs - (nowMs - startMs) * this.#speed;
  }

  #refuse(code: number, text: string, leftMs: number, nowMs: number): VenueError {
    if (spendOne(this.#refusals, MINUTE_MS / this.#speed, 1, nowMs) > REFUSALS_BEFORE_BAN) this.ban(BAN_SECONDS, nowMs);
    return new VenueError(code, text, 429, { "Retry-After": String(Math.max(1, Math.ceil(leftMs / 1_000))) });
  }
}

/** Adds to a window that starts anew at each whole multiple of its length; returns what is used now. */
function spendOne(window: Window, lengthMs: number, amount: number, nowMs: number): number {
  const startMs = nowMs - (nowMs % lengthMs);
  if (startMs !== window.startMs) {
    window.startMs = startMs;
    window.used = 0;
  }
  window.used += amount;
  return window.used;
}
