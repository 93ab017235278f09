/** The retry budget of a bot: shared by all its calls, kept over restarts. Decisions are in core/retry-budget.ts. */
import {
  RETRY_BUDGET,
  RetryBudget,
  type RetryBudgetConfig,
  type RetryPriority,
  type Withdrawal,
} from "../core/retry-budget.ts";
import type { BudgetStore } from "./ports.ts";

export interface BudgetWiring {
  /** Keeps it over restarts; without one a crash refills it. */
  readonly store?: BudgetStore;
  /** Its name in the store; default `default`. */
  readonly name?: string;
  readonly now?: () => number;
  readonly wallNow?: () => number;
}

export class Budget {
  readonly #budget: RetryBudget;
  readonly #wiring: BudgetWiring;
  readonly #name: string;
  readonly #now: () => number;
  #saving: Promise<void> | undefined;

  constructor(config: Partial<RetryBudgetConfig> = {}, wiring: BudgetWiring = {}) {
    this.#wiring = wiring;
    this.#name = wiring.name ?? "default";
    this.#now = wiring.now ?? (() => performance.now());
    const atMs = this.#now();
    this.#budget = new RetryBudget({ ...RETRY_BUDGET, ...config }, atMs);
    const saved = wiring.store?.load(this.#name);
    if (saved !== undefined) this.#budget.restore(saved, atMs, this.#wallMs());
  }

  /** A first attempt is made. */
  deposit(): void {
    this.#budget.deposit(this.#now());
  }

  /** Asks for one retry. What is granted is saved before it is used, for which `saving` is to be waited for. */
  withdraw(priority: RetryPriority): Withdrawal {
    const withdrawal = this.#budget.withdraw(this.#now(), priority);
    if (withdrawal.granted) this.#save();
    return withdrawal;
  }

  /** Gives back a retry that was not made. */
  refund(withdrawal: Withdrawal & { readonly granted: true }): void {
    this.#budget.refund(withdrawal, this.#now());
    this.#save();
  }

  /** Tokens of the share, and retries of this hour for what is not urgent. */
  left(): { readonly tokens: number; readonly hour: number } {
    return this.#budget.left(this.#now());
  }

  /** Resolves when a kill loses no retry that was granted; `undefined` for a store that keeps each at once. Never rejects. */
  get saving(): Promise<void> | undefined {
    return this.#saving;
  }

  #save(): void {
    const saving = this.#wiring.store?.save(this.#name, this.#budget.save(this.#now(), this.#wallMs()));
    if (saving instanceof Promise) this.#saving = settled(saving);
  }

  #wallMs(): number {
    return (this.#wiring.wallNow ?? Date.now)();
  }
}

async function settled(saving: Promise<void>): Promise<void> {
  try {
    await saving;
  } catch {
    // A store says by itself what it cannot keep.
  }
}
