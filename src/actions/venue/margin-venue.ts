/**
 * A margin account at a venue that ccxt knows: what its wallets hold and owe as positions and loans, orders that repay, and
 * repayments. The view of the spot market beside it knows the markets, the limits and the clock.
 */
import type { Order } from "ccxt";
import type { CcxtAccess } from "../../core/close-job.ts";
import type { Loan } from "../../core/close-loans.ts";
import type { CancelOrders, CloseOrder, HeldPosition, OpenOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import { marginRefusal } from "../../core/margin-venues.ts";
import { judgeWallet } from "../../core/margin.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import { CcxtVenue } from "./ccxt-venue.ts";
import type { SendAnswer, Venue, VenueOptions } from "./contract.ts";
import { asRecord } from "./exchange.ts";
import { RejectedOrderError } from "./facts.ts";
import { spotRules } from "./holdings.ts";
import { marginParams, readWallets, repayLoan } from "./margin-interface.ts";
import type { MarginPolicy, ToldWallet } from "./margin-interface.ts";
import { openOrder } from "./normalise.ts";
import type { Answer } from "./open-orders.ts";

/** Where only the markets are looked at, some quote currency that every venue has. */
const ANY_QUOTE = "USDT";

interface Judged {
  readonly positions: HeldPosition[];
  readonly loans: Loan[];
}

export class MarginVenue implements Venue {
  /** The spot market of the account. */
  readonly market: CcxtVenue;
  readonly policy: MarginPolicy;
  /** Pairs whose wallets are closed; empty: all. */
  readonly #pairs: readonly string[];

  private constructor(market: CcxtVenue, policy: MarginPolicy, pairs: readonly string[]) {
    this.market = market;
    this.policy = policy;
    this.#pairs = pairs;
  }

  /** Sends nothing. Throws as `CcxtVenue.open` does, and for a venue whose margin wallets are not known. */
  static async open(access: CcxtAccess, policy: MarginPolicy, options: VenueOptions): Promise<MarginVenue> {
    const refusal = marginRefusal(access.exchange);
    if (refusal !== undefined) throw new Error(`cannot use exchange ${access.exchange}: ${refusal}`);
    const spot = { quote: policy.quote ?? ANY_QUOTE, keep: policy.keep };
    return new MarginVenue(await CcxtVenue.open({ ...access, spot }, options), policy, access.symbols);
  }

  get concurrency(): number {
    return this.market.concurrency;
  }

  get orderWindowMs(): number {
    return this.market.orderWindowMs;
  }

  get calls(): number {
    return this.market.calls;
  }

  get paused(): boolean {
    return this.market.paused;
  }

  async prepare(): Promise<VenueFailure | undefined> {
    return this.market.prepare();
  }

  symbolProblem(): string | undefined {
    return this.market.symbolProblem();
  }

  accountProblem(): string | undefined {
    return this.market.accountProblem();
  }

  /** Wallets and open orders at once; those of isolated pairs are listed pair by pair, once the wallets tell which there are. */
  async read(): Promise<Reading> {
    await this.market.freshen();
    const ofCross = this.policy.mode === "cross" ? this.#readOrders("orders", undefined) : undefined;
    const told = await this.market.ask("positions", async () => readWallets(this.market.exchange, this.policy));
    const wallets = "value" in told ? told.value.filter(this.#inScope) : [];
    const [listed, judged] = await Promise.all([
      ofCross ?? this.#readPairs(told, wallets),
      "value" in told ? this.#judge(wallets) : undefined,
    ]);
    return {
      positions: judged?.positions,
      ...(judged === undefined ? {} : { loans: judged.loans }),
      orders: "value" in listed ? listed.value : undefined,
      // Orders that wait for a price stand among the others, and hold balances back as those do.
      triggers: [],
      failures: [told, listed].flatMap((part) => ("failure" in part ? [part.failure] : [])),
    };
  }

  async admitOrder(): Promise<boolean> {
    return this.market.admitOrder();
  }

  async send(order: CloseOrder): Promise<SendAnswer> {
    const answer = await this.market.deliver(() =>
      order.repay === undefined ? this.#place(order) : this.#repay(order),
    );
    if (!("value" in answer)) return { result: answer.failure, average: undefined, error: answer.text };
    const { filled, average } = answer.value;
    return { result: { kind: "accepted", filled }, average, error: undefined };
  }

  async cancel({ symbol }: CancelOrders): Promise<VenueFailure[]> {
    // ccxt cancels nothing of a market that the kept list has not.
    if (this.#market(symbol) === undefined) await this.market.freshen(true);
    const answer = await this.market.ask("cancel", () =>
      this.market.exchange.cancelAllOrders(symbol, marginParams(this.policy)),
    );
    return "failure" in answer ? [answer.failure] : [];
  }

  async #place({ id, symbol, side, amount, limitPrice }: CloseOrder): Promise<Pick<Order, "filled" | "average">> {
    const { exchange } = this.market;
    const params = {
      ...marginParams(this.policy),
      // On margin ccxt says AUTO_REPAY for it.
      reduceOnly: true,
      clientOrderId: id,
      ...(limitPrice === undefined ? {} : { timeInForce: "IOC" }),
    };
    const price = limitPrice === undefined ? undefined : Number(exchange.priceToPrecision(symbol, limitPrice));
    const type = limitPrice === undefined ? "market" : "limit";
    const placed = await exchange.createOrder(symbol, type, side, amount, price, params);
    if (placed.status === "rejected") throw new RejectedOrderError(placed.info);
    // Not an acknowledgement, whatever it is: the order may have been executed.
    if (placed.id === undefined && placed.clientOrderId === undefined) throw new Error("the answer names no order");
    return placed;
  }

  async #repay({ repay, amount }: CloseOrder): Promise<{ filled: number | undefined; average: undefined }> {
    if (repay === undefined) throw new TypeError("the order repays nothing");
    const { info, id } = asRecord(await repayLoan(this.market.exchange, repay, amount));
    if (id === undefined && asRecord(info)["tranId"] === undefined) throw new Error("the answer names no repayment");
    return { filled: amount, average: undefined };
  }

  async #readPairs(told: Answer<ToldWallet[]>, wallets: readonly ToldWallet[]): Promise<Answer<OpenOrder[]>> {
    // Nobody knows which pairs to ask for.
    if ("failure" in told) return told;
    // An order holds something back, so a wallet without anything has none.
    const used = wallets.filter(({ assets }) => assets.some(({ free, locked, debt }) => free + locked + debt > 0));
    const parts = await Promise.all(used.map(async ({ pair }) => this.#readOrders("account", pair)));
    const failed = parts.find((part) => "failure" in part);
    return failed ?? { value: parts.flatMap((part) => ("value" in part ? part.value : [])) };
  }

  /** `kind`: a listing of one pair costs the venue far less than that of all. */
  async #readOrders(kind: "orders" | "account", pair: string | undefined): Promise<Answer<OpenOrder[]>> {
    return this.market.ask(kind, async () => {
      const orders: Order[] = await this.market.exchange.fetchOpenOrders(
        pair,
        undefined,
        undefined,
        marginParams(this.policy),
      );
      return orders.map(openOrder);
    });
  }

  /** With the prices of what is to be sold or bought back; without them these are worth nobody knows what. */
  async #judge(wallets: readonly ToldWallet[]): Promise<Judged> {
    const wanted = wallets.flatMap((wallet) => this.#wanted(wallet));
    const missing = wanted.some(({ symbol }) => this.#market(symbol) === undefined);
    if (missing && this.market.usesCache) await this.market.freshen(true);
    const symbols = wanted.map(({ symbol }) => symbol).filter((symbol) => this.#market(symbol) !== undefined);
    const prices =
      symbols.length === 0
        ? { value: {} }
        : await this.market.ask("prices", () => this.market.exchange.fetchTickers([...new Set(symbols)]));
    const tickers = asRecord("value" in prices ? prices.value : {});
    const parts = wallets.map((wallet) => this.#judgeOne(wallet, tickers));
    return {
      positions: parts.flatMap(({ positions }) => positions),
      loans: parts.flatMap(({ loans }) => loans),
    };
  }

  #judgeOne(wallet: ToldWallet, tickers: Record<string, unknown>): Judged {
    const { pair, quote, assets } = wallet;
    const none = { asset: quote, free: 0, locked: 0, debt: 0 };
    return judgeWallet({
      pair,
      quote: assets.find(({ asset }) => asset === quote) ?? none,
      bases: this.#wanted(wallet).map(({ holding, symbol }) => {
        const { bid, ask, last } = asRecord(tickers[symbol]);
        const market = this.#market(symbol);
        const rules = market === undefined ? undefined : spotRules(this.market.exchange, symbol);
        return {
          holding,
          market: rules === undefined ? undefined : { symbol, rules, bid: priceOf(bid, last), ask: priceOf(ask, last) },
        };
      }),
      keep: this.policy.keep,
      quoteDust: this.#smallestOrder(quote),
    });
  }

  /** Assets that there are or that are owed, but the quote currency. */
  #wanted({ pair, quote, assets }: ToldWallet) {
    return assets
      .filter(({ asset, free, locked, debt }) => asset !== quote && free + locked + debt > 0)
      .map((holding) => ({ holding, symbol: pair ?? `${holding.asset}/${quote}` }));
  }

  /** `undefined`: nothing is traded there on margin. */
  #market(symbol: string): Record<string, unknown> | undefined {
    const markets = asRecord(this.market.exchange.markets);
    if (!Object.hasOwn(markets, symbol)) return undefined;
    const market = asRecord(markets[symbol]);
    return market["spot"] === true && market["active"] !== false && market["margin"] !== false ? market : undefined;
  }

  /** Value of the smallest order that any market takes for that currency; 0 where none says. */
  #smallestOrder(quote: string): number {
    const costs = Object.values(asRecord(this.market.exchange.markets))
      .map(asRecord)
      .filter((market) => market["spot"] === true && market["quote"] === quote)
      .map((market) => Number(asRecord(asRecord(market["limits"])["cost"])["min"] ?? 0))
      .filter((cost) => cost > 0);
    return costs.reduce((smallest, cost) => Math.min(smallest, cost), costs[0] ?? 0);
  }

  readonly #inScope = ({ pair }: ToldWallet): boolean =>
    this.#pairs.length === 0 || pair === undefined || this.#pairs.includes(pair);
}

function priceOf(...told: readonly unknown[]): number | undefined {
  return told.flatMap((price) => (typeof price === "number" && Number.isFinite(price) && price > 0 ? [price] : []))[0];
}
