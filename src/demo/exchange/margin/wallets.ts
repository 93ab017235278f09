/**
 * The wallets of a margin account: one of cross margin, one of each isolated pair; what they hold, what open orders lock, what is owed.
 * Interest is due for each begun hour of the venue's clock, as Binance's margin pages have it, and is repaid before the loan.
 */
import { remember, type Order } from "../account.ts";
import { round } from "../decimal.ts";

export const CROSS = "cross";
/** Binance keeps eight decimals. */
const DIGITS = 8;
const HOUR_MS = 3_600_000;
/** Interest of an hour, as ratio of the loan: about 11 % a year. */
const HOURLY_RATIO = 0.000_012_5;
const MAX_LOANS = 1_000;

export interface MarginBalance {
  free: number;
  locked: number;
  borrowed: number;
  interest: number;
}

export interface MarginOrder extends Order {
  /** `cross`, or the symbol of the isolated pair. */
  readonly wallet: string;
  readonly sideEffect: string;
  /** 0 for one that does not wait for a price. */
  readonly stopPrice: number;
}

/** A loan taken or repaid, whether by a request of its own or by the side effect of an order. */
export interface LoanMove {
  readonly kind: "borrow" | "repay";
  readonly wallet: string;
  readonly asset: string;
  readonly amount: number;
  /** Of the order whose side effect it was. */
  readonly clientOrderId?: string | undefined;
}

/** What a test seeds: one asset of one wallet. */
export interface MarginSeed {
  readonly pair?: string | undefined;
  readonly asset: string;
  readonly free: number;
  readonly borrowed: number;
  readonly interest: number;
}

export class MarginWallets {
  readonly orders = new Map<number, MarginOrder>();
  readonly closedOrders: MarginOrder[] = [];
  readonly loans: LoanMove[] = [];
  /** Length of what counts as an hour, ms; a test makes it short. */
  hourMs = HOUR_MS;
  readonly #wallets = new Map<string, Map<string, MarginBalance>>();
  #accruedAtMs: number | undefined;

  /** What a wallet has of an asset; made when it is asked for. */
  balance(wallet: string, asset: string): MarginBalance {
    const assets = this.#wallets.get(wallet) ?? new Map<string, MarginBalance>();
    this.#wallets.set(wallet, assets);
    const balance = assets.get(asset) ?? { free: 0, locked: 0, borrowed: 0, interest: 0 };
    assets.set(asset, balance);
    return balance;
  }

  assets(wallet: string): ReadonlyMap<string, MarginBalance> {
    return this.#wallets.get(wallet) ?? new Map<string, MarginBalance>();
  }

  /** Symbols of the isolated pairs that ever had a balance. */
  get pairs(): string[] {
    return [...this.#wallets.keys()].filter((wallet) => wallet !== CROSS);
  }

  seed({ pair = CROSS, asset, free, borrowed, interest }: MarginSeed): void {
    Object.assign(this.balance(pair, asset), { free, borrowed, interest });
  }

  /** Adds the interest of the hours since it was asked last. */
  accrue(now: number): void {
    this.#accruedAtMs ??= now;
    const hours = Math.floor((now - this.#accruedAtMs) / this.hourMs);
    if (hours <= 0) return;
    this.#accruedAtMs += hours * this.hourMs;
    for (const assets of this.#wallets.values())
      for (const balance of assets.values())
        balance.interest = round(balance.interest + balance.borrowed * HOURLY_RATIO * hours, DIGITS);
  }

  borrow(wallet: string, asset: string, amount: number, clientOrderId?: string): void {
    const balance = this.balance(wallet, asset);
    balance.borrowed = round(balance.borrowed + amount, DIGITS);
    balance.free = round(balance.free + amount, DIGITS);
    remember(this.loans, { kind: "borrow", wallet, asset, amount, clientOrderId }, MAX_LOANS);
  }

  /** Takes `amount`, at most what is free and owed, for interest first and the loan then. */
  repay(wallet: string, asset: string, amount: number, clientOrderId?: string): void {
    const balance = this.balance(wallet, asset);
    const paid = round(Math.min(amount, balance.free, debtOf(balance)), DIGITS);
    if (paid <= 0) return;
    const interest = Math.min(paid, balance.interest);
    balance.interest = round(balance.interest - interest, DIGITS);
    balance.borrowed = round(balance.borrowed - (paid - interest), DIGITS);
    balance.free = round(balance.free - paid, DIGITS);
    remember(this.loans, { kind: "repay", wallet, asset, amount: paid, clientOrderId }, MAX_LOANS);
  }

  /** Moves what an open order holds back; negative: it is given back. */
  lock(wallet: string, asset: string, amount: number): void {
    const balance = this.balance(wallet, asset);
    balance.free = round(balance.free - amount, DIGITS);
    balance.locked = round(balance.locked + amount, DIGITS);
  }

  /** Adds to what is free, or takes from it when negative. */
  move(wallet: string, asset: string, amount: number): void {
    const balance = this.balance(wallet, asset);
    balance.free = round(balance.free + amount, DIGITS);
  }

  clear(): void {
    this.#wallets.clear();
    this.orders.clear();
    this.closedOrders.length = 0;
    this.loans.length = 0;
    this.hourMs = HOUR_MS;
    this.#accruedAtMs = undefined;
  }

  /** What tests read. */
  state(): {
    balances: (MarginBalance & { wallet: string; asset: string })[];
    orders: MarginOrder[];
    loans: LoanMove[];
  } {
    return {
      balances: [...this.#wallets].flatMap(([wallet, assets]) =>
        [...assets].map(([asset, balance]) => ({ wallet, asset, ...balance })),
      ),
      orders: [...this.orders.values()],
      loans: [...this.loans],
    };
  }
}

export function debtOf({ borrowed, interest }: MarginBalance): number {
  return round(borrowed + interest, DIGITS);
}

export function netOf(balance: MarginBalance): number {
  return round(balance.free + balance.locked - debtOf(balance), DIGITS);
}
