/** The sample bot's books: what it holds and what was filled, kept in its state. */
import type { Position, Trade } from "ccxt";
import type { SavedPosition } from "../../bot/index.ts";
import type { Safety } from "./safety.ts";

/** What the bot needs to know of a position. */
export interface Held {
  readonly symbol: string;
  readonly side: "long" | "short";
  /** As the venue counts it. */
  readonly amount: number;
  /** USDT. */
  readonly notional: number;
  readonly entryPrice: number | undefined;
}

const DAY_MS = 86_400_000;

export function heldIn(positions: readonly Position[]): readonly Held[] {
  return positions.flatMap(({ symbol, side, contracts, notional, entryPrice }) => {
    if (symbol === undefined || contracts === undefined || contracts === 0) return [];
    const direction = side === "short" ? "short" : "long";
    return [{ symbol, side: direction, amount: contracts, notional: Math.abs(notional ?? 0), entryPrice } as const];
  });
}

export class Books {
  readonly #safety: Pick<Safety, "store">;
  readonly #account: string;
  #kept = new Map<string, SavedPosition>();
  readonly #lastFillAtMs = new Map<string, number>();

  constructor(safety: Pick<Safety, "store">, account: string) {
    this.#safety = safety;
    this.#account = account;
  }

  /** Takes on what was kept, once it agrees with the venue. */
  async open(): Promise<void> {
    const { store } = this.#safety;
    this.#kept = new Map((await store.positions()).map((position) => [position.id, position]));
    for (const { symbol, at } of await store.trades(Date.now() - DAY_MS)) this.#lastFillAtMs.set(symbol, at);
  }

  /** Keeps what the venue says, where it is news. */
  async keep(held: readonly Held[]): Promise<void> {
    const now = Date.now();
    const next = new Map(held.map((each) => [each.symbol, this.#row(each, now)]));
    const gone = [...this.#kept.values()].filter(({ id }) => !next.has(id));
    const news = [...next.values()].filter((row) => {
      const known = this.#kept.get(row.id);
      return known?.quantity !== row.quantity || known.side !== row.side;
    });
    await Promise.all([
      ...news.map((row) => this.#safety.store.putPosition(row)),
      ...gone.map((row) => this.#safety.store.putPosition({ ...row, status: "closed", quantity: "0", updatedAt: now })),
    ]);
    this.#kept = next;
  }

  /** Time of the newest fill that is known of a symbol, venue's ms since 1970; `undefined` when there is none of the last day. */
  lastFillAtMs(symbol: string): number | undefined {
    return this.#lastFillAtMs.get(symbol);
  }

  /** Keeps a fill; false when it was known, or is none. */
  async addFill(symbol: string, { id, side, price, amount, fee, timestamp }: Trade): Promise<boolean> {
    if (id === undefined || price === undefined || amount === undefined) return false;
    const at = timestamp ?? Date.now();
    const added = await this.#safety.store.addTrade({
      id: `${symbol} ${id}`,
      clientOrderId: null,
      symbol,
      side: side === "sell" ? "sell" : "buy",
      quantity: String(amount),
      price: String(price),
      pnl: null,
      commission: String(fee?.cost ?? 0),
      at,
    });
    this.#lastFillAtMs.set(symbol, Math.max(at, this.#lastFillAtMs.get(symbol) ?? 0));
    return added;
  }

  #row({ symbol, side, amount, entryPrice }: Held, updatedAt: number): SavedPosition {
    return {
      id: symbol,
      account: this.#account,
      symbol,
      side,
      quantity: String(amount),
      entryPrice: entryPrice === undefined ? null : String(entryPrice),
      currentPrice: null,
      stopLoss: null,
      takeProfit: null,
      entryTime: null,
      status: "open",
      source: "venue",
      extra: null,
      updatedAt,
    };
  }
}
