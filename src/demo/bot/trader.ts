/** The sample bot's trading: it opens its positions once, protects them, trades around a moving average and keeps its books true. */
import { existsSync } from "node:fs";
import { ResilienceError, type OrderRequest, type ReconcileVenue, type VenueOrder } from "../../bot/index.ts";
import { Books, heldIn, type Held } from "./books.ts";
import type { Safety } from "./safety.ts";
import { decideTrade, OPEN_NOTIONAL, pushPrice, STOP_RATIO, TRADE_NOTIONAL, type Direction } from "./strategy.ts";
import { orderReader, restingOrder, venueOrder, venuePosition, type Venue } from "./venue.ts";

export interface TraderOptions {
  venue: Venue;
  safety: Safety;
  /** Unified symbols; the first is held long, the second short, and so on in turn. */
  symbols: readonly string[];
  /** Whether new orders are forbidden just now. */
  frozen: () => boolean;
  /** While this file exists, an order under way turns in circles. */
  hangFile: string | undefined;
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

/** Distance of the resting order from the price, as a share of it. */
const RESTING_RATIO = 0.02;
/** Ticks between two trades of a symbol, between two looks at the positions and between two looks for fills. */
const TRADE_EVERY_TICKS = 8;
const LOOK_EVERY_TICKS = 4;
const SYNC_EVERY_TICKS = 10;
const MAX_TRADES = 500;

interface Order {
  readonly symbol: string;
  readonly action: OrderRequest["action"];
  readonly side: "buy" | "sell";
  readonly type: "market" | "limit" | "stop";
  readonly amount: number;
  readonly price: number | null;
}

export class Trader {
  readonly #venue: Venue;
  readonly #safety: Safety;
  readonly #books: Books;
  readonly #options: TraderOptions;
  readonly #watched: Watched[];
  readonly #idPrefix = `bot${Date.now().toString(36)}`;
  #orders = 0;
  #ticks = 0;
  /** Orders whose fate is not known are asked about. */
  #unknown = false;
  #holdings: Holdings = { positions: 0, exposure: 0 };

  constructor(options: TraderOptions) {
    this.#options = options;
    this.#venue = options.venue;
    this.#safety = options.safety;
    this.#books = new Books(options.safety, "paper");
    this.#watched = options.symbols.map((symbol, index) => ({
      symbol,
      direction: index % 2 === 0 ? "long" : "short",
      prices: [],
      notional: 0,
    }));
  }

  /** What the last look at the account has shown. */
  get holdings(): Holdings {
    return this.#holdings;
  }

  /** Brings books and account together, then opens what is not open yet; an account with positions is taken over as it is. */
  async start(): Promise<void> {
    await this.#reconcile();
    for (const watched of this.#watched) if (!this.#options.frozen()) await this.#open(watched);
    await this.#syncFills();
    await this.#look();
  }

  /** One round: prices, now and then a trade, now and then a look at the account. Throws when the venue cannot be read. */
  async tick(): Promise<Holdings> {
    this.#ticks += 1;
    let traded = false;
    for (const [index, watched] of this.#watched.entries()) {
      const last = await this.#price(watched.symbol);
      const due = (this.#ticks + index) % TRADE_EVERY_TICKS === 0;
      const side = due && !this.#options.frozen() ? this.#decide(watched, last) : undefined;
      pushPrice(watched.prices, last);
      if (side === undefined) continue;
      await this.#send({
        symbol: watched.symbol,
        action: (side === "buy") === (watched.direction === "long") ? "increase" : "reduce",
        side,
        type: "market",
        amount: this.#sizeOf(watched.symbol, TRADE_NOTIONAL / last),
        price: null,
      });
      traded = true;
    }
    if (traded || this.#ticks % SYNC_EVERY_TICKS === 0) await this.#syncFills();
    if (this.#ticks % SYNC_EVERY_TICKS === 0) await this.#settle();
    if (traded || this.#ticks % LOOK_EVERY_TICKS === 1) await this.#look();
    return this.#holdings;
  }

  #decide(watched: Watched, price: number): "buy" | "sell" | undefined {
    return decideTrade(watched.prices, price, watched.direction, watched.notional);
  }

  async #open({ symbol, direction, notional }: Watched): Promise<void> {
    const last = await this.#price(symbol);
    const [enter, leave, sign] = direction === "long" ? (["buy", "sell", 1] as const) : (["sell", "buy", -1] as const);
    const { stopListing } = this.#venue;
    if (notional === 0) {
      await this.#send({
        symbol,
        action: "open",
        side: enter,
        type: "market",
        amount: this.#sizeOf(symbol, OPEN_NOTIONAL / last),
        price: null,
      });
    }
    if ((await this.#openOrders(symbol)) === 0) {
      const price = last * (1 - sign * RESTING_RATIO);
      await this.#send({
        symbol,
        action: "increase",
        side: enter,
        type: "limit",
        amount: this.#sizeOf(symbol, TRADE_NOTIONAL / price),
        price,
      });
    }
    if ((await this.#openOrders(symbol, stopListing)) === 0) {
      const price = last * (1 - sign * STOP_RATIO);
      await this.#send({ symbol, action: "close", side: leave, type: "stop", amount: 0, price });
    }
  }

  /** An amount of base currency as the venue counts it: some count contracts. */
  #sizeOf(symbol: string, base: number): number {
    return base / (this.#venue.client.market(symbol)["contractSize"] ?? 1);
  }

  async #price(symbol: string): Promise<number> {
    const { last } = await this.#safety.market("read_price", () => this.#venue.client.fetchTicker(symbol));
    if (last === undefined) throw new Error(`cannot read the price of ${symbol}: the ticker has none`);
    return last;
  }

  async #openOrders(symbol: string, listing: Readonly<Record<string, unknown>> = {}): Promise<number> {
    return (await this.#listOrders(symbol, listing)).length;
  }

  #listOrders(
    symbol: string,
    listing: Readonly<Record<string, unknown>>,
  ): ReturnType<Venue["client"]["fetchOpenOrders"]> {
    const { client } = this.#venue;
    return this.#safety.account("read_orders", () => client.fetchOpenOrders(symbol, undefined, undefined, listing));
  }

  #fetchPositions(): ReturnType<Venue["client"]["fetchPositions"]> {
    return this.#safety.account("read_positions", () => this.#venue.client.fetchPositions());
  }

  /** Sends the order once, whatever is lost in between; whether the venue has it. A refusal and an unknown outcome are said, not thrown. */
  async #send(order: Order): Promise<boolean> {
    this.#orders += 1;
    const { symbol, action, side, type, amount, price } = order;
    const what = `${side} ${type} ${symbol}`;
    const request: OrderRequest = {
      key: `${this.#idPrefix}x${this.#orders}`,
      action,
      symbol,
      side,
      type,
      quantity: amount,
      ...(price === null ? {} : { price }),
    };
    try {
      const { clientOrderId } = await this.#safety.order(request, ({ clientOrderId: id, intent }) =>
        this.#create(id, { ...order, amount: Number(intent.quantity) }),
      );
      this.#options.print(`${what}: accepted as ${clientOrderId}`);
      return true;
    } catch (error) {
      if (!(error instanceof ResilienceError)) throw error;
      const ambiguous = error.reason === "ambiguous";
      this.#unknown ||= ambiguous;
      this.#options.print(`${what}: ${ambiguous ? "outcome unknown" : "not placed"}: ${error.message}`);
      return false;
    }
  }

  async #create(clientId: string, { symbol, side, type, amount, price }: Order): Promise<VenueOrder> {
    hangWhile(this.#options.hangFile);
    const params = { clientOrderId: clientId, ...(type === "stop" ? this.#venue.stopParams(price) : {}) };
    const limit = type === "limit" && price !== null ? price : undefined;
    const kind = limit === undefined ? "market" : "limit";
    return venueOrder(await this.#venue.client.createOrder(symbol, kind, side, amount, limit, params), clientId);
  }

  /** Asks the venue what became of orders whose fate is not known, also those of a run that was killed. */
  async #settle(): Promise<void> {
    if (!this.#unknown) return;
    this.#unknown = (await this.#safety.settle()).some(({ outcome }) => outcome.status === "unknown");
  }

  /** Keeps every fill since the newest one in the books. */
  async #syncFills(): Promise<void> {
    for (const { symbol } of this.#watched) {
      const since = this.#books.lastFillAtMs(symbol);
      const read = () => this.#venue.client.fetchMyTrades(symbol, since, MAX_TRADES);
      for (const trade of await this.#safety.account("read_fills", read)) {
        if (await this.#books.addFill(symbol, trade))
          this.#options.print(`filled: ${String(trade.side)} ${trade.amount} ${symbol} at ${trade.price}`);
      }
    }
  }

  /** The bot is ready only once its books agree with the account: else it ends, and the next start tries again. */
  async #reconcile(): Promise<void> {
    const account = this.#account();
    const { ready, findings, obstacles, positions } = await this.#safety.reconcile({
      ...account,
      reader: orderReader(this.#venue),
      placeStop: async ({ symbol, side, stopPrice }) => {
        const leave = side === "long" ? "sell" : "buy";
        const placed = await this.#send({
          symbol,
          action: "close",
          side: leave,
          type: "stop",
          amount: 0,
          price: stopPrice,
        });
        if (!placed) throw new Error(`cannot place the stop of ${symbol}`);
      },
    });
    for (const { text } of findings) this.#options.print(text);
    if (!ready) throw new Error(`cannot trade before books and account agree: ${obstacles.join("; ")}`);
    this.#options.print(`reconciled: ${positions.length} positions in the books, ${findings.length} findings`);
    await this.#books.open();
    await this.#look();
    this.#safety.watch(account);
  }

  /** Positions and open orders as the SDK takes them. */
  #account(): Pick<ReconcileVenue, "positions" | "openOrders"> {
    return {
      positions: async () => (await this.#fetchPositions()).flatMap((each) => venuePosition(this.#venue, each) ?? []),
      openOrders: async () => {
        const symbols = this.#watched.map(({ symbol }) => symbol);
        const listings = symbols.flatMap((symbol) => [
          this.#listOrders(symbol, {}),
          this.#listOrders(symbol, this.#venue.stopListing),
        ]);
        return (await Promise.all(listings)).flat().flatMap((order) => restingOrder(order) ?? []);
      },
    };
  }

  async #look(): Promise<void> {
    await this.#books.keep(await this.#positions());
  }

  async #positions(): Promise<readonly Held[]> {
    const held = heldIn(await this.#fetchPositions());
    for (const watched of this.#watched)
      watched.notional = held.find(({ symbol }) => symbol === watched.symbol)?.notional ?? 0;
    this.#holdings = { positions: held.length, exposure: held.reduce((sum, { notional }) => sum + notional, 0) };
    return held;
  }
}

/** For trying out what a dump shows of a bot that hangs in an order. */
function hangWhile(file: string | undefined): void {
  if (file === undefined) return;
  while (existsSync(file));
}
