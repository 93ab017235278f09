/** The sample bot's trading: it opens its positions once, protects them, trades around a moving average and keeps its ledger true. */
import { ExchangeError, OrderNotFound } from "../../../node_modules/ccxt/js/src/base/errors.js";
import type { Intent, Ledger, OpenIntent } from "./ledger.ts";
import { decideTrade, OPEN_NOTIONAL, pushPrice, TRADE_NOTIONAL, type Direction } from "./strategy.ts";
import type { Venue } from "./venue.ts";

export interface TraderOptions {
  venue: Venue;
  ledger: Ledger;
  /** Unified symbols; the first is held long, the second short, and so on in turn. */
  symbols: readonly string[];
  /** Whether new orders are forbidden just now. */
  frozen: () => boolean;
  print: (line: string) => void;
}

export interface Holdings {
  positions: number;
  /** Sum of the positions' sizes, USDT. */
  exposure: number;
}

interface Watched {
  symbol: string;
  direction: Direction;
  prices: number[];
  /** Size of the position, USDT. */
  notional: number;
}

/** Distance of the resting order and of the protective stop from the price, as shares of it. */
const RESTING_RATIO = 0.02;
const STOP_RATIO = 0.05;
/** Ticks between two trades of a symbol, between two looks at the positions and between two looks for fills. */
const TRADE_EVERY_TICKS = 8;
const LOOK_EVERY_TICKS = 4;
const SYNC_EVERY_TICKS = 10;
/** Age at which an order the venue does not know can no longer arrive, ms: ccxt's recvWindow of 10 s and a margin. */
const GIVE_UP_MS = 15_000;
const MAX_TRADES = 500;

export class Trader {
  readonly #venue: Venue;
  readonly #ledger: Ledger;
  readonly #options: TraderOptions;
  readonly #watched: Watched[];
  readonly #idPrefix = `bot${Date.now().toString(36)}`;
  #orders = 0;
  #ticks = 0;
  #holdings: Holdings = { positions: 0, exposure: 0 };

  constructor(options: TraderOptions) {
    this.#options = options;
    this.#venue = options.venue;
    this.#ledger = options.ledger;
    this.#watched = options.symbols.map((symbol, index) => ({
      symbol,
      direction: index % 2 === 0 ? "long" : "short",
      prices: [],
      notional: 0,
    }));
  }

  /** Brings ledger and account together, then opens what is not open yet; an account with positions is taken over as it is. */
  async start(): Promise<void> {
    await this.#reconcile();
    await this.#look();
    for (const watched of this.#watched) if (!this.#options.frozen()) await this.#open(watched);
    await this.#syncFills();
    await this.#look();
  }

  /** One round: prices, now and then a trade, now and then a look at the account. Throws when the venue cannot be read. */
  async tick(): Promise<Holdings> {
    this.#ticks += 1;
    let traded = false;
    for (const [index, watched] of this.#watched.entries()) {
      const { last } = await this.#venue.client.fetchTicker(watched.symbol);
      if (last === undefined) throw new Error(`cannot read the price of ${watched.symbol}: the ticker has none`);
      const due = (this.#ticks + index) % TRADE_EVERY_TICKS === 0;
      const side = due && !this.#options.frozen() ? this.#decide(watched, last) : undefined;
      pushPrice(watched.prices, last);
      if (side === undefined) continue;
      await this.#send({
        symbol: watched.symbol,
        side,
        type: "market",
        amount: this.#sizeOf(watched.symbol, TRADE_NOTIONAL / last),
        price: null,
      });
      traded = true;
    }
    if (traded || this.#ticks % SYNC_EVERY_TICKS === 0) await this.#syncFills();
    if (this.#ticks % SYNC_EVERY_TICKS === 0) await this.#reconcile();
    if (traded || this.#ticks % LOOK_EVERY_TICKS === 1) await this.#look();
    return this.#holdings;
  }

  #decide(watched: Watched, price: number): "buy" | "sell" | undefined {
    return decideTrade(watched.prices, price, watched.direction, watched.notional);
  }

  async #open({ symbol, direction, notional }: Watched): Promise<void> {
    const { last } = await this.#venue.client.fetchTicker(symbol);
    if (last === undefined) throw new Error(`cannot read the price of ${symbol}: the ticker has none`);
    const [enter, leave, sign] = direction === "long" ? (["buy", "sell", 1] as const) : (["sell", "buy", -1] as const);
    const { stopListing } = this.#venue;
    if (notional === 0) {
      await this.#send({
        symbol,
        side: enter,
        type: "market",
        amount: this.#sizeOf(symbol, OPEN_NOTIONAL / last),
        price: null,
      });
    }
    if ((await this.#venue.client.fetchOpenOrders(symbol)).length === 0) {
      const price = last * (1 - sign * RESTING_RATIO);
      await this.#send({
        symbol,
        side: enter,
        type: "limit",
        amount: this.#sizeOf(symbol, TRADE_NOTIONAL / price),
        price,
      });
    }
    if ((await this.#venue.client.fetchOpenOrders(symbol, undefined, undefined, stopListing)).length === 0) {
      const price = last * (1 - sign * STOP_RATIO);
      await this.#send({ symbol, side: leave, type: "stop", amount: 0, price });
    }
  }

  /** An amount of base currency as the venue counts it: some count contracts. */
  #sizeOf(symbol: string, base: number): number {
    return base / (this.#venue.client.market(symbol)["contractSize"] ?? 1);
  }

  /** Writes the intent, sends the order, writes the outcome. A refusal and an unknown outcome are recorded, not thrown. */
  async #send(order: Omit<Intent, "clientId">): Promise<void> {
    this.#orders += 1;
    // Letters and digits only: OKX takes nothing else.
    const clientId = `${this.#idPrefix}x${this.#orders}`;
    this.#ledger.intend({ ...order, clientId }, Date.now());
    const what = `${order.side} ${order.type} ${order.symbol}`;
    try {
      const orderId = await this.#create(clientId, order);
      this.#ledger.settle(clientId, "accepted", { orderId }, Date.now());
      this.#options.print(`${what}: accepted as ${clientId}`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      // Only the venue's own refusal proves that nothing was placed; after a lost reply the order may exist.
      const refused = error instanceof ExchangeError;
      this.#ledger.settle(clientId, refused ? "rejected" : "unknown", { error: message }, Date.now());
      this.#options.print(`${what}: ${refused ? "refused" : "outcome unknown"}: ${message}`);
    }
  }

  async #create(clientId: string, { symbol, side, type, amount, price }: Omit<Intent, "clientId">): Promise<string> {
    const params = { clientOrderId: clientId, ...(type === "stop" ? this.#venue.stopParams(price) : {}) };
    const limit = type === "limit" && price !== null ? price : undefined;
    const placed = await this.#venue.client.createOrder(
      symbol,
      limit === undefined ? "market" : "limit",
      side,
      amount,
      limit,
      params,
    );
    return placed.id ?? "";
  }

  /** Asks the venue what became of orders whose reply was lost, also those of a run that was killed. */
  async #reconcile(): Promise<void> {
    for (const intent of this.#ledger.unsettled()) {
      try {
        const params = { clientOrderId: intent.clientId, ...(intent.type === "stop" ? { trigger: true } : {}) };
        const found = await this.#venue.client.fetchOrder("", intent.symbol, params);
        this.#ledger.settle(intent.clientId, "accepted", { orderId: found.id ?? "" }, Date.now());
        this.#options.print(`${intent.clientId}: found at the venue, ${found.status ?? "state unknown"}`);
      } catch (error) {
        if (!(error instanceof OrderNotFound)) throw error;
        this.#giveUp(intent);
      }
    }
  }

  #giveUp(intent: OpenIntent): void {
    if (Date.now() - intent.createdAtMs < GIVE_UP_MS) return;
    this.#ledger.settle(intent.clientId, "rejected", { error: "the venue does not know it" }, Date.now());
    this.#options.print(`${intent.clientId}: never reached the venue`);
  }

  /** Writes every fill since the newest one in the ledger. */
  async #syncFills(): Promise<void> {
    for (const { symbol } of this.#watched) {
      const trades = await this.#venue.client.fetchMyTrades(symbol, this.#ledger.lastFillAtMs(symbol), MAX_TRADES);
      for (const { id, order, side, price, amount, fee, timestamp } of trades) {
        if (id === undefined || price === undefined || amount === undefined) continue;
        const atMs = timestamp ?? Date.now();
        const fill = { tradeId: id, orderId: order ?? "", symbol, side: String(side), price, amount, atMs };
        const added = this.#ledger.addFill({ ...fill, fee: fee?.cost ?? 0 });
        if (added) this.#options.print(`filled: ${String(side)} ${amount} ${symbol} at ${price}`);
      }
    }
  }

  async #look(): Promise<void> {
    const positions = await this.#venue.client.fetchPositions();
    const sizes = new Map(positions.map(({ symbol, notional }) => [symbol, Math.abs(notional ?? 0)]));
    for (const watched of this.#watched) watched.notional = sizes.get(watched.symbol) ?? 0;
    this.#holdings = { positions: sizes.size, exposure: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
  }
}
