/** The dead-man switch of one bot's account: refreshed while the bot is healthy, disarmed where a person wants quiet, else left to fire. */
import { deadmanDuty } from "../../../core/deadman.ts";
import type { BotStatus } from "../../../core/status.ts";
import type { WatchAnswer, WatchJob } from "../../../core/watch-job.ts";
import type { GuardDeps } from "./guard.ts";

/** Missing for this many of its periods, a refresh is an alert. */
const MISSING_PERIODS = 2;
/** A disarm that failed is tried again after this, ms. */
const DISARM_RETRY_MS = 2_000;
/** How long after its end a refresh that nobody has confirmed may still reach the venue, ms: the window of its requests, 5 s, and a second. */
const LATE_MS = 6_000;
/** Countdown named in a job that only disarms and has no config any more, ms. */
const NO_TIMEOUT_MS = 60_000;

export type DeadmanStatus = NonNullable<BotStatus["emergency"]["deadman"]>;

interface Memory {
  readonly armed: () => readonly string[];
  readonly keep: (armed: readonly string[]) => void;
}

export class DeadmanWatch {
  readonly #deps: GuardDeps;
  readonly #memory: Memory;
  /** When the next refresh, and the next try to disarm, is due, monotonic ms: a disarm does not wait for the time of a refresh. */
  #refreshDueAtMs = Number.NEGATIVE_INFINITY;
  #disarmDueAtMs = Number.NEGATIVE_INFINITY;
  #disarmBegunAtMs = Number.NEGATIVE_INFINITY;
  /** Until then a refresh of unknown fate may arrive and arm again, monotonic ms: only a disarm that begins later ends the matter. */
  #lateUntilMs = Number.NEGATIVE_INFINITY;
  /** Monotonic ms of the last refresh that worked, and since when there should have been one. */
  #refreshedAtMs: number | undefined;
  #refreshedAt: Date | undefined;
  #wantedSinceMs: number | undefined;
  #reason: string | null = null;
  #told = false;

  constructor(deps: GuardDeps, memory: Memory) {
    this.#deps = deps;
    this.#memory = memory;
  }

  get #config(): { readonly timeout: number; readonly refresh: number } | undefined {
    return this.#deps.plan.config.emergency?.deadman;
  }

  get status(): DeadmanStatus | null {
    if (this.#config === undefined) return null;
    const nowMs = this.#deps.clock.monotonicMs();
    return {
      state: this.#memory.armed().length > 0 ? "armed" : "disarmed",
      refreshedAt: this.#refreshedAt?.toISOString() ?? null,
      ageSeconds: this.#refreshedAtMs === undefined ? null : Math.max(0, nowMs - this.#refreshedAtMs) / 1_000,
      reason: this.#reason,
    };
  }

  /** What is to be done now; null: nothing. */
  job(): WatchJob["deadman"] {
    const { clock } = this.#deps;
    const config = this.#config;
    const armed = [...this.#memory.armed()];
    const duty = deadmanDuty({ healthy: this.#deps.healthy(), quiet: config === undefined || this.#isQuiet() });
    this.#lookForMissing(duty === "disarm");
    const nowMs = clock.monotonicMs();
    if (duty === "refresh" && config !== undefined)
      return nowMs < this.#refreshDueAtMs ? null : { duty, timeoutMs: config.timeout, armed };
    if (duty !== "disarm" || armed.length === 0 || nowMs < this.#disarmDueAtMs) return null;
    this.#disarmBegunAtMs = nowMs;
    return { duty, timeoutMs: config?.timeout ?? NO_TIMEOUT_MS, armed };
  }

  /** How the job that was given ended. */
  take(duty: "refresh" | "disarm", answer: WatchAnswer | { readonly failed: string }): void {
    const { clock } = this.#deps;
    const done = "failed" in answer ? undefined : (answer.deadman ?? undefined);
    const why = "failed" in answer ? answer.failed : (done?.reason ?? answer.trouble);
    if (duty === "refresh") this.#refreshDueAtMs = clock.monotonicMs() + (this.#config?.refresh ?? 0);
    // Whatever is healthy again is armed again at once.
    else [this.#refreshDueAtMs, this.#disarmDueAtMs] = [clock.monotonicMs(), clock.monotonicMs() + DISARM_RETRY_MS];
    this.#reason = done?.done === true ? null : why;
    if (duty === "disarm") return this.#takeDisarm(done, why);
    if (done !== undefined) this.#memory.keep(done.armed);
    // One that told what it was about to set, or how that failed; who told nothing has sent nothing.
    if (done?.done === false) this.#lateUntilMs = clock.monotonicMs() + LATE_MS;
    if (done?.done !== true) return undefined;
    this.#refreshedAtMs = clock.monotonicMs();
    this.#refreshedAt = clock.wallTime();
    if (this.#told) this.#deps.fact("info", "the dead-man switch is refreshed again");
    this.#told = false;
    return undefined;
  }

  #takeDisarm(done: WatchAnswer["deadman"] | undefined, why: string | null): void {
    const isDone = done?.done === true;
    this.#deps.fact(isDone ? "info" : "warn", disarmText(isDone, why));
    // What is armed stays noted, also on the disk, until it is disarmed once more.
    if (isDone && this.#disarmBegunAtMs < this.#lateUntilMs) this.#disarmDueAtMs = this.#lateUntilMs;
    else if (done !== undefined && done !== null) this.#memory.keep(done.armed);
  }

  #isQuiet(): boolean {
    return this.#deps.restsByWish() || this.#deps.suspended();
  }

  /** Said once, and again after a refresh in between. */
  #lookForMissing(quiet: boolean): void {
    const config = this.#config;
    const nowMs = this.#deps.clock.monotonicMs();
    if (config === undefined || quiet) {
      this.#wantedSinceMs = undefined;
      this.#told = false;
      return;
    }
    this.#wantedSinceMs ??= nowMs;
    const sinceMs = Math.max(this.#refreshedAtMs ?? this.#wantedSinceMs, this.#wantedSinceMs);
    if (this.#told || nowMs - sinceMs < MISSING_PERIODS * config.refresh) return;
    this.#told = true;
    const why = this.#deps.healthy() ? (this.#reason ?? "no answer yet") : "the bot is not healthy";
    this.#reason ??= why;
    const runs = this.#memory.armed().length > 0 ? "; when its time is over the venue cancels open orders" : "";
    this.#deps.fact("alert", `the dead-man switch is not refreshed: ${why}${runs}`);
  }
}

function disarmText(done: boolean, why: string | null): string {
  if (done) return "the dead-man switch is disarmed";
  return `cannot disarm the dead-man switch: ${why ?? "no answer"}; the venue may cancel open orders`;
}
