/**
 * Sends an order once, whatever is lost. Its intent is on the disk before it leaves; while it is not certain what became
 * of a request, the venue is read until it is, and nothing is sent meanwhile. What stays uncertain is reported as unknown.
 */
import type { CallVerdict } from "../core/call-error.ts";
import {
  isUndone,
  isUnfinished,
  orderOf,
  outcomeOf,
  outcomeWithout,
  type IntentOutcome,
  type KnownIntent,
  type OrderIntent,
  type VenueOrder,
} from "../core/order-intent.ts";
import { attempt, gaveUp, passGate, Retries, type CallPorts, type CallSettings } from "./call.ts";
import { excerptOf, judgeError, ResilienceError, retryAfterMsOf, type GiveUpReason } from "./errors.ts";
import { callBounded, sleep } from "./machine.ts";
import type { IntentLog } from "./ports.ts";

/** Reads what the venue knows of an order. */
export interface OrderReader {
  /** The order with this client id; `undefined` only where the venue certainly has none. Rejects when it cannot say. */
  find(intent: OrderIntent, signal: AbortSignal): Promise<VenueOrder | undefined>;
}

export interface OrderPorts extends CallPorts {
  readonly intents: IntentLog;
  readonly reader: OrderReader;
  /** How long after it has left the venue may still execute a request, ms: Binance's recvWindow, OKX's expTime. */
  readonly lateMs: number;
  /** Orders that are under way in this process. */
  readonly underWay: Set<string>;
}

export interface OrderContext {
  /** 1 for the first. */
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly clientOrderId: string;
  /** What is to be sent, with the quantity that the level allows. */
  readonly intent: OrderIntent;
}

export type OrderOp = (context: OrderContext) => PromiseLike<VenueOrder> | VenueOrder;

export interface SentOrder {
  readonly order: VenueOrder;
  readonly attempts: number;
  /** It had been sent before: nothing was sent now. */
  readonly repeated: boolean;
}

/** Readings that fail before the fate of an order is given up as unknown. */
const MAX_FAILED_READS = 6;
/** First wait between two readings, ms; it doubles up to the most. */
const READ_WAIT_MS = 500;
const MAX_READ_WAIT_MS = 5_000;
/** Longest wait for a venue that limits our readings, ms. */
const MAX_THROTTLE_WAIT_MS = 30_000;
/** An attempt that ignores its deadline for so long beyond it will not be waited for, ms; then nothing is sent after it. */
const MAX_OVERRUN_MS = 60_000;
/** How long an order of unknown fate keeps the level at minimal unless it is settled, ms. */
const UNKNOWN_TTL_MS = 3_600_000;

/** What is certain about an order: its state, that the venue has none and gets none any more, or nothing. */
type Fate =
  | { readonly kind: "found"; readonly order: VenueOrder }
  | { readonly kind: "absent" }
  | { readonly kind: "unknown"; readonly error: unknown };

/** An order as it is wanted: its intent, and what of it a level allows that leaves this share of its size. */
export interface WantedOrder {
  readonly intent: OrderIntent;
  readonly quantityAt: (sizeFactor: number) => string;
}

/** `again`: an order that was given up in an earlier call may be sent now; not where its fallback may stand in its place. */
export async function sendOrder(
  ports: OrderPorts,
  settings: CallSettings,
  wanted: WantedOrder,
  op: OrderOp,
  again: boolean,
): Promise<SentOrder> {
  const id = wanted.intent.clientOrderId;
  // Also one that was given up, while an attempt of it is not over: that may still leave.
  if (ports.underWay.has(id))
    throw new ResilienceError(settings.name, "ambiguous", 0, `order ${id} is under way already`, { clientOrderId: id });
  ports.underWay.add(id);
  const sending = new Sending(ports, settings, wanted, op);
  try {
    return await sending.run(again);
  } finally {
    if (sending.isOver) ports.underWay.delete(id);
    else void sending.over.then(() => ports.underWay.delete(id));
  }
}

class Sending {
  readonly #ports: OrderPorts;
  readonly #settings: CallSettings;
  readonly #op: OrderOp;
  readonly #quantityAt: WantedOrder["quantityAt"];
  #intent: OrderIntent;
  #attempts = 0;
  /** The last attempt's real end, maybe after its deadline, and what it gave. */
  #over: Promise<VenueOrder | undefined> = Promise.resolve(undefined);
  /** When that was; `undefined` while it is not over. */
  #overAtMs: number | undefined = 0;

  constructor(ports: OrderPorts, settings: CallSettings, { intent, quantityAt }: WantedOrder, op: OrderOp) {
    this.#ports = ports;
    this.#settings = settings;
    this.#intent = intent;
    this.#quantityAt = quantityAt;
    this.#op = op;
  }

  /** Nothing of it can leave any more. */
  get isOver(): boolean {
    return this.#overAtMs !== undefined;
  }

  /** Resolves when its last attempt has ended; never, where that hangs for ever. */
  get over(): Promise<unknown> {
    return this.#over;
  }

  async run(again: boolean): Promise<SentOrder> {
    const known = await this.#begin();
    if (known !== undefined) {
      const { outcome } = known;
      if (!again && outcome !== null && isUndone(outcome))
        throw gaveUp(
          this.#settings.name,
          "fatal",
          0,
          new Error(outcome.error ?? outcome.status),
          this.#intent.clientOrderId,
        );
      this.#intent = known.intent;
      const done = await this.#takeUp(known);
      if (done !== undefined) return done;
    }
    if (this.#settings.signal?.aborted === true) throw await this.#undone("aborted", this.#settings.signal.reason);
    const retries = new Retries(this.#ports, this.#settings);
    for (;;) {
      await this.#fitLevel();
      const { order, error, verdict } = await this.#sendOnce();
      if (order !== undefined) return this.#done(order, false);
      const contradiction = isDuplicate(error);
      const fate: Fate = verdict.executed === "no" ? { kind: "absent" } : await this.#fateOf();
      if (fate.kind === "found") return this.#done(fate.order, false);
      // The venue knows the id and shows no such order: nothing is certain.
      if (fate.kind === "unknown" || contradiction)
        throw await this.#unknown(fate.kind === "unknown" ? fate.error : error);
      const reason = await retries.next(error, true, verdict);
      if (reason !== undefined) throw await this.#undone(reason, error, verdict);
    }
  }

  /** The level may have risen since the intent was made: what leaves now is what it allows now, and never more than was meant. */
  async #fitLevel(): Promise<void> {
    const { action, quantity } = this.#intent;
    let factor: number;
    try {
      factor = passGate(this.#ports, this.#settings.name, action, this.#attempts);
    } catch (error) {
      throw await this.#undone("gate", error);
    }
    if (action !== "open" && action !== "increase") return;
    const allowed = this.#quantityAt(factor);
    if (Number(allowed) < Number(quantity)) this.#intent = { ...this.#intent, quantity: allowed };
  }

  /** The intent on the disk, before anything leaves. */
  async #begin(): Promise<KnownIntent | undefined> {
    const known = await this.#written(this.#ports.intents.begin(this.#intent));
    const { name } = this.#settings;
    this.#ports.record("order.intent", { id: this.#intent.clientOrderId, name, known: known !== undefined });
    return known;
  }

  async #written<T>(writing: Promise<T>): Promise<T> {
    try {
      return await writing;
    } catch (error) {
      const why = `its intent could not be written, so it was not sent: ${excerptOf(error)}`;
      const clientOrderId = this.#intent.clientOrderId;
      throw new ResilienceError(this.#settings.name, "fatal", 0, why, { cause: error, clientOrderId });
    }
  }

  /** An order of an earlier life: what became of it? `undefined` when it may be sent. */
  async #takeUp({ outcome, intent }: KnownIntent): Promise<SentOrder | undefined> {
    const id = intent.clientOrderId;
    if (outcome !== null && !isUnfinished(outcome)) {
      if (!isUndone(outcome)) return { order: orderOf(id, outcome), attempts: 0, repeated: true };
      // It is on the disk again that it may be on its way, before it is.
      const outcomeNow = outcomeWithout("sent", 0, null, this.#ports.machine.wallNow());
      await this.#written(this.#ports.intents.settle(id, outcomeNow));
      return undefined;
    }
    const fate = await fateOf(this.#ports, this.#settings, intent, this.#ports.machine.now());
    if (fate.kind === "unknown") throw await this.#unknown(fate.error);
    return fate.kind === "found" ? this.#done(fate.order, true) : undefined;
  }

  async #sendOnce(): Promise<{ readonly order?: VenueOrder; readonly error?: unknown; readonly verdict: CallVerdict }> {
    const { machine, record } = this.#ports;
    const intent = this.#intent;
    const id = intent.clientOrderId;
    const number = this.#attempts + 1;
    const sent = { op: false, late: undefined as VenueOrder | undefined };
    this.#overAtMs = undefined;
    const { result, over } = attempt(this.#ports, this.#settings, async (signal) => {
      sent.op = true;
      this.#attempts = number;
      record("order.sent", {
        id,
        attempt: number,
        symbol: intent.symbol,
        side: intent.side,
        quantity: intent.quantity,
      });
      const order = await this.#op({ attempt: number, signal, clientOrderId: id, intent });
      sent.late = order;
      return order;
    });
    this.#over = over.then(() => {
      this.#overAtMs = machine.now();
      return sent.late;
    });
    try {
      return { order: await result, verdict: NOTHING_WRONG };
    } catch (error) {
      record("order.failed", { id, attempt: number, error: excerptOf(error) }, "warn");
      return { error, verdict: judgeError(error) };
    }
  }

  /**
   * The fate of the last attempt. An attempt that is not over may yet leave (a client may hold it back in a queue of its
   * own), so nothing is certain before it is.
   */
  async #fateOf(): Promise<Fate> {
    const { machine } = this.#ports;
    const overrun = new AbortController();
    const late = await Promise.race([this.#over, sleep(machine, MAX_OVERRUN_MS, overrun.signal).then(() => undefined)]);
    overrun.abort();
    if (late !== undefined) return { kind: "found", order: late };
    return fateOf(this.#ports, this.#settings, this.#intent, this.#overAtMs);
  }

  async #done(order: VenueOrder, repeated: boolean): Promise<SentOrder> {
    const { machine, record } = this.#ports;
    const outcome = outcomeOf(order, this.#attempts, machine.wallNow());
    record("order.done", {
      id: this.#intent.clientOrderId,
      status: outcome.status,
      exchangeOrderId: order.id,
      repeated,
    });
    await this.#settle(outcome);
    return { order, attempts: this.#attempts, repeated };
  }

  async #undone(reason: GiveUpReason, error: unknown, verdict?: CallVerdict): Promise<ResilienceError> {
    const { machine } = this.#ports;
    const status = reason === "fatal" && verdict?.executed === "no" ? "rejected" : "absent";
    const settled = await this.#settle(outcomeWithout(status, this.#attempts, excerptOf(error), machine.wallNow()));
    // What the log does not say, the next start would send: then nothing may be sent in its place now.
    const honest = settled ? reason : "ambiguous";
    return gaveUp(this.#settings.name, honest, this.#attempts, error, this.#intent.clientOrderId);
  }

  async #unknown(error: unknown): Promise<ResilienceError> {
    const { machine } = this.#ports;
    await this.#settle(outcomeWithout("unknown", this.#attempts, excerptOf(error), machine.wallNow()));
    sayUnknown(this.#ports, this.#intent);
    return gaveUp(this.#settings.name, "ambiguous", this.#attempts, error, this.#intent.clientOrderId);
  }

  /** What was done is done: a log that fails leaves the intent unfinished, and the next start asks the venue. */
  async #settle(outcome: IntentOutcome): Promise<boolean> {
    try {
      await this.#ports.intents.settle(this.#intent.clientOrderId, outcome);
      return true;
    } catch (error) {
      const id = this.#intent.clientOrderId;
      this.#ports.record("order.unsettled", { id, status: outcome.status, error: excerptOf(error) }, "error");
      return false;
    }
  }
}

const NOTHING_WRONG: CallVerdict = { retry: false, breaker: "ignore", executed: "maybe" };

function isDuplicate(error: unknown): boolean {
  return error instanceof Error && error.name === "DuplicateOrderId";
}

/**
 * Reads the venue until it is certain. "No such order" counts only from a reading that began when nothing that left by
 * `leftMs` can be executed any more; `undefined`: it may still leave, and only finding it is certain.
 */
async function fateOf(
  ports: OrderPorts,
  settings: CallSettings,
  intent: OrderIntent,
  leftMs: number | undefined,
): Promise<Fate> {
  const { machine, reader, record, lateMs } = ports;
  const id = intent.clientOrderId;
  const certainMs = leftMs === undefined ? Number.POSITIVE_INFINITY : leftMs + lateMs;
  const giveUpMs = machine.now() + lateMs;
  let failed = 0;
  for (let waitMs = READ_WAIT_MS; ; waitMs = Math.min(waitMs * 2, MAX_READ_WAIT_MS)) {
    const beganMs = machine.now();
    let pauseMs = waitMs;
    let failure: unknown = new Error("the attempt is not over, and the venue does not show the order");
    try {
      const order = await callBounded(machine, (signal) => reader.find(intent, signal), settings.timeoutMs).result;
      record("order.read", { id, found: order !== undefined });
      if (order !== undefined) return { kind: "found", order };
      if (beganMs >= certainMs) return { kind: "absent" };
      pauseMs = Math.min(waitMs, Math.max(0, certainMs - machine.now()));
    } catch (error) {
      failed += 1;
      failure = error;
      record("order.read", { id, error: excerptOf(error) }, "warn");
      if (failed >= MAX_FAILED_READS) return { kind: "unknown", error };
      pauseMs = Math.max(waitMs, Math.min(MAX_THROTTLE_WAIT_MS, retryAfterMsOf(error, machine.wallNow()) ?? 0));
    }
    if (leftMs === undefined && machine.now() >= giveUpMs) return { kind: "unknown", error: failure };
    await sleep(machine, pauseMs);
  }
}

function sayUnknown(ports: OrderPorts, intent: OrderIntent): void {
  const { clientOrderId: id, name, symbol } = intent;
  ports.record("order.unknown", { id, name, symbol }, "error");
  const reason = `nobody knows what became of order ${id} (${symbol})`;
  ports.propose({ source: `order:${id}`, level: "minimal", reason, ttlMs: UNKNOWN_TTL_MS });
}

export interface SettledIntent {
  readonly intent: OrderIntent;
  readonly outcome: IntentOutcome;
}

/** Asks the venue about every intent that an earlier life left, one after the other; what stays unknown stays unfinished. */
export async function settleUnfinished(ports: OrderPorts, settings: CallSettings): Promise<readonly SettledIntent[]> {
  const settled: SettledIntent[] = [];
  for (const intent of await ports.intents.unfinished()) {
    const id = intent.clientOrderId;
    if (ports.underWay.has(id)) continue;
    // The earlier life is over, but nobody knows when its last request left: it may have been just now.
    const fate = await fateOf(ports, settings, intent, ports.machine.now());
    const at = ports.machine.wallNow();
    const outcome =
      fate.kind === "found"
        ? outcomeOf(fate.order, 0, at)
        : outcomeWithout(fate.kind, 0, fate.kind === "unknown" ? excerptOf(fate.error) : null, at);
    await ports.intents.settle(id, outcome);
    if (fate.kind === "unknown") sayUnknown(ports, intent);
    else ports.propose({ source: `order:${id}`, level: "normal", reason: "the order is settled", ttlMs: 0 });
    settled.push({ intent, outcome });
  }
  return settled;
}
