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
import { attempt, gaveUp, passGate, Retries, type CallSettings } from "./call.ts";
import { excerptOf, judgeError, ResilienceError, type GiveUpReason } from "./errors.ts";
import { sleep } from "./machine.ts";
import { fateOf, sayUnknown, settleIntent, type Fate, type OrderPorts } from "./order-fate.ts";

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
  /** Client order id of the fallback that an earlier call has sent in its place, and whose order this is. */
  readonly standIn?: string;
}

/** An attempt that ignores its deadline for so long beyond it will not be waited for, ms; then nothing is sent after it. */
const MAX_OVERRUN_MS = 60_000;
/** An order as it is wanted: its intent, and what of it a level allows that leaves this share of its size. */
export interface WantedOrder {
  readonly intent: OrderIntent;
  readonly quantityAt: (sizeFactor: number) => string;
  /** Client order id of what any call of this order may send in its place; `undefined` for what stands in itself. */
  readonly standInId?: string;
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
  readonly #standInId: string | undefined;
  #intent: OrderIntent;
  #attempts = 0;
  /** The last attempt's real end, maybe after its deadline, and what it gave. */
  #over: Promise<VenueOrder | undefined> = Promise.resolve(undefined);
  /** When that was; `undefined` while it is not over. */
  #overAtMs: number | undefined = 0;

  constructor(ports: OrderPorts, settings: CallSettings, wanted: WantedOrder, op: OrderOp) {
    this.#ports = ports;
    this.#settings = settings;
    this.#intent = wanted.intent;
    this.#quantityAt = wanted.quantityAt;
    this.#standInId = wanted.standInId;
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
    const { known, standIn } = await this.#begin();
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
    const stood = standIn === undefined ? undefined : await this.#stood(standIn, again);
    if (stood !== undefined) return stood;
    // It is on the disk again that it may be on its way, before it is.
    if (known?.outcome && isUndone(known.outcome)) await this.#noteSent();
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

  /** The intent on the disk, before anything leaves; and what the log knows of it and of what may stand in its place. */
  async #begin(): Promise<{ readonly known: KnownIntent | undefined; readonly standIn: KnownIntent | undefined }> {
    const { intents } = this.#ports;
    const standInId = this.#standInId;
    const looking = standInId === undefined ? Promise.resolve(undefined) : intents.find(standInId);
    const [known, standIn] = await this.#written(Promise.all([intents.begin(this.#intent), looking]));
    const { name } = this.#settings;
    this.#ports.record("order.intent", { id: this.#intent.clientOrderId, name, known: known !== undefined });
    return { known, standIn };
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
      return isUndone(outcome) ? undefined : { order: orderOf(id, outcome), attempts: 0, repeated: true };
    }
    const fate = await fateOf(this.#ports, this.#settings, intent, this.#ports.machine.now());
    if (fate.kind === "unknown") throw await this.#unknown(fate.error);
    return fate.kind === "found" ? this.#done(fate.order, true) : undefined;
  }

  /**
   * A fallback that an earlier call has sent answers for the order, also in a call that has none: sending both would fill
   * twice. `undefined` where it is certain that nothing of it was executed and nothing will be.
   */
  async #stood({ intent, outcome }: KnownIntent, again: boolean): Promise<SentOrder | undefined> {
    const { machine, underWay } = this.#ports;
    const id = intent.clientOrderId;
    if (underWay.has(id)) throw await this.#undone("ambiguous", new Error(`its fallback ${id} is under way`));
    const settled =
      outcome !== null && !isUnfinished(outcome) ? outcome : await settleIntent(this.#ports, this.#settings, intent);
    if (settled.status === "unknown")
      throw await this.#undone("ambiguous", new Error(`nobody knows what became of its fallback ${id}`));
    if (isUndone(settled) && again) return undefined;
    const why = `its fallback ${id} was sent in its place`;
    await this.#settle(outcomeWithout("absent", 0, why, machine.wallNow()));
    if (again) return { order: orderOf(id, settled), attempts: 0, repeated: true, standIn: id };
    throw gaveUp(this.#settings.name, "fatal", 0, new Error(why), this.#intent.clientOrderId);
  }

  async #noteSent(): Promise<void> {
    const outcome = outcomeWithout("sent", 0, null, this.#ports.machine.wallNow());
    await this.#written(this.#ports.intents.settle(this.#intent.clientOrderId, outcome));
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
      const verdict = judgeError(error);
      // What was never called, for its breaker or an abort in the last moment, was never sent.
      return { error, verdict: sent.op ? verdict : { ...verdict, executed: "no" } };
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
