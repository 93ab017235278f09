/** A second book of the restarts of one bot, kept apart from the supervisor's own: its budget and its delays. */
import type { Policy } from "../../src/core/lifecycle-types.ts";

export class RestartBook {
  /** Times of the automatic restarts since an operator's start. */
  #times: number[] = [];
  #inRow = 0;
  #notBeforeMs = 0;

  /** A restart is decided; the answer is what is wrong with it. */
  restart({ backoff, budget }: Policy, nowMs: number, delayMs: number | undefined): string | undefined {
    this.#times = [...this.#within(budget.period, nowMs), nowMs];
    this.#inRow += 1;
    if (this.#times.length > budget.intensity)
      return `${this.#times.length} restarts within ${budget.period} ms, and ${budget.intensity} are allowed`;
    if (delayMs === undefined) return "a restart without a delay";
    this.#notBeforeMs = nowMs + delayMs;
    const plain = Math.min(backoff.base * backoff.factor ** Math.min(this.#inRow - 1, 300), backoff.cap);
    if (delayMs > backoff.cap || delayMs < Math.floor(plain))
      return `restart ${this.#inRow} in a row is delayed by ${delayMs} ms, and its bounds are ${plain} and ${backoff.cap} ms`;
    return undefined;
  }

  /** The delay is over and the bot is started. */
  started(nowMs: number): string | undefined {
    if (nowMs >= this.#notBeforeMs) return undefined;
    return `started ${this.#notBeforeMs - nowMs} ms before its delay was over`;
  }

  /** An operator's start: budget and backoff begin anew. */
  afresh(): undefined {
    this.#times = [];
    this.#inRow = 0;
  }

  /** The bot was healthy for long enough, or vouched for itself. */
  rowEnds(): void {
    this.#inRow = 0;
  }

  /** Whether one restart more would be one too many. */
  exhausted({ budget }: Policy, nowMs: number): boolean {
    return this.#within(budget.period, nowMs).length >= budget.intensity;
  }

  #within(periodMs: number, nowMs: number): number[] {
    return this.#times.filter((at) => at > nowMs - periodMs);
  }
}
