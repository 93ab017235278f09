/** Looks at the account of one bot for its limits and its dead-man switch, with one short-lived worker at a time. */
import { sleep } from "../../../platform/clock.ts";
import type { Worker } from "../../../platform/worker.ts";
import { DeadmanWatch } from "./deadman-watch.ts";
import type { GuardDeps } from "./guard.ts";
import { LimitWatch } from "./limit-watch.ts";
import { keepWatchState, readWatchState, type WatchState } from "./watch-state.ts";
import { lookAtAccount } from "./watch-run.ts";

/**
 * Time that the end of the daemon waits for a disarm, of it the part that a refresh under way gets, and time between two looks, ms.
 * What is left when a refresh is ended is enough to disarm twice (deadman-watch.ts).
 */
const REST_MS = 10_000;
const REFRESH_MS = 3_000;
const REST_LOOK_MS = 50;

export class AccountWatch {
  readonly limits: LimitWatch;
  readonly deadman: DeadmanWatch;
  readonly #deps: GuardDeps;
  readonly #lookAtAccount: typeof lookAtAccount;
  #state: WatchState;
  #worker: Worker | undefined;
  #busy = false;
  /** What the worker under way does about the switch; `undefined`: nothing, or there is none. */
  #duty: "refresh" | "disarm" | undefined;
  /** Counts emergencies: what a worker of before one says is dropped. */
  #epoch = 0;
  #released = false;

  constructor(deps: GuardDeps, look = lookAtAccount) {
    this.#deps = deps;
    this.#lookAtAccount = look;
    this.#state = readWatchState(deps.plan);
    this.limits = new LimitWatch(deps, {
      dayStart: () => this.#state.dayStart,
      lossDay: () => this.#state.lossDay,
      keep: (fields) => this.#keep(fields),
    });
    this.deadman = new DeadmanWatch(deps, {
      armed: () => this.#state.armed,
      keep: (armed) => this.#keepArmed(armed),
    });
  }

  /** Each second: one worker does what is due, unless an emergency is under way. */
  tick(): void {
    this.#next(this.#deps.atRisk() && this.limits.isDue());
  }

  #next(reads: boolean): void {
    if (this.#busy || this.#deps.closing()) return;
    const deadman = this.deadman.job();
    if (reads || deadman !== null) void this.#look(reads, deadman);
  }

  /** Ends the worker at once: nothing shares the venue's limits with a close, and a countdown that runs is left to fire. */
  yield(): void {
    this.#epoch += 1;
    this.#worker?.kill();
  }

  /** The file is that of whoever has the account next. A disarm goes on in its own process: without it the venue would cancel orders. */
  release(): void {
    this.#released = true;
    this.#epoch += 1;
    if (this.#duty !== "disarm") this.#worker?.kill();
  }

  /** The daemon ends: a countdown that runs is stopped, so that the venue cancels nothing of a bot that was stopped in order. */
  async rest(): Promise<void> {
    const { clock, closing } = this.#deps;
    const startMs = clock.monotonicMs();
    const pastMs = (): number => clock.monotonicMs() - startMs;
    while ((this.#duty === "refresh" || this.#state.armed.length > 0) && !closing() && pastMs() < REST_MS) {
      // A slow venue has 20 s for either, and the disarm would wait for it. What a refresh may have armed is known by then.
      if (this.#duty === undefined || (this.#duty === "refresh" && pastMs() > REFRESH_MS)) this.#worker?.kill();
      this.#next(false);
      // Safe: a wait between two looks.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(clock, REST_LOOK_MS);
    }
    this.#tellStillArmed();
  }

  /** Whoever ends the daemon must know that the venue may still cancel; a disarm that is under way goes on in its own process. */
  #tellStillArmed(): void {
    const { closing, fact } = this.#deps;
    if (closing() || this.#state.armed.length === 0) return;
    const now = this.#duty === "disarm" ? "; a process of its own goes on trying" : "";
    fact(
      "alert",
      `the dead-man switch is not known to be disarmed after ${REST_MS / 1_000} s${now}; the venue may cancel open orders`,
    );
  }

  async #look(reads: boolean, deadman: ReturnType<DeadmanWatch["job"]>): Promise<void> {
    this.#busy = true;
    this.#duty = deadman?.duty;
    const epoch = this.#epoch;
    const loss = reads ? this.limits.question : null;
    const answer = await this.#lookAtAccount(
      this.#deps,
      { loss, deadman },
      {
        onStart: (worker) => {
          this.#worker = worker;
        },
        // At once, since neither the worker nor we may live to the end of its work. What a disarm has ended is for its end to judge.
        onAnswer: (told) => {
          if (told.deadman !== null && deadman?.duty === "refresh") this.#keepArmed(told.deadman.armed);
        },
      },
    );
    this.#worker = undefined;
    this.#busy = false;
    this.#duty = undefined;
    if (epoch !== this.#epoch) return;
    if (deadman !== null) this.deadman.take(deadman.duty, answer);
    // A worker that only disarms reads nothing.
    if (reads && deadman?.duty !== "disarm") this.limits.take(answer);
  }

  #keepArmed(armed: readonly string[]): void {
    if (armed.join(" ") !== this.#state.armed.join(" ")) this.#keep({ armed: [...armed] });
  }

  #keep(fields: Partial<WatchState>): void {
    if (this.#released) return;
    this.#state = { ...this.#state, ...fields };
    try {
      keepWatchState(this.#deps.plan, this.#state);
    } catch (error) {
      this.#deps.fact(
        "alert",
        `cannot keep the account's watch: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}
