/** The venues' dead-man switches: a countdown that cancels open orders unless it is set again in time, per symbol or for the account. */
import type { Account } from "./account.ts";

/** Scope of a countdown over every symbol. */
export const WHOLE_ACCOUNT = "*";

interface CountdownHost {
  readonly now: () => number;
  /** How many times faster than the clock a countdown runs. */
  readonly speed: number;
  readonly log: (line: string) => void;
}

/** Regular orders only: conditional ones have an interface of their own on both venues, which these calls do not name. */
export class Countdowns {
  readonly #account: Account;
  readonly #host: CountdownHost;
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #lengths = new Map<string, number>();

  constructor(account: Account, host: CountdownHost) {
    this.#account = account;
    this.#host = host;
  }

  /** Length of each running countdown as it was set, ms, by scope. */
  get running(): Record<string, number> {
    return Object.fromEntries(this.#lengths);
  }

  /** Sets or, with 0, stops the countdown of a scope; the one before is replaced. */
  set(scope: string, ms: number): void {
    clearTimeout(this.#timers.get(scope));
    this.#timers.delete(scope);
    this.#lengths.delete(scope);
    if (ms === 0) return;
    this.#lengths.set(scope, ms);
    this.#timers.set(
      scope,
      setTimeout(() => this.#fire(scope), ms / this.#host.speed),
    );
  }

  clear(): void {
    for (const scope of this.#timers.keys()) this.set(scope, 0);
  }

  #fire(scope: string): void {
    this.set(scope, 0);
    for (const order of this.#account.openOrders.values())
      if (scope === WHOLE_ACCOUNT || order.symbol === scope) this.#account.finish(order, "CANCELED", this.#host.now());
    this.#host.log(`countdown of ${scope} is over: its orders are cancelled`);
  }
}
