/** What breakers, budgets and orders need of a store: types alone, so that a store and its users know only this page. */
import type { LevelProposal } from "../core/gate.ts";
import type { SavedBreaker } from "../core/circuit-parts.ts";
import type { IntentOutcome, KnownIntent, OrderIntent } from "../core/order-intent.ts";
import type { SavedBudget } from "../core/retry-budget.ts";

export type { Action, Gate, GateAnswer, Level, LevelProposal } from "../core/gate.ts";
export type { BreakerTotals, SavedBreaker, SavedCall } from "../core/circuit-parts.ts";
export type { IntentOutcome, IntentStatus, KnownIntent, OrderIntent } from "../core/order-intent.ts";
export type { SavedBudget } from "../core/retry-budget.ts";

/** Keeps breakers. `save` may return before the disk has it: it is called on each transition and now and then. Neither throws. */
export interface BreakerStore {
  load(name: string): SavedBreaker | undefined;
  save(name: string, saved: SavedBreaker): void;
}

/** Keeps retry budgets. Neither throws. */
export interface BudgetStore {
  load(name: string): SavedBudget | undefined;
  /** A promise, where one is returned, resolves when a kill does not lose it any more: the retry waits for that. */
  save(name: string, saved: SavedBudget): void | Promise<void>;
}

/** Keeps intents of orders. A rejected promise of `begin` means that the order is not sent. */
export interface IntentLog {
  /**
   * Resolves when the intent would survive a power cut: with `undefined` for a new one. Where the id is known already
   * (the log decides how long it remembers those that have ended), it changes nothing and resolves with what is known: the caller then asks
   * the venue instead of sending it once more.
   */
  begin(intent: OrderIntent): Promise<KnownIntent | undefined>;
  /** What is known of an intent; `undefined` where its id is not. Changes nothing. */
  find(clientOrderId: string): Promise<KnownIntent | undefined>;
  /** Notes what became of it; resolves when that is durable. `sent` and `unknown` leave it unfinished. */
  settle(clientOrderId: string, outcome: IntentOutcome): Promise<void>;
  /** Intents without an end, oldest first: those that were begun only, `sent` and `unknown`. */
  unfinished(): Promise<readonly OrderIntent[]>;
}

/** Takes proposals for the degradation level, for example of an order whose fate is unknown. Never throws. */
export type ProposeLevel = (proposal: LevelProposal) => void;
