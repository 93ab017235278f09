/** `execute`: one door for all calls of a bot to its venue. Reads are retried, orders are sent once, whatever is lost in between. */
import { createHash } from "node:crypto";
import { scaleQuantity, type OrderIntent, type VenueOrder } from "../core/order-intent.ts";
import type { RetryPriority } from "../core/retry-budget.ts";
import type { Breaker } from "./breaker.ts";
import { Budget } from "./budget.ts";
import { attempt, gaveUp, passGate, Retries, type CallPorts, type CallSettings } from "./call.ts";
import { excerptOf, judgeError, ResilienceError } from "./errors.ts";
import { callBounded, realMachine, type Machine } from "./machine.ts";
import { sendOrder, type OrderOp } from "./order.ts";
import { settleUnfinished, type OrderPorts, type OrderReader, type SettledIntent } from "./order-fate.ts";
import type { Action, Gate, IntentLog, ProposeLevel } from "./ports.ts";

/** What an executor is connected to. */
export interface ExecutorWiring {
  /** Default: one of its own, in memory. */
  readonly budget?: Budget;
  /** Default: everything is allowed. */
  readonly gate?: Gate;
  /** Needed for orders, with `reader`. */
  readonly intents?: IntentLog;
  readonly reader?: OrderReader;
  /** How long after it has left the venue may still execute an order, ms; default 10 s, ccxt's recvWindow. */
  readonly orderWindowMs?: number;
  /** Part of every client order id, for example the account; default: SUPERVISOR_BOT. */
  readonly scope?: string;
  /** The client order id of a key, for a venue whose ids have a form of their own; default: `clientOrderIdOf`. */
  readonly idOf?: (scope: string, key: string) => string;
  readonly propose?: ProposeLevel;
  /** The black box: gets each intent, request, retry and end. */
  readonly blackbox?: {
    record(type: string, data?: unknown, options?: { sev?: "info" | "warn" | "error" }): void;
    begin?(name: string, detail?: string): () => void;
  };
  readonly machine?: Partial<Machine>;
}

export interface CallOptions {
  /** Default 3. */
  readonly maxRetries?: number;
  /** Most of the first delay, ms; default 1000. It doubles with each retry, up to `maxDelayMs` (30 s). */
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
  /** Of each attempt, ms; default 10 s. */
  readonly timeoutMs?: number;
  /** Ends the call: nothing is sent after it is aborted. What an order has sent by then is still asked about. */
  readonly signal?: AbortSignal;
  /** Default: `urgent` for what cancels, reduces or closes. */
  readonly priority?: RetryPriority;
  readonly breaker?: Breaker;
}

export interface CallContext {
  /** 1 for the first. */
  readonly attempt: number;
  readonly signal: AbortSignal;
}

export type CallOp<T> = (context: CallContext) => PromiseLike<T> | T;

export interface ReadOptions<T> extends CallOptions {
  /** `read` changes nothing at the venue. */
  readonly kind: "read";
  /** What is given instead when the call is given up; the result is then flagged. */
  readonly fallback?: (error: ResilienceError) => PromiseLike<T> | T;
}

export interface ChangeOptions<T> extends CallOptions {
  /** `idempotent`: making it twice does what making it once does. `once`: it does not, and is made again only where it certainly was not executed. */
  readonly kind: "idempotent" | "once";
  readonly action: Exclude<Action, "read">;
  readonly fallback?: (error: ResilienceError) => PromiseLike<T> | T;
}

export interface OrderRequest {
  /** What makes this the same order after a restart, for example `signal-4711:entry`. Of two calls with one key, one is sent. */
  readonly key: string;
  readonly action: "open" | "increase" | "reduce" | "close";
  readonly symbol: string;
  readonly side: "buy" | "sell";
  readonly type: string;
  readonly quantity: string | number;
  readonly price?: string | number;
  readonly reduceOnly?: boolean;
  readonly positionId?: string;
}

export interface OrderOptions extends CallOptions {
  readonly kind: "order";
  readonly order: OrderRequest;
  /** Sent once in its place when it is certain that nothing of it was executed and nothing will be. */
  readonly fallback?: { readonly order: Omit<OrderRequest, "key">; readonly op: OrderOp };
}

export interface Executed<T> {
  readonly value: T;
  /** The value is the fallback's. */
  readonly degraded: boolean;
  /** Calls that were made for it. */
  readonly attempts: number;
}

export interface ExecutedOrder extends Executed<VenueOrder> {
  readonly clientOrderId: string;
  /** It had been sent by an earlier call or an earlier life of the bot: nothing was sent now. */
  readonly repeated: boolean;
}

export interface Executor {
  execute<T>(op: CallOp<T>, name: string, options: ReadOptions<T> | ChangeOptions<T>): Promise<Executed<T>>;
  execute(op: OrderOp, name: string, options: OrderOptions): Promise<ExecutedOrder>;
  /**
   * The short form. Nothing is known of `op`, so it is taken for `once`: it is retried, and replaced by `fallback`, only
   * where it certainly was not executed. `baseDelayMs` as above.
   */
  execute<T>(
    op: CallOp<T>,
    name: string,
    maxRetries?: number,
    baseDelayMs?: number,
    fallback?: () => PromiseLike<T> | T,
  ): Promise<Executed<T>>;
  /** To be called at the start, before trading: asks the venue about the orders that an earlier life left open. */
  settleUnfinished(): Promise<readonly SettledIntent[]>;
  readonly budget: Budget;
}

/** The client order id of an order: the same for the same key, 32 letters and digits, which most venues take. */
export function clientOrderIdOf(scope: string, key: string): string {
  return `sv${createHash("sha256").update(`${scope}\n${key}`).digest("hex").slice(0, 30)}`;
}

const DEFAULTS = { maxRetries: 3, baseDelayMs: 1_000, maxDelayMs: 30_000, timeoutMs: 10_000 };
const ORDER_WINDOW_MS = 10_000;
const URGENT: ReadonlySet<Action> = new Set(["cancel", "reduce", "close"]);

type GenericOptions = ReadOptions<unknown> | ChangeOptions<unknown> | OrderOptions;

export function createExecutor(wiring: ExecutorWiring = {}): Executor {
  return new Execution(wiring);
}

class Execution implements Executor {
  readonly budget: Budget;
  readonly #wiring: ExecutorWiring;
  readonly #ports: CallPorts;
  readonly #underWay = new Set<string>();
  /** Keys of orders that a call is busy with: it may be about to send the fallback. */
  readonly #busyKeys = new Set<string>();
  readonly #scope: string;

  constructor(wiring: ExecutorWiring) {
    const { blackbox, gate, propose, machine, scope } = wiring;
    this.budget = wiring.budget ?? new Budget();
    this.#wiring = wiring;
    this.#scope = scope ?? process.env["SUPERVISOR_BOT"] ?? "bot";
    this.#ports = {
      machine: { ...realMachine, ...machine },
      budget: this.budget,
      gate: gate ?? (() => ({ allowed: true, sizeFactor: 1 })),
      propose: propose ?? (() => undefined),
      record: (type, data, sev = "info") => blackbox?.record(type, data, { sev }),
    };
  }

  execute<T>(op: CallOp<T>, name: string, options: ReadOptions<T> | ChangeOptions<T>): Promise<Executed<T>>;
  execute(op: OrderOp, name: string, options: OrderOptions): Promise<ExecutedOrder>;
  execute<T>(
    op: CallOp<T>,
    name: string,
    maxRetries?: number,
    baseDelayMs?: number,
    fallback?: () => PromiseLike<T> | T,
  ): Promise<Executed<T>>;
  async execute(
    // What is called with an order's options gets an order's op.
    op: CallOp<unknown> & OrderOp,
    name: string,
    options: GenericOptions | number = DEFAULTS.maxRetries,
    baseDelayMs: number = DEFAULTS.baseDelayMs,
    fallback?: () => unknown,
  ): Promise<unknown> {
    const end = this.#wiring.blackbox?.begin?.(name);
    try {
      return await this.#dispatch(op, name, options, baseDelayMs, fallback);
    } finally {
      end?.();
    }
  }

  settleUnfinished(): Promise<readonly SettledIntent[]> {
    return settleUnfinished(this.#orderPorts("settle orders"), settingsOf("settle orders", {}, "read"));
  }

  #dispatch(
    op: CallOp<unknown> & OrderOp,
    name: string,
    options: GenericOptions | number,
    baseDelayMs: number,
    fallback: (() => unknown) | undefined,
  ): Promise<Executed<unknown>> {
    if (typeof options === "number") {
      const more = fallback === undefined ? {} : { fallback };
      return this.#call(op, name, { kind: "once", action: "open", maxRetries: options, baseDelayMs, ...more });
    }
    return options.kind === "order" ? this.#order(op, name, options) : this.#call(op, name, options);
  }

  async #call<T>(op: CallOp<T>, name: string, options: ReadOptions<T> | ChangeOptions<T>): Promise<Executed<T>> {
    const action = options.kind === "read" ? "read" : options.action;
    const settings = settingsOf(name, options, action);
    passGate(this.#ports, name, action);
    const error = await this.#tries(op, settings, action, options.kind !== "once");
    if (!(error instanceof ResilienceError)) return error;
    const { fallback } = options;
    if (fallback === undefined || error.reason === "ambiguous" || error.reason === "aborted") throw error;
    passGate(this.#ports, name, action, error.attempts);
    this.#ports.record("fallback", { name, reason: error.reason }, "warn");
    try {
      const value = await callBounded(this.#ports.machine, () => fallback(error), settings.timeoutMs, settings.signal)
        .result;
      return { value, degraded: true, attempts: error.attempts };
    } catch (second) {
      const why = `${error.message}; its fallback failed, too: ${excerptOf(second)}`;
      throw new ResilienceError(name, error.reason, error.attempts, why, { cause: error });
    }
  }

  /** What came of it, or why it was given up. */
  async #tries<T>(
    op: CallOp<T>,
    settings: CallSettings,
    action: Action,
    repeatable: boolean,
  ): Promise<Executed<T> | ResilienceError> {
    const { name, signal } = settings;
    if (signal?.aborted === true) return gaveUp(name, "aborted", 0, signal.reason);
    const retries = new Retries(this.#ports, settings);
    for (;;) {
      // The first has passed; while it was waited for the next, the level may have risen.
      if (retries.attempts > 0) passGate(this.#ports, name, action, retries.attempts);
      try {
        const value = await attempt(this.#ports, settings, (own) => {
          retries.attempts += 1;
          return op({ attempt: retries.attempts, signal: own });
        }).result;
        return { value, degraded: false, attempts: retries.attempts };
      } catch (error) {
        const reason = await retries.next(error, repeatable, judgeError(error));
        if (reason !== undefined) return gaveUp(name, reason, retries.attempts, error);
      }
    }
  }

  async #order(op: OrderOp, name: string, options: OrderOptions): Promise<ExecutedOrder> {
    const { key } = options.order;
    if (this.#busyKeys.has(key))
      throw new ResilienceError(name, "ambiguous", 0, `order ${key} is under way already`, {
        clientOrderId: this.#idOf(key),
      });
    this.#busyKeys.add(key);
    try {
      return await this.#orderOrFallback(op, name, options);
    } finally {
      this.#busyKeys.delete(key);
    }
  }

  async #orderOrFallback(op: OrderOp, name: string, options: OrderOptions): Promise<ExecutedOrder> {
    const ports = this.#orderPorts(name);
    const { order: request, fallback } = options;
    const settings = settingsOf(name, options, request.action);
    const standInKey = fallbackKey(request.key);
    const send = async (wanted: OrderRequest, how: CallSettings, sender: OrderOp): Promise<ExecutedOrder> => {
      const intent = this.#intentOf(name, wanted);
      const quantityAt = (factor: number): string => scaleQuantity(String(wanted.quantity), factor);
      const standInId = this.#idOf(standInKey);
      // An `idOf` that does not tell the two keys apart knows no stand-in.
      const own = wanted !== request || standInId === intent.clientOrderId;
      const full = { intent, quantityAt, ...(own ? {} : { standInId }) };
      const { order, attempts, repeated, standIn } = await sendOrder(ports, how, full, sender, fallback === undefined);
      const clientOrderId = standIn ?? intent.clientOrderId;
      return { value: order, degraded: standIn !== undefined, attempts, repeated, clientOrderId };
    };
    try {
      return await send(request, settings, op);
    } catch (error) {
      if (fallback === undefined || !(error instanceof ResilienceError)) throw error;
      // Nothing after an abort, beside an order of unknown fate, or past a level that forbids it.
      if (error.reason === "ambiguous" || error.reason === "aborted" || error.reason === "gate") throw error;
      ports.record("fallback", { name, reason: error.reason }, "warn");
      const second = { ...fallback.order, key: standInKey };
      const sent = await send(second, { ...settings, maxRetries: 0 }, fallback.op);
      return { ...sent, degraded: true, attempts: sent.attempts + error.attempts };
    }
  }

  #intentOf(name: string, request: OrderRequest): OrderIntent {
    const { key, action, symbol, side, type, quantity, price, reduceOnly, positionId } = request;
    const factor = passGate(this.#ports, name, action);
    const adds = action === "open" || action === "increase";
    return {
      clientOrderId: this.#idOf(key),
      name,
      action,
      symbol,
      side,
      type,
      reduceOnly: reduceOnly ?? !adds,
      quantity: scaleQuantity(String(quantity), adds ? factor : 1),
      price: price === undefined ? null : String(price),
      positionId: positionId ?? null,
      createdAt: this.#ports.machine.wallNow(),
    };
  }

  #idOf(key: string): string {
    return (this.#wiring.idOf ?? clientOrderIdOf)(this.#scope, key);
  }

  #orderPorts(name: string): OrderPorts {
    const { intents, reader, orderWindowMs = ORDER_WINDOW_MS } = this.#wiring;
    if (intents === undefined || reader === undefined)
      throw new Error(
        `cannot ${name}: the executor has no ${intents === undefined ? "intents" : "reader"}, and an order needs both`,
      );
    return { ...this.#ports, intents, reader, lateMs: orderWindowMs, underWay: this.#underWay };
  }
}

function fallbackKey(key: string): string {
  return `${key}\nfallback`;
}

function settingsOf(name: string, options: CallOptions, action: Action): CallSettings {
  const { signal, breaker, priority } = options;
  return {
    name,
    maxRetries: options.maxRetries ?? DEFAULTS.maxRetries,
    baseDelayMs: options.baseDelayMs ?? DEFAULTS.baseDelayMs,
    maxDelayMs: options.maxDelayMs ?? DEFAULTS.maxDelayMs,
    timeoutMs: options.timeoutMs ?? DEFAULTS.timeoutMs,
    priority: priority ?? (URGENT.has(action) ? "urgent" : "normal"),
    signal,
    breaker,
  };
}
