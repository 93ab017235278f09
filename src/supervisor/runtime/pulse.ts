/**
 * The daemon's own pulse. Time in which the daemon itself stood still (stopped, starved, frozen with its machine) proves
 * nothing about a bot: when a deadline comes up after such a gap, all deadlines are moved by the gap instead.
 */
import type { Clock } from "../../platform/clock.ts";

const BEAT_MS = 1_000;
/** A gap between two beats that counts as a stall, ms: a loaded machine may well be late by a second or two. */
const STALL_MS = 3_000;
/** Beats of which the lag is remembered: ten seconds, as long as the kernel's shortest average of pressure. */
const REMEMBERED_BEATS = 10;

export class Pulse {
  readonly #clock: Clock;
  readonly #onStall = new Set<(gapMs: number) => void>();
  #lastMs: number;
  #dueMs: number | undefined;
  #lags: readonly number[] = [];
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
  }

  /** Time since the last beat, ms. */
  get ageMs(): number {
    return this.#clock.monotonicMs() - this.#lastMs;
  }

  /** How much the latest of the last ten beats came too late, ms. */
  get lagMs(): number {
    return Math.max(0, ...this.#lags);
  }

  /** How late the last beat was, or the next one is already, ms. */
  get lateMs(): number {
    const overdueMs = this.#dueMs === undefined ? 0 : this.#clock.monotonicMs() - this.#dueMs;
    return Math.max(0, overdueMs, this.#lags.at(-1) ?? 0);
  }

  /** Calls `listener` with each gap until the returned function is called. */
  onStall(listener: (gapMs: number) => void): () => void {
    this.#onStall.add(listener);
    return () => this.#onStall.delete(listener);
  }

  /** Beats each second from now on. */
  start(): void {
    const dueMs = this.#clock.monotonicMs() + BEAT_MS;
    this.#dueMs = dueMs;
    this.#cancel = this.#clock.after(BEAT_MS, () => {
      const lagMs = Math.max(0, this.#clock.monotonicMs() - dueMs);
      this.#lags = [...this.#lags, lagMs].slice(-REMEMBERED_BEATS);
      this.beat();
      this.start();
    });
  }

  stop(): void {
    this.#cancel?.();
  }

  /** Says that the daemon's loop turns. Returns true when it had stood still, after telling everybody. */
  beat(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const gapMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (gapMs < STALL_MS) return false;
    for (const listener of this.#onStall) listener(gapMs);
    return true;
  }
}
