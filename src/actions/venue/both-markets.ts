/**
 * One account that trades derivatives and holds a spot wallet, closed in one incident: two views of it by ccxt, told apart by the
 * symbols, since a derivative's names its settlement currency after a colon.
 */
import type { CcxtAccess } from "../../core/close-job.ts";
import { isDerivative } from "../../core/close-orders.ts";
import type { CancelOrders, CloseOrder, OpenOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import { CcxtVenue } from "./ccxt-venue.ts";
import type { SendAnswer, Venue, VenueOptions } from "./contract.ts";

export class BothMarkets implements Venue {
  readonly derivatives: CcxtVenue;
  readonly wallet: CcxtVenue;
  /** Symbols that the job names: a market of which none is named is not looked at. */
  readonly #symbols: readonly string[];

  private constructor(symbols: readonly string[], derivatives: CcxtVenue, wallet: CcxtVenue) {
    this.#symbols = symbols;
    this.derivatives = derivatives;
    this.wallet = wallet;
  }

  /** Sends nothing. Throws as `CcxtVenue.open` does. */
  static async open(access: CcxtAccess, options: VenueOptions): Promise<BothMarkets> {
    const { spot: _, ...plain } = access;
    const { symbols, marketsFile } = access;
    const walletFile = marketsFile?.replace(/(?:\.json)?$/, "-spot.json");
    const [derivatives, wallet] = await Promise.all([
      CcxtVenue.open({ ...plain, symbols: symbols.filter(isDerivative) }, options),
      CcxtVenue.open(
        {
          ...access,
          symbols: symbols.filter((symbol) => !isDerivative(symbol)),
          ...(walletFile === undefined ? {} : { marketsFile: walletFile }),
        },
        options,
      ),
    ]);
    return new BothMarkets(symbols, derivatives, wallet);
  }

  get concurrency(): number {
    return this.derivatives.concurrency;
  }

  get orderWindowMs(): number {
    return Math.max(this.derivatives.orderWindowMs, this.wallet.orderWindowMs);
  }

  get closesWhole(): boolean {
    return this.derivatives.closesWhole;
  }

  get calls(): number {
    return this.derivatives.calls + this.wallet.calls;
  }

  get paused(): boolean {
    return this.derivatives.paused || this.wallet.paused;
  }

  async prepare(): Promise<VenueFailure | undefined> {
    const [first, second] = await Promise.all([this.derivatives.prepare(), this.wallet.prepare()]);
    return first ?? second;
  }

  symbolProblem(): string | undefined {
    return this.derivatives.symbolProblem() ?? this.wallet.symbolProblem();
  }

  accountProblem(): string | undefined {
    return this.derivatives.accountProblem() ?? this.wallet.accountProblem();
  }

  /** Both at once; a part that one of them does not show is unreadable for the whole. */
  async read(): Promise<Reading> {
    const [futures, spot] = await Promise.all([this.#wants(true), this.#wants(false)]);
    return {
      positions: joined(futures.positions, spot.positions),
      orders: unique(joined(futures.orders, spot.orders)),
      triggers: unique(joined(futures.triggers, spot.triggers)),
      failures: [...futures.failures, ...spot.failures],
    };
  }

  async admitOrder({ symbol }: CloseOrder): Promise<boolean> {
    return this.#of(symbol).admitOrder();
  }

  async send(order: CloseOrder): Promise<SendAnswer> {
    return this.#of(order.symbol).send(order);
  }

  async cancel(cancel: CancelOrders): Promise<VenueFailure[]> {
    return this.#of(cancel.symbol).cancel(cancel);
  }

  /** An empty list of symbols would mean the whole market. */
  async #wants(derivatives: boolean): Promise<Reading> {
    const named = this.#symbols.length === 0 || this.#symbols.some((symbol) => isDerivative(symbol) === derivatives);
    if (!named) return { positions: [], orders: [], triggers: [], failures: [] };
    return (derivatives ? this.derivatives : this.wallet).read();
  }

  #of(symbol: string): CcxtVenue {
    return isDerivative(symbol) ? this.derivatives : this.wallet;
  }
}

function joined<T>(first: readonly T[] | undefined, second: readonly T[] | undefined): readonly T[] | undefined {
  return first === undefined || second === undefined ? undefined : [...first, ...second];
}

/** Some venues show the orders of both markets in one list. */
function unique(orders: readonly OpenOrder[] | undefined): readonly OpenOrder[] | undefined {
  return orders === undefined
    ? undefined
    : [...new Map(orders.map((order) => [`${order.symbol} ${order.id}`, order])).values()];
}
