/** The account at a venue that ccxt knows: its readings, orders and cancels, each with its failure classified and nothing thrown. */
import type { Order } from "ccxt";
import type { CcxtAccess } from "../../core/close-job.ts";
import type { CancelOrders, CloseOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { Rest } from "../../core/close-rests.ts";
import { classifyVenueError, missedAnswer } from "../../core/venue-error.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import { accountFactsOf } from "./account-facts.ts";
import { AccountReader } from "./account-reader.ts";
import { guardAnswers } from "./answer-guard.ts";
import { beginConnection } from "./connection.ts";
import type { SendAnswer, Venue, VenueOptions } from "./contract.ts";
import { asRecord, hasQuote, nearestNames, openExchange, RECV_WINDOW_MS } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";
import { describeError } from "./describe-error.ts";
import { factsOf, RejectedOrderError } from "./facts.ts";
import { failedCall, NOT_ADMITTED } from "./failed-call.ts";
import { Limiter } from "./limiter.ts";
import { useCachedMarkets } from "./market-cache.ts";
import type { Answer } from "./open-orders.ts";
import { quirksOf } from "./quirks.ts";
import type { VenueQuirks } from "./quirks.ts";
import { ratesOf } from "./rates.ts";
import type { CallKind, VenueRates } from "./rates.ts";
import { readEnd, readTouch } from "./touch.ts";
import type { RestEnd } from "./touch.ts";
import { createTransport } from "./transport.ts";
import type { Transport } from "./transport.ts";

/** One reading of the clock heals it; asking more often than this only costs calls. */
const MIN_SYNC_INTERVAL_MS = 1_000;
/** A `Date` header has whole seconds and is as old as the answer: less than this may be no skew at all. */
const TOLERATED_SKEW_MS = 2_000;
/** A refusal as too frequent that names no time to wait, with a status that does not tell; windows are 1 s to 2 s. */
const THROTTLED_PAUSE_MS = 1_000;

export class CcxtVenue implements Venue {
  readonly concurrency: number;
  readonly orderWindowMs = RECV_WINDOW_MS;
  readonly #access: CcxtAccess;
  readonly #options: VenueOptions;
  readonly #transport: Transport;
  readonly #exchange: VenueExchange;
  readonly #limiter: Limiter;
  readonly #quirks: VenueQuirks;
  readonly #reader: AccountReader;
  #syncedAtMs = Number.NEGATIVE_INFINITY;
  #syncing: Promise<void> | undefined;
  #toldSkewMs: number | undefined;
  #closingAll: Promise<unknown> | undefined;
  #clientIds: boolean;
  /** Where the markets are from; `outdated`: from the file, and a refusal says that it may be too old. */
  #markets: "none" | "file" | "outdated" | "venue" = "none";
  /** What the venue says whose account it is; `undefined` before it was asked. */
  #uid: { readonly found: string | undefined } | undefined;

  private constructor(access: CcxtAccess, options: VenueOptions, parts: Parts) {
    this.#access = access;
    this.#options = options;
    this.concurrency = parts.rates.concurrency;
    this.#limiter = parts.limiter;
    this.#quirks = quirksOf(access.exchange, access.spot !== undefined);
    this.#clientIds = this.#quirks.clientIds;
    this.#transport = parts.transport;
    this.#exchange = parts.exchange;
    this.#reader = new AccountReader(access, this.#exchange, this.#quirks, (kind, call) => this.#call(kind, call));
  }

  /** Loads the venue's class; sends nothing. Throws `cannot use exchange …`. */
  static async open(access: CcxtAccess, options: VenueOptions): Promise<CcxtVenue> {
    beginConnection(access);
    const rates = ratesOf(access.exchange, access.spot !== undefined);
    const limiter = new Limiter(rates, options.clock);
    const transport = createTransport({
      clock: options.clock,
      endpoint: access.endpoint,
      signal: options.signal,
      onThrottled: (retryAfterMs) => limiter.throttle(retryAfterMs),
      onCall: options.onCall,
    });
    const exchange = await openExchange(access, transport, options.clock);
    guardAnswers(exchange);
    return new CcxtVenue(access, options, { rates, limiter, transport, exchange });
  }

  get calls(): number {
    return this.#transport.calls();
  }

  get paused(): boolean {
    return this.#limiter.paused;
  }

  /** What it was opened with. */
  get access(): CcxtAccess {
    return this.#access;
  }

  /** ccxt's own object, for what only some venues can be asked. */
  get exchange(): VenueExchange {
    return this.#exchange;
  }

  /** Our clock minus the venue's, ms: as it last told its time, else by the last answer's header, which may be of a gateway, in whole seconds. */
  get skewMs(): number | undefined {
    return this.#toldSkewMs ?? this.#transport.skewMs();
  }

  /** The markets are from the file that a preflight wrote. */
  get usesCache(): boolean {
    return this.#markets === "file" || this.#markets === "outdated";
  }

  /** Asks the venue something within its limits; a failure is classified, counted and never thrown. A wrong clock is set, and it is asked once more. */
  async ask<T>(kind: CallKind, call: () => Promise<T>): Promise<Answer<T>> {
    const answer = await this.#call(kind, call);
    if (!("failure" in answer) || answer.failure.kind !== "clock") return answer;
    await this.#syncClock();
    return this.#call(kind, call);
  }

  /**
   * Loads the markets, from the preflight's file where that is of these days, and proves whose account it is; `undefined` when
   * that worked. A failed load would be remembered, so each try asks for a fresh one.
   */
  async prepare({ fresh = false }: { readonly fresh?: boolean } = {}): Promise<VenueFailure | undefined> {
    return (await this.#loadMarkets(fresh)) ?? this.#readUid();
  }

  async #loadMarkets(fresh: boolean): Promise<VenueFailure | undefined> {
    if (!fresh && this.#markets === "none" && this.#useCache(false)) return undefined;
    if (!fresh && this.#markets !== "none") return undefined;
    const answer = await this.#call("markets", () => this.#exchange.loadMarkets(true));
    if ("failure" in answer) {
      if (answer.failure.kind === "clock") await this.#syncClock();
      // Better old markets than none: lots change seldom, and what does not fit is refused and learnt from.
      return !fresh && this.#useCache(true) ? undefined : answer.failure;
    }
    this.#markets = "venue";
    const skewMs = this.#transport.skewMs() ?? 0;
    if (Math.abs(skewMs) > TOLERATED_SKEW_MS) await this.#syncClock();
    return undefined;
  }

  /** A list that lacks a symbol of the job is too old, whatever its age. */
  #useCache(anyAge: boolean): boolean {
    if (!useCachedMarkets(this.#exchange, this.#access, this.#options.clock, anyAge)) return false;
    if (!anyAge && this.symbolProblem() !== undefined) return false;
    this.#markets = "file";
    return true;
  }

  async #readUid(): Promise<VenueFailure | undefined> {
    const readUid = accountFactsOf(this.#access).uid;
    if (this.#access.uid === undefined || this.#uid !== undefined) return undefined;
    const answer = await this.ask("account", async () => readUid?.(this.#exchange));
    if ("failure" in answer) return answer.failure;
    this.#uid = { found: answer.value };
    return undefined;
  }

  /** An account of another id must not be touched, nor one whose id the venue does not tell where the config asks for it. */
  accountProblem(): string | undefined {
    const { uid } = this.#access;
    if (uid === undefined || this.#uid?.found === uid) return undefined;
    const found = this.#uid?.found;
    const seen = found === undefined ? "tells no id" : `says ${found}`;
    return `the key may open another account: emergency.uid is ${uid}, the venue ${seen}`;
  }

  /** Why the job's list of symbols cannot be used, or `undefined`: a misspelt symbol would look like a flat account. */
  symbolProblem(): string | undefined {
    const markets = asRecord(this.#exchange.markets);
    const { spot, symbols, exchange } = this.#access;
    const [kind, what] = spot === undefined ? (["contract", "contract"] as const) : (["spot", "spot market"] as const);
    for (const symbol of symbols) {
      const market = asRecord(Object.hasOwn(markets, symbol) ? markets[symbol] : undefined);
      if (market[kind] === true) continue;
      const names = Object.keys(markets).filter((name) => asRecord(markets[name])[kind] === true);
      const nearest = nearestNames(symbol, names).join(", ");
      return `cannot use symbol ${symbol}: ${exchange} has no ${what} of that name; the nearest are ${nearest}`;
    }
    if (spot === undefined || hasQuote(markets, spot.quote)) return undefined;
    return `cannot sell for ${spot.quote}: ${exchange} has no spot market with that quote currency (emergency.spot.quote)`;
  }

  /** Positions, orders and conditional orders at once. A wrong clock is set and the reading taken again, once. */
  async read(): Promise<Reading> {
    await this.freshen();
    const reading = await this.#readListed();
    if (!reading.failures.some(({ kind }) => kind === "clock")) return reading;
    await this.#syncClock();
    return this.#readListed();
  }

  /** A reading that names a market which the file does not know is taken again with the venue's own list. */
  async #readListed(): Promise<Reading> {
    const reading = await this.#reader.read();
    if (this.#markets !== "file") return reading;
    const known = asRecord(this.#exchange.markets);
    const seen = [...(reading.positions ?? []), ...(reading.orders ?? []), ...(reading.triggers ?? [])];
    if (seen.every(({ symbol }) => Object.hasOwn(known, symbol))) return reading;
    return (await this.#renewMarkets()) ? this.#reader.read() : reading;
  }

  /** Asks for the venue's own list of markets where a refusal, or `tooLittle`, says that the file's is too old. */
  async freshen(tooLittle = false): Promise<void> {
    if (this.#markets === "outdated" || (tooLittle && this.#markets === "file")) await this.#renewMarkets();
  }

  /** Whether the venue's own list is in the place of the file's now; tried once, since the file is better than nothing. */
  async #renewMarkets(): Promise<boolean> {
    this.#markets = "venue";
    const answer = await this.#call("markets", () => this.#exchange.loadMarkets(true));
    return "value" in answer;
  }

  /** Takes the tokens of one order; `false` when there will be none before the end. Separate from `send`, which signs a timestamp. */
  async admitOrder(): Promise<boolean> {
    return this.#limiter.takeOrder(this.#options.signal);
  }

  /**
   * The venue closes a position by itself, or all of them where nothing but the whole account is to be closed: what it cannot do for one
   * it must not do to symbols that are to stay.
   */
  get closesWhole(): boolean {
    const { has } = this.#exchange;
    if (this.#access.spot !== undefined) return false;
    return has["closePosition"] === true || (has["closeAllPositions"] === true && this.#access.symbols.length === 0);
  }

  /** Sends a reduce-only order, or has the venue close the whole position, once. The caller has asked `admitOrder`. */
  async send(order: CloseOrder): Promise<SendAnswer> {
    const answer = await this.deliver(() => (order.by === "venue" ? this.#closeWhole(order) : this.#place(order)));
    if (!("value" in answer)) return { result: answer.failure, average: undefined, error: answer.text };
    const { filled, average, id } = answer.value;
    const named = id === undefined ? {} : { id };
    return { result: { kind: "accepted", filled, ...named }, average, error: undefined };
  }

  /** Sends once what the caller has asked `admitOrder` for, and learns from a refusal. */
  async deliver<T>(call: () => Promise<T>): Promise<Answer<T>> {
    const answer = await this.#answer(call);
    if ("value" in answer) return answer;
    const { failure } = answer;
    if (failure.kind === "clock") await this.#syncClock();
    // The id only helps to recognise our orders; a venue with another alphabet gets them without.
    if (failure.kind === "rejected" && failure.why === "clientId") this.#clientIds = false;
    // Perhaps its lot is another one by now.
    if (failure.kind === "rejected" && this.#markets === "file") this.#markets = "outdated";
    return answer;
  }

  async readTouch(order: CloseOrder): Promise<{ readonly price: number } | { readonly error: string }> {
    return readTouch(this, order);
  }

  async readEnd(rest: Rest): Promise<RestEnd | undefined> {
    return readEnd(this, rest);
  }

  async #place(order: CloseOrder): Promise<Placed> {
    const exchange = this.#exchange;
    const params = {
      // A balance cannot be sold below nothing; the plan sees to it that it is not sold twice.
      ...(this.#access.spot === undefined ? { reduceOnly: true } : {}),
      ...(order.hedged ? { hedged: true } : {}),
      ...(order.marginMode === undefined ? {} : { marginMode: order.marginMode }),
      ...(this.#clientIds ? { clientOrderId: order.id } : {}),
      ...(order.limitPrice === undefined || order.rests !== undefined ? {} : { timeInForce: "IOC" }),
    };
    const { symbol, side, amount, limitPrice } = order;
    const type = limitPrice === undefined ? "market" : "limit";
    // Nothing of this outside of a try: it throws for a symbol that is not listed, and a failing order must not end the round.
    const reference = this.#quirks.pricedMarketOrders ? this.#reader.markOf(symbol) : undefined;
    const priced = limitPrice ?? reference;
    const price = priced === undefined ? undefined : Number(exchange.priceToPrecision(symbol, priced));
    const placed = await exchange.createOrder(symbol, type, side, amount, price, params);
    if (placed.status === "rejected") throw new RejectedOrderError(placed.info);
    // Not an acknowledgement, whatever it is: the order may have been executed.
    if (placed.id === undefined && placed.clientOrderId === undefined) throw new Error("the answer names no order");
    return placed;
  }

  /** The next reading tells what came of it: what venues answer to this is seldom an order. */
  async #closeWhole({ id, symbol, positionSide, hedged, marginMode }: CloseOrder): Promise<Placed> {
    const exchange = this.#exchange;
    const { closesBy } = this.#quirks;
    if (exchange.has["closePosition"] !== true) {
      // One call for all positions of a round.
      this.#closingAll ??= exchange.closeAllPositions().finally(() => (this.#closingAll = undefined));
      await this.#closingAll;
      return {};
    }
    const side = hedged && closesBy.includes("side") ? positionSide : undefined;
    await exchange.closePosition(symbol, side, {
      ...(marginMode !== undefined && closesBy.includes("marginMode") ? { marginMode } : {}),
      ...(this.#clientIds && closesBy.includes("clientOrderId") ? { clientOrderId: id } : {}),
    });
    return {};
  }

  /** Cancels a symbol's orders of one class; what is left shows in the next reading. The failures of its calls come back. */
  async cancel({ symbol, trigger, orders }: CancelOrders): Promise<VenueFailure[]> {
    const { has, options } = this.#exchange;
    const { oneListing, cancelsTriggersSingly } = this.#quirks;
    const singly = trigger && cancelsTriggersSingly(options);
    const params = trigger && !oneListing ? { trigger: true } : {};
    const ids = orders.map(({ id }) => id);
    if (has["cancelAllOrders"] === true && !oneListing && !singly) {
      return this.#cancelCall(trigger, symbol, 1, () => this.#exchange.cancelAllOrders(symbol, params));
    }
    const bulk = has["cancelOrders"] === true && !singly;
    const most = bulk ? (trigger ? this.#quirks.triggerCancelBatch : this.#quirks.cancelBatch) : 1;
    const failures: VenueFailure[] = [];
    for (let at = 0; at < ids.length; at += most) {
      const batch = ids.slice(at, at + most);
      const [first = ""] = batch;
      const call = (): Promise<unknown> =>
        bulk ? this.#exchange.cancelOrders(batch, symbol, params) : this.#exchange.cancelOrder(first, symbol, params);
      // Safe: batches follow each other within the rate of the venue.
      // oxlint-disable-next-line no-await-in-loop
      failures.push(...(await this.#cancelCall(trigger, symbol, batch.length, call)));
    }
    return failures;
  }

  async #cancelCall(
    trigger: boolean,
    symbol: string,
    orders: number,
    call: () => Promise<unknown>,
  ): Promise<VenueFailure[]> {
    const kind = trigger ? "cancelTriggers" : "cancel";
    const answer = await this.#call(kind, call, { symbol, orders });
    if (!("failure" in answer)) return [];
    if (answer.failure.kind === "clock") await this.#syncClock();
    return [answer.failure];
  }

  async #call<T>(
    kind: CallKind,
    call: () => Promise<T>,
    { symbol, orders }: { readonly symbol?: string; readonly orders?: number } = {},
  ): Promise<Answer<T>> {
    const admitted = await this.#limiter.take(kind, this.#options.signal, symbol, orders);
    if (!admitted)
      return { failure: { kind: "throttled", ...failedCall(kind, this.#address, NOT_ADMITTED) }, text: NOT_ADMITTED };
    return this.#answer(call, kind);
  }

  get #address(): string {
    return this.#transport.origin() ?? this.#access.exchange;
  }

  async #answer<T>(call: () => Promise<T>, kind?: CallKind): Promise<Answer<T>> {
    try {
      return { value: await call() };
    } catch (error) {
      const facts = factsOf(error);
      const failure = { ...classifyVenueError(facts), ...failedCall(kind, this.#address, missedAnswer(facts)) };
      this.#options.onFailure(failure);
      if (failure.kind === "throttled" && !this.paused) this.#limiter.throttle(THROTTLED_PAUSE_MS);
      return { failure, text: describeError(error, this.#access) };
    }
  }

  /** Calls refused side by side wait for one answer: none of them is asked again with the old clock. */
  async #syncClock(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#syncedAtMs >= MIN_SYNC_INTERVAL_MS) {
      this.#syncedAtMs = nowMs;
      this.#syncing = this.#readClock();
    }
    await this.#syncing;
  }

  async #readClock(): Promise<void> {
    if (this.#exchange.has["fetchTime"] === true) {
      const answer = await this.#call("time", () => this.#exchange.loadTimeDifference());
      if ("value" in answer) this.#toldSkewMs = Number(answer.value);
    } else {
      this.#exchange.options["timeDifference"] = this.#transport.skewMs() ?? 0;
    }
  }
}

/** What is wanted of the answer to an order. */
type Placed = Partial<Pick<Order, "filled" | "average" | "id">>;

interface Parts {
  readonly rates: VenueRates;
  readonly limiter: Limiter;
  readonly transport: Transport;
  readonly exchange: VenueExchange;
}
