/** The account at a venue, as the close sees it: one reading, one order, one cancel, each with its failure classified and nothing thrown. */
import type { Order, Position } from "ccxt";
import * as ccxtErrors from "../../../node_modules/ccxt/js/src/base/errors.js";
import type { VenueAccess } from "../../core/close-job.ts";
import type { CancelOrders, CloseOrder, HeldPosition, OpenOrder, SendResult } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan.ts";
import { classifyVenueError } from "../../core/venue-error.ts";
import type { VenueErrorFacts, VenueFailure } from "../../core/venue-error.ts";
import type { Clock } from "../../platform/clock.ts";
import { Bucket } from "./bucket.ts";
import { asRecord, nearestNames, openExchange } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";
import { describeError } from "./describe-error.ts";
import { heldPosition, openOrder } from "./normalise.ts";
import { ratesOf } from "./rates.ts";
import type { CallKind, VenueRates } from "./rates.ts";
import type { VenueCall } from "../worker-log.ts";
import { createTransport, UnreachableError } from "./transport.ts";
import type { Transport } from "./transport.ts";

export interface VenueOptions {
  readonly clock: Clock;
  /** Ends all calls and waits. */
  readonly signal: AbortSignal;
  /** Called for each failure, with its class for the report's counters. */
  /** Told of each request, for the log. */
  readonly onCall?: ((call: VenueCall) => void) | undefined;
  readonly onFailure: (failure: VenueFailure) => void;
}

/** How an order ended, with what people want to know of it. */
export interface SendAnswer {
  readonly result: SendResult;
  readonly average: number | undefined;
  /** Why it was not accepted; without secrets. */
  readonly error: string | undefined;
}

type Answer<T> = { readonly value: T } | { readonly failure: VenueFailure; readonly text: string };

/** One reading of the clock heals it; asking more often than this only costs calls. */
const MIN_SYNC_INTERVAL_MS = 1_000;
/** A `Date` header has whole seconds and is as old as the answer: less than this may be no skew at all. */
const TOLERATED_SKEW_MS = 2_000;
/** Ids in one bulk cancel: the smallest limit among the venues (OKX and KuCoin 20). */
const CANCEL_BATCH = 20;

export class Venue {
  readonly rates: VenueRates;
  readonly #access: VenueAccess;
  readonly #options: VenueOptions;
  readonly #transport: Transport;
  readonly #exchange: VenueExchange;
  readonly #requests: Bucket;
  readonly #orders: Bucket;
  #syncedAtMs = Number.NEGATIVE_INFINITY;
  #clientIds = true;

  private constructor(access: VenueAccess, options: VenueOptions, parts: Parts) {
    this.#access = access;
    this.#options = options;
    this.rates = parts.rates;
    this.#requests = parts.requests;
    this.#orders = parts.orders;
    this.#transport = parts.transport;
    this.#exchange = parts.exchange;
  }

  /** Loads the venue's class; sends nothing. Throws `cannot use exchange …`. */
  static async open(access: VenueAccess, options: VenueOptions): Promise<Venue> {
    const rates = ratesOf(access.exchange);
    const requests = new Bucket(rates.requests, options.clock);
    const orders = new Bucket(rates.orders, options.clock);
    const transport = createTransport({
      clock: options.clock,
      endpoint: access.endpoint,
      signal: options.signal,
      onThrottled: (retryAfterMs) => requests.throttle(retryAfterMs),
      onCall: options.onCall,
    });
    const exchange = await openExchange(access, transport);
    return new Venue(access, options, { rates, requests, orders, transport, exchange });
  }

  get calls(): number {
    return this.#transport.calls();
  }

  /** The venue asked for a pause that is not over: what was decided before it must be decided anew. */
  get paused(): boolean {
    return this.#requests.paused;
  }

  /** Loads the markets; `undefined` when that worked. A failed load would be remembered, so each try asks for a fresh one. */
  async prepare(): Promise<VenueFailure | undefined> {
    const answer = await this.#call("markets", () => this.#exchange.loadMarkets(true));
    if ("failure" in answer) {
      if (answer.failure.kind === "clock") await this.#syncClock();
      return answer.failure;
    }
    const skewMs = this.#transport.skewMs() ?? 0;
    if (Math.abs(skewMs) > TOLERATED_SKEW_MS) await this.#syncClock();
    return undefined;
  }

  /** Why the job's list of symbols cannot be used, or `undefined`: a misspelt symbol would look like a flat account. */
  symbolProblem(): string | undefined {
    const markets = asRecord(this.#exchange.markets);
    for (const symbol of this.#access.symbols) {
      const market = asRecord(Object.hasOwn(markets, symbol) ? markets[symbol] : undefined);
      if (market["contract"] === true) continue;
      const names = Object.keys(markets).filter((name) => asRecord(markets[name])["contract"] === true);
      const nearest = nearestNames(symbol, names).join(", ");
      return `cannot use symbol ${symbol}: ${this.#access.exchange} has no contract of that name; the nearest are ${nearest}`;
    }
    return undefined;
  }

  /** Positions, orders and conditional orders at once. A wrong clock is set and the reading taken again, once. */
  async read(): Promise<Reading> {
    const reading = await this.#readOnce();
    if (!reading.failures.some(({ kind }) => kind === "clock")) return reading;
    await this.#syncClock();
    return this.#readOnce();
  }

  /** Takes the tokens of one order; `false` when there will be none before the end. Separate from `send`, which signs a timestamp. */
  async admitOrder(): Promise<boolean> {
    const { signal } = this.#options;
    return (await this.#orders.take(1, signal)) && this.#requests.take(this.rates.weightOf.order, signal);
  }

  /** Sends a reduce-only order, once. The caller has asked `admitOrder`. */
  async send(order: CloseOrder): Promise<SendAnswer> {
    const exchange = this.#exchange;
    const params = {
      reduceOnly: true,
      ...(order.hedged ? { hedged: true } : {}),
      ...(order.marginMode === undefined ? {} : { marginMode: order.marginMode }),
      ...(this.#clientIds ? { clientOrderId: order.id } : {}),
      ...(order.limitPrice === undefined ? {} : { timeInForce: "IOC" }),
    };
    const { symbol, side, amount, limitPrice } = order;
    const answer = await this.#answer(async () =>
      limitPrice === undefined
        ? exchange.createOrder(symbol, "market", side, amount, undefined, params)
        : exchange.createOrder(
            symbol,
            "limit",
            side,
            amount,
            Number(exchange.priceToPrecision(symbol, limitPrice)),
            params,
          ),
    );
    if ("value" in answer) {
      const { filled, average } = answer.value;
      return { result: { kind: "accepted", filled }, average, error: undefined };
    }
    const { failure, text } = answer;
    if (failure.kind === "clock") await this.#syncClock();
    // The id only helps to recognise our orders; a venue with another alphabet gets them without.
    if (failure.kind === "rejected" && failure.why === "clientId") this.#clientIds = false;
    return { result: failure, average: undefined, error: text };
  }

  /** Cancels a symbol's orders of one class; what is left shows in the next reading. */
  async cancel(request: CancelOrders): Promise<void> {
    const { has } = this.#exchange;
    const params = request.trigger ? { trigger: true } : {};
    const { symbol } = request;
    const ids = request.orders.map(({ id }) => id);
    if (has["cancelAllOrders"] === true) {
      await this.#cancelCall(() => this.#exchange.cancelAllOrders(symbol, params));
    } else if (has["cancelOrders"] === true) {
      for (let at = 0; at < ids.length; at += CANCEL_BATCH) {
        const batch = ids.slice(at, at + CANCEL_BATCH);
        // oxlint-disable-next-line no-await-in-loop
        await this.#cancelCall(() => this.#exchange.cancelOrders(batch, symbol, params));
      }
    } else {
      // oxlint-disable-next-line no-await-in-loop
      for (const id of ids) await this.#cancelCall(() => this.#exchange.cancelOrder(id, symbol, params));
    }
  }

  async #cancelCall(call: () => Promise<unknown>): Promise<void> {
    const answer = await this.#call("cancel", call);
    if ("failure" in answer && answer.failure.kind === "clock") await this.#syncClock();
  }

  async #readOnce(): Promise<Reading> {
    const [positions, orders, triggers] = await Promise.all([
      this.#readPositions(),
      this.#readOrders({}),
      this.#readOrders({ trigger: true }),
    ]);
    const regular = "value" in orders ? orders.value : undefined;
    const known = new Set(regular?.map(({ id }) => id));
    const failures = [positions, orders, triggers].flatMap((part) => ("failure" in part ? [part.failure] : []));
    return {
      positions: "value" in positions ? positions.value : undefined,
      orders: regular,
      // A venue that ignores the parameter answers with the regular orders once more.
      triggers:
        "value" in triggers ? triggers.value.filter(({ id }) => !known.has(id)) : noSuchOrders(triggers.failure),
      failures,
    };
  }

  async #readPositions(): Promise<Answer<HeldPosition[]>> {
    return this.#call("positions", async () => {
      const positions: Position[] = await this.#exchange.fetchPositions();
      return positions.flatMap((position) => heldPosition(this.#exchange, position) ?? []).filter(this.#inScope);
    });
  }

  async #readOrders(params: Record<string, unknown>): Promise<Answer<OpenOrder[]>> {
    return this.#call("orders", async () => {
      const orders: Order[] = await this.#exchange.fetchOpenOrders(undefined, undefined, undefined, params);
      return orders.map(openOrder).filter(this.#inScope);
    });
  }

  readonly #inScope = ({ symbol }: { readonly symbol: string }): boolean =>
    this.#access.symbols.length === 0 || this.#access.symbols.includes(symbol);

  async #call<T>(kind: CallKind, call: () => Promise<T>): Promise<Answer<T>> {
    const admitted = await this.#requests.take(this.rates.weightOf[kind], this.#options.signal);
    if (!admitted)
      return { failure: { kind: "throttled" }, text: "the time was over before the venue's limit allowed the call" };
    return this.#answer(call);
  }

  async #answer<T>(call: () => Promise<T>): Promise<Answer<T>> {
    try {
      return { value: await call() };
    } catch (error) {
      const failure = classifyVenueError(factsOf(error));
      this.#options.onFailure(failure);
      return { failure, text: describeError(error, this.#access) };
    }
  }

  async #syncClock(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#syncedAtMs < MIN_SYNC_INTERVAL_MS) return;
    this.#syncedAtMs = nowMs;
    if (this.#exchange.has["fetchTime"] === true) {
      await this.#call("time", () => this.#exchange.loadTimeDifference());
    } else {
      this.#exchange.options["timeDifference"] = this.#transport.skewMs() ?? 0;
    }
  }
}

interface Parts {
  readonly rates: VenueRates;
  readonly requests: Bucket;
  readonly orders: Bucket;
  readonly transport: Transport;
  readonly exchange: VenueExchange;
}

/** A venue without conditional orders has none open; any other failure leaves the question open. */
function noSuchOrders(failure: VenueFailure): OpenOrder[] | undefined {
  return failure.kind === "unsupported" ? [] : undefined;
}

/** The class names survive minification only as `instanceof` against ccxt's own exports. */
function factsOf(error: unknown): VenueErrorFacts {
  const chain = Object.entries(ccxtErrors).flatMap(([name, Class]) =>
    typeof Class === "function" && error instanceof Class ? [name] : [],
  );
  if (!(error instanceof Error)) return { name: "Error", message: String(error), chain };
  const unreachable = error instanceof UnreachableError ? error.message : undefined;
  return { name: error.name, message: error.message, chain, unreachable };
}
