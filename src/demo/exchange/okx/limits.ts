/** Rate limits per endpoint in windows of two seconds, by user or by user and instrument, with the numbers of OKX's reference. */
import { RequestError } from "./errors.ts";

export interface EndpointLimit {
  /** Requests, or orders where the limit counts these, in 2 s. */
  readonly count: number;
  readonly per: "user" | "instrument";
  readonly unit: "request" | "order";
}

const WINDOW_MS = 2_000;
/** New and amended orders of one account, over all instruments, in 2 s. */
const ACCOUNT_ORDERS = 1_000;

export class Limits {
  readonly #speed: number;
  #windowStartMs = 0;
  readonly #used = new Map<string, number>();
  #bannedUntilMs = 0;

  /** `speed`: how many times faster than the clock windows and bans run. */
  constructor(speed: number) {
    this.#speed = speed;
  }

  reset(): void {
    this.#used.clear();
    this.#bannedUntilMs = 0;
  }

  ban(seconds: number, nowMs: number): void {
    this.#bannedUntilMs = nowMs + (seconds * 1_000) / this.#speed;
  }

  /** Seconds that a ban still lasts; 0 without one. */
  bannedSeconds(nowMs: number): number {
    return Math.max(0, Math.ceil(((this.#bannedUntilMs - nowMs) * this.#speed) / 1_000));
  }

  /** Counts a request for `instruments` (one entry per order); throws 50011 when a limit is passed. Such a request is not executed. */
  spend(label: string, limit: EndpointLimit, instruments: readonly string[], nowMs: number): void {
    this.#roll(nowMs);
    const amount = (list: readonly string[]): number => (limit.unit === "order" ? list.length : 1);
    const groups =
      limit.per === "user"
        ? [["", instruments] as const]
        : [...Map.groupBy(instruments.length === 0 ? [""] : instruments, (instrument) => instrument)];
    for (const [instrument, list] of groups) {
      if (this.#add(`${label} ${instrument}`, amount(list)) <= limit.count) continue;
      throw new RequestError(
        "50011",
        "Rate limit reached. Please refer to API documentation and throttle requests accordingly.",
      );
    }
  }

  /** Counts new orders of the account; throws 50061 above its limit. */
  spendOrders(orders: number, nowMs: number): void {
    this.#roll(nowMs);
    if (this.#add("orders", orders) <= ACCOUNT_ORDERS) return;
    throw new RequestError("50061", "You've reached the maximum order rate limit for this account.");
  }

  #add(key: string, amount: number): number {
    const used = (this.#used.get(key) ?? 0) + amount;
    this.#used.set(key, used);
    return used;
  }

  /** All windows start anew at each whole multiple of their length. */
  #roll(nowMs: number): void {
    const startMs = nowMs - (nowMs % Math.ceil(WINDOW_MS / this.#speed));
    if (startMs === this.#windowStartMs) return;
    this.#windowStartMs = startMs;
    this.#used.clear();
  }
}
