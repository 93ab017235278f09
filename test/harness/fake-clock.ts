/** A clock for tests that moves only when told to. */
import type { Clock } from "../../src/platform/clock.ts";

/** Where the wall clock starts. */
const FAKE_EPOCH_MS = Date.UTC(2026, 0, 1);

/** Callbacks run in due order, each at its own instant. The wall clock may be stepped apart from the monotonic one. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs = FAKE_EPOCH_MS;
  #nextId = 0;
  readonly #due = new Map<number, { atMs: number; callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallTime(): Date {
    return new Date(this.#wallOffsetMs + this.#nowMs);
  }

  /** How many timers are waiting; 0 proves that nothing was left behind. */
  get pending(): number {
    return this.#due.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    const id = this.#nextId++;
    this.#due.set(id, { atMs: this.#nowMs + delayMs, callback });
    return () => this.#due.delete(id);
  }

  /** Moves both clocks on by `byMs` and runs what falls due. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const next = [...this.#due]
        .filter(([, timer]) => timer.atMs <= endMs)
        .sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
      if (next === undefined) break;
      this.#due.delete(next[0]);
      this.#nowMs = Math.max(this.#nowMs, next[1].atMs);
      next[1].callback();
    }
    this.#nowMs = endMs;
  }

  /** The machine stood still: time passed, and every due timer runs late, all at the same instant. */
  stall(byMs: number): void {
    this.wake(byMs);
    this.advance(0);
  }

  /** The first instant after a standstill: time passed, and no timer has run yet. */
  wake(byMs: number): void {
    this.#nowMs += byMs;
  }

  /** Steps the wall clock alone, as an operator or NTP would. */
  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }
}
