/** The plan of one bot: the one that holds now, and after a reload perhaps one that waits until nothing of the old start lives. */
import type { State, StateKind } from "../../core/lifecycle-types.ts";
import type { BotPlan } from "./bot-plan.ts";

export class LivePlan {
  #now: BotPlan;
  #waiting: BotPlan | undefined;

  constructor(plan: BotPlan) {
    this.#now = plan;
  }

  /** What the living start was started with, and is stopped by. */
  get now(): BotPlan {
    return this.#now;
  }

  /** What the config says: the next start has it. */
  get latest(): BotPlan {
    return this.#waiting ?? this.#now;
  }

  get waits(): boolean {
    return this.#waiting !== undefined;
  }

  /** Holds a plan back until `take` without one; a later one replaces it. */
  hold(plan: BotPlan): void {
    this.#waiting = plan;
  }

  /** Makes `plan`, or the one that waits, the one that holds. */
  take(plan: BotPlan = this.latest): BotPlan {
    this.#waiting = undefined;
    this.#now = plan;
    return plan;
  }
}

/** `deps` with a plan that is always the one of now, also for those who keep it. */
export function withPlan<D extends object>(live: LivePlan, deps: D): D & { readonly plan: BotPlan } {
  return Object.defineProperty({ ...deps, plan: live.now }, "plan", { get: () => live.now });
}

/** Something of the bot lives, or is not proven dead: it is under the plan that it was started with. */
export function isAlive(kind: StateKind): boolean {
  return ["starting", "running", "stopping", "stuck"].includes(kind);
}

/** An emergency is under way: its fence, its close, or the wait for a process that cannot be killed. */
export function isClosing(state: State): boolean {
  if (state.kind === "recovering") return true;
  return (state.kind === "stopping" || state.kind === "stuck") && state.after.kind === "recover";
}

/** Somebody stopped the bot, or it is on its way to where somebody wants it: that is no death of it. */
export function restsByWish(state: State): boolean {
  if (state.kind === "stopping") return state.after.kind === "stay" || state.after.kind === "again";
  return state.kind === "stopped";
}

/** The account may hold what the bot opened: it lives, comes back, gave up, or its emergency has left something open on purpose. */
export function isAtRisk(state: State): boolean {
  if (state.kind === "locked") return state.outcome === "reduced";
  return !isClosing(state) && !restsByWish(state) && state.kind !== "stuck";
}
