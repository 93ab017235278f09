/** A pure margin wallet for the properties of the close: orders and repayments now, late or never; notes every breach. */
import type { CloseOrder, OpenOrder, SendResult } from "../../src/core/close-orders.ts";
import type { Reading } from "../../src/core/close-plan-types.ts";
import { judgeWallet } from "../../src/core/margin.ts";
import type { MarginAsset } from "../../src/core/margin.ts";

export type MarginFault =
  | { readonly kind: "none" }
  | { readonly kind: "lostBefore" }
  | { readonly kind: "lostAfter" }
  | { readonly kind: "late"; readonly ms: number }
  | { readonly kind: "ackDropped" }
  | { readonly kind: "ackLate"; readonly ms: number }
  | { readonly kind: "partial"; readonly ratio: number }
  | { readonly kind: "throttled" }
  | { readonly kind: "rejected" };

export type MarginReadFault = "none" | "positions" | "orders" | "stale";

interface Base {
  readonly asset: string;
  readonly free: number;
  readonly locked: number;
  readonly debt: number;
}

export const PRICE = 100;
export const LOT = 0.01;
export const QUOTE_DUST = 5;
const FEE_RATIO = 0.001;
/** Decimals that a venue keeps. */
const DIGITS = 8;

interface Account {
  free: number;
  locked: number;
  debt: number;
  /** Interest so far, part of the debt. */
  interest: number;
}

export class ModelMargin {
  readonly breaches: string[] = [];
  sent = 0;
  /** Of every base asset. */
  price = PRICE;
  readonly #accounts = new Map<string, Account>();
  readonly #quote: Account;
  readonly #late: { atMs: number; order: CloseOrder }[] = [];
  #orders: OpenOrder[] = [];
  #previous: Reading | undefined;

  readonly #autoRepays: boolean;

  /** `autoRepays`: what an order brings repays what is owed of it, as the order says. */
  constructor(bases: readonly Base[], quote: { readonly free: number; readonly debt: number }, autoRepays = true) {
    this.#autoRepays = autoRepays;
    this.#quote = { ...quote, locked: 0, interest: 0 };
    for (const { asset, free, locked, debt } of bases) {
      this.#accounts.set(asset, { free, locked, debt, interest: 0 });
      if (locked > 0)
        this.#orders.push({ id: `o-${asset}`, clientId: undefined, symbol: `${asset}/USDT`, reduceOnly: false });
    }
  }

  get orders(): number {
    return this.#orders.length;
  }

  /** All that is owed, in the quote currency. */
  get debt(): number {
    return [...this.#accounts.values()].reduce((sum, { debt }) => sum + debt * PRICE, this.#quote.debt);
  }

  /** Value of the wallet less what it owes. */
  get equity(): number {
    return [...this.#accounts.values()].reduce((sum, each) => sum + worth(each) * PRICE, worth(this.#quote));
  }

  /** What is left of each asset, net. */
  get nets(): Map<string, number> {
    return new Map(
      [...this.#accounts].map(([asset, { free, locked, debt }]) => [asset, digits(free + locked - debt)] as const),
    );
  }

  get quoteDebt(): number {
    return this.#quote.debt;
  }

  /** Loans that there is something to repay with. */
  get covered(): number {
    return [...this.#accounts.values(), this.#quote].reduce(
      (sum, { free, locked, debt }) => sum + Math.min(free + locked, debt),
      0,
    );
  }

  /** Executes what was late and is due. */
  advance(toMs: number): void {
    const due = this.#late.filter(({ atMs }) => atMs <= toMs).sort((a, b) => a.atMs - b.atMs);
    for (const entry of due) {
      this.#late.splice(this.#late.indexOf(entry), 1);
      this.#execute(entry.order, 1);
    }
  }

  accrue(ratio: number): void {
    for (const account of [...this.#accounts.values(), this.#quote]) {
      const interest = digits(account.debt * ratio);
      account.debt = digits(account.debt + interest);
      account.interest = digits(account.interest + interest);
    }
  }

  read(fault: MarginReadFault): Reading {
    const now = this.#look();
    const previous = this.#previous ?? now;
    this.#previous = now;
    if (fault === "stale") return previous;
    if (fault === "none") return now;
    const failures = [{ kind: "unknown" }] as const;
    if (fault === "orders") return { ...now, orders: undefined, failures };
    const { loans: _, ...rest } = now;
    return { ...rest, positions: undefined, failures };
  }

  cancel(symbol: string, works: boolean): void {
    if (!works) return;
    for (const order of this.#orders.filter((each) => each.symbol === symbol)) {
      const account = this.#accounts.get(order.symbol.replace("/USDT", ""));
      if (account === undefined) continue;
      account.free = digits(account.free + account.locked);
      account.locked = 0;
    }
    this.#orders = this.#orders.filter((order) => order.symbol !== symbol);
  }

  send(order: CloseOrder, fault: MarginFault, atMs: number): SendResult {
    this.sent += 1;
    switch (fault.kind) {
      case "none":
        return this.#execute(order, 1);
      case "partial":
        return this.#execute(order, fault.ratio);
      case "lostBefore":
        return { kind: "unknown" };
      case "lostAfter":
        this.#execute(order, 1);
        return { kind: "unknown" };
      case "late":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return { kind: "unknown" };
      case "ackDropped":
        return { kind: "accepted", filled: undefined };
      case "ackLate":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return { kind: "accepted", filled: undefined };
      case "throttled":
        return { kind: "throttled" };
      case "rejected":
        return { kind: "rejected", why: "other" };
    }
  }

  #look(): Reading {
    const bases = [...this.#accounts].map(([name, account]) => ({
      holding: assetOf(name, account),
      market: { symbol: `${name}/USDT`, rules: RULES, bid: this.price, ask: this.price },
    }));
    const wallet = { quote: assetOf("USDT", this.#quote), bases, keep: [], quoteDust: QUOTE_DUST };
    return { ...judgeWallet(wallet), orders: this.#orders, triggers: [], failures: [] };
  }

  #execute(order: CloseOrder, share: number): SendResult {
    const owed = this.debt;
    const before = this.nets;
    const result = order.repay === undefined ? this.#trade(order, share) : this.#repay(order);
    if (this.debt > owed + 1e-6) this.breaches.push(`${order.id} made the debt grow from ${owed} to ${this.debt}`);
    for (const [asset, net] of this.nets) {
      const from = before.get(asset) ?? 0;
      // What is sold was there when it was read; interest that fell due since is nobody's doing.
      const due = this.#accounts.get(asset)?.interest ?? 0;
      if (from > 0 && net < -due - 1e-9) this.breaches.push(`${order.id} turned ${asset} from ${from} to ${net}`);
      if (from <= 0 && net > LOT) this.breaches.push(`${order.id} turned ${asset} from ${from} to ${net}`);
    }
    return result;
  }

  /** As Binance: more than is owed is refused, and so is more than is there. */
  #repay({ repay, amount }: CloseOrder): SendResult {
    const account = repay?.asset === "USDT" ? this.#quote : this.#accounts.get(repay?.asset ?? "");
    if (account === undefined || amount > account.debt || amount > account.free)
      return { kind: "rejected", why: "other" };
    account.debt = digits(account.debt - amount);
    account.free = digits(account.free - amount);
    return { kind: "accepted", filled: amount };
  }

  #trade({ symbol, side, amount: asked }: CloseOrder, share: number): SendResult {
    const account = this.#accounts.get(symbol.replace("/USDT", ""));
    const amount = Math.floor(asked * share * 100 + 1e-6) / 100;
    if (account === undefined || amount <= 0) return { kind: "accepted", filled: 0 };
    if (amount * this.price < QUOTE_DUST && share === 1) return { kind: "rejected", why: "minimum" };
    const cost = amount * this.price;
    const [given, gave] = side === "sell" ? ([account, amount] as const) : ([this.#quote, cost] as const);
    if (given.free < gave) return { kind: "rejected", why: "other" };
    given.free = digits(given.free - gave);
    const [taken, took] = side === "sell" ? ([this.#quote, cost] as const) : ([account, amount] as const);
    taken.free = digits(taken.free + took * (1 - FEE_RATIO));
    const repaid = this.#autoRepays ? Math.min(taken.free, taken.debt) : 0;
    taken.free = digits(taken.free - repaid);
    taken.debt = digits(taken.debt - repaid);
    return { kind: "accepted", filled: amount };
  }
}

const RULES = {
  minAmount: LOT,
  stepAmount: LOT,
  maxMarketAmount: 40,
  maxLimitAmount: undefined,
  minCost: QUOTE_DUST,
} as const;

function worth({ free, locked, debt }: Account): number {
  return free + locked - debt;
}

function assetOf(asset: string, { free, locked, debt }: Account): MarginAsset {
  return { asset, free, locked, debt };
}

function digits(value: number): number {
  return Number(value.toFixed(DIGITS));
}
