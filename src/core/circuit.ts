/**
 * Circuit breaker as a state machine without a clock: `closed` lets calls through and counts them, `open` lets none
 * through for a while, `half-open` lets a few through to see (Nygard, "Release It!"; rates as in resilience4j, eras as
 * the generations of sony/gobreaker). It changes itself instead of returning a new state: it is asked twice per call.
 */
import {
  CallWindow,
  NO_TOTALS,
  savedTotals,
  TRIP_MAX_MS,
  type BreakerConfig,
  type BreakerTotals,
  type SavedBreaker,
} from "./circuit-parts.ts";

export type BreakerState = "closed" | "open" | "half-open" | "forced-open" | "disabled";

/** What `enter` answers when the call is not to be made. Permits count from 1. */
export const REJECTED = 0;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class Circuit {
  state: BreakerState = "closed";
  /** Why it is not closed, for people. */
  reason: string | null = null;
  /** In [0, 1): what the next opening takes for its jitter. Whoever drives the circuit draws it anew after each opening. */
  roll = 0;
  /** Openings in a row without a close between them. */
  attempt = 0;
  /** Failures in a row, while closed. */
  consecutive = 0;
  readonly config: BreakerConfig;
  /** But for `calls`, which is the sum of how they ended: one count less in each call. */
  readonly #totals: Mutable<BreakerTotals> = { ...NO_TOTALS };
  readonly #window: CallWindow;
  #openUntilMs = 0;
  /** Successes since it became half-open. */
  #proven = 0;
  /** Calls under way while half-open: their permits and when their lease ends. Never longer than `halfOpenMaxCalls`. */
  readonly #probes: { readonly permit: number; readonly untilMs: number }[] = [];
  #lastPermit = REJECTED;
  /** Permits up to this one are of an era that has ended: how their calls end changes totals alone. */
  #staleUpTo = REJECTED;

  constructor(config: BreakerConfig) {
    this.config = config;
    this.#window = new CallWindow(config.windowSize, config.windowMaxAgeMs);
  }

  /** A copy. */
  get totals(): BreakerTotals {
    const { successes, failures, ignored } = this.#totals;
    return { ...this.#totals, calls: successes + failures + ignored };
  }

  /** A permit for one call that starts now, or REJECTED. */
  enter(atMs: number): number {
    if (this.state === "closed" || this.state === "disabled") return (this.#lastPermit += 1);
    if (this.state === "open" && atMs >= this.#openUntilMs) {
      this.#to("half-open", this.reason);
      this.#proven = 0;
    }
    if (this.state === "half-open") {
      this.#endLeases(atMs);
      if (this.#probes.length < this.config.halfOpenMaxCalls) {
        this.#lastPermit += 1;
        this.#probes.push({ permit: this.#lastPermit, untilMs: atMs + this.config.probeLeaseMs });
        return this.#lastPermit;
      }
    }
    this.#totals.rejected += 1;
    return REJECTED;
  }

  /** The call has returned after `tookMs`; too slow counts as a failure. */
  succeed(permit: number, tookMs: number, atMs: number): void {
    if (tookMs >= this.config.slowCallMs) {
      this.fail(permit, tookMs, atMs, `took ${Math.round(tookMs)} ms`);
      return;
    }
    this.#totals.successes += 1;
    if (this.state === "closed") {
      if (permit <= this.#staleUpTo) return;
      this.consecutive = 0;
      this.#window.add(atMs, false);
    } else this.#prove(permit, atMs);
  }

  /** The call has failed after `tookMs`. */
  fail(permit: number, tookMs: number, atMs: number, why = "failed"): void {
    this.#totals.failures += 1;
    if (tookMs >= this.config.slowCallMs) this.#totals.slow += 1;
    if (this.state === "half-open") {
      if (this.#takeProbe(permit, atMs)) this.#open(atMs, `a probe ${why}`);
      return;
    }
    if (this.state !== "closed" || permit <= this.#staleUpTo) return;
    this.consecutive += 1;
    this.#window.add(atMs, true);
    // Only a failure is a reason to open: a call that has just worked is none, also where it makes up the minimum.
    const { calls, failures } = this.#window;
    if (this.consecutive >= this.config.failureThreshold) {
      const row = this.consecutive === 1 ? "a failure: it" : `${this.consecutive} failures in a row, the last`;
      this.#open(atMs, `${row} ${why}`);
    } else if (calls >= this.config.minimumCalls && failures / calls >= this.config.failureRate) {
      this.#open(atMs, `${failures} of ${calls} calls failed, the last ${why}`);
    }
  }

  /** The call has failed with what says nothing against the service: it has answered. */
  ignore(permit: number, atMs: number): void {
    this.#totals.ignored += 1;
    if (this.state === "half-open") this.#prove(permit, atMs);
  }

  /** The caller has given up on the call: that says nothing at all, and only frees its place. */
  abandon(permit: number, atMs: number): void {
    this.#totals.ignored += 1;
    if (this.state === "half-open") this.#takeProbe(permit, atMs);
  }

  /**
   * Opens it now: for `retryAfterMs` where the service has said how long (at most 3 days), else as after a failure. One
   * that is open stays so until the later of the two instants; one that is forced open or disabled stays as it is.
   */
  trip(atMs: number, retryAfterMs: number | undefined, reason: string): void {
    if (this.state === "forced-open" || this.state === "disabled") return;
    const wished = retryAfterMs === undefined ? undefined : atMs + clamp(retryAfterMs, 0, TRIP_MAX_MS);
    if (this.state === "open") {
      this.#openUntilMs = Math.max(this.#openUntilMs, wished ?? atMs + this.#openMs());
      return;
    }
    this.#open(atMs, reason);
    if (wished !== undefined) this.#openUntilMs = wished;
  }

  /** Closed, with nothing counted but the totals. Calls under way change nothing any more. */
  reset(): void {
    this.#to("closed", null);
    this.attempt = 0;
    this.consecutive = 0;
    this.#window.clear();
  }

  /** Lets everything through and counts totals alone, until `reset`. */
  disable(reason: string): void {
    this.#to("disabled", reason);
  }

  /** Lets nothing through until `reset`. */
  forceOpen(reason: string): void {
    this.#to("forced-open", reason);
  }

  /** How long a call would be rejected, ms; 0 where one may be let through; `undefined` when it depends on a person. */
  retryAfterMs(atMs: number): number | undefined {
    if (this.state === "forced-open") return undefined;
    return this.state === "open" ? Math.max(0, this.#openUntilMs - atMs) : 0;
  }

  /** Calls in the rolling window that still count at `atMs`, and how many of them failed. */
  windowAt(atMs: number): { readonly calls: number; readonly failures: number } {
    this.#window.forget(atMs);
    return { calls: this.#window.calls, failures: this.#window.failures };
  }

  /** What is to be kept of it. `wallMs` is the wall time at `atMs`. */
  save(atMs: number, wallMs: number): SavedBreaker {
    const leftMs = this.state === "half-open" ? 0 : (this.retryAfterMs(atMs) ?? 0);
    const state = this.state === "half-open" ? "open" : this.state;
    this.#window.forget(atMs);
    return {
      state,
      openUntil: state === "open" ? Math.round(wallMs + leftMs) : null,
      attempt: this.attempt,
      consecutive: this.consecutive,
      window: this.#window.save(wallMs - atMs),
      totals: this.totals,
      reason: this.reason,
      savedAt: Math.round(wallMs),
    };
  }

  /**
   * Takes on what was kept. Whatever the wall clock did meanwhile, it is not open for longer than it was to be when it
   * was saved; calls that seem to be from the future count as made now.
   */
  restore(saved: SavedBreaker, atMs: number, wallMs: number): void {
    this.#to(saved.state, saved.reason);
    this.attempt = Math.floor(clamp(saved.attempt, 0, 1_000));
    this.consecutive = Math.floor(clamp(saved.consecutive, 0, Number.MAX_SAFE_INTEGER));
    Object.assign(this.#totals, savedTotals(saved.totals));
    this.#window.restore(saved.window, atMs, wallMs);
    const wasLeftMs = clamp((saved.openUntil ?? 0) - saved.savedAt, 0, TRIP_MAX_MS);
    this.#openUntilMs = atMs + clamp((saved.openUntil ?? 0) - wallMs, 0, wasLeftMs);
  }

  #to(state: BreakerState, reason: string | null): void {
    this.state = state;
    this.reason = reason;
    this.#staleUpTo = this.#lastPermit;
    this.#probes.length = 0;
  }

  #open(atMs: number, reason: string): void {
    this.#to("open", reason);
    this.#totals.opened += 1;
    this.attempt += 1;
    this.#openUntilMs = atMs + this.#openMs();
  }

  /** Like the delay of a restart: jitter makes it longer, but never longer than the most. */
  #openMs(): number {
    const { openMs, openFactor, openMaxMs, openJitter } = this.config;
    const growth = Math.min(openFactor ** Math.max(0, this.attempt - 1), Number.MAX_VALUE);
    const plain = Math.min(openMs * growth, openMaxMs);
    return Math.min(Math.round(plain * (1 + openJitter * this.roll)), openMaxMs);
  }

  #prove(permit: number, atMs: number): void {
    if (this.state !== "half-open" || !this.#takeProbe(permit, atMs)) return;
    this.#proven += 1;
    if (this.#proven >= this.config.successThreshold) this.reset();
  }

  /** Frees the place of a probe; false when it had lost it: it is of an older era, or its lease has ended. */
  #takeProbe(permit: number, atMs: number): boolean {
    this.#endLeases(atMs);
    const at = this.#probes.findIndex((probe) => probe.permit === permit);
    if (at < 0) return false;
    this.#probes.splice(at, 1);
    return true;
  }

  /** A probe that hangs must not keep the circuit half-open for ever. */
  #endLeases(atMs: number): void {
    for (let at = this.#probes.length - 1; at >= 0; at -= 1)
      if ((this.#probes[at]?.untilMs ?? 0) <= atMs) this.#probes.splice(at, 1);
  }
}

/** What is no number counts as the least: a damaged record must not open a circuit for ever. */
function clamp(value: number, least: number, most: number): number {
  return value > least ? Math.min(value, most) : least;
}
