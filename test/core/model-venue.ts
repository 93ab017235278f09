/** A pure venue for the properties of the close: executes orders now, late, twice or never, lets them rest, and notes every breach. */
import { positionKey } from "../../src/core/close-orders.ts";
import type { CloseOrder, HeldPosition, OpenOrder, SendResult } from "../../src/core/close-orders.ts";
import type { EndedOrder } from "../../src/core/close-rests.ts";
import type { Reading } from "../../src/core/close-plan-types.ts";
import { held, MARK } from "./held.ts";
import type { Leg, OrderFault, ReadFault, RestFate } from "./venue-faults.ts";

/** Fates of the orders at the touch, one after the other, and whether the venue says what became of one. */
interface TouchScript {
  readonly restFates: readonly RestFate[];
  readonly tellsEnds: readonly boolean[];
}

/** An order at the touch, in the book or on its way there. */
interface Waiting {
  readonly order: CloseOrder;
  readonly fate: RestFate;
  readonly sentAtMs: number;
  /** It may come to rest after its deadline, which no wait can help. */
  readonly pastDeadline: boolean;
  filled: number;
  state: "underWay" | "open" | "over";
}

/** Time after which an order that cannot be seen or cancelled is no reason to wait any more, ms. */
const HOPELESS_MS = 3_000 + 2 * 7_000;
/** Of an order id: `sv`, the incident and the run. */
const RUN_CHARS = 14;

export class ModelVenue {
  readonly breaches: string[] = [];
  sent = 0;
  readonly #hedge: boolean;
  readonly #acknowledgesOnly: boolean;
  readonly #spot: boolean;
  readonly #legs = new Map<string, Leg>();
  readonly #late: { atMs: number; order: CloseOrder }[] = [];
  readonly #ids = new Set<string>();
  readonly #filled = new Set<string>();
  readonly #rested = new Map<string, CloseOrder>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #due: { atMs: number; deed: () => void }[] = [];
  readonly #fates: Iterator<RestFate>;
  readonly #tells: Iterator<boolean>;
  /** Orders at the touch that were sent. */
  touches = 0;
  #orders: OpenOrder[];
  #triggers: OpenOrder[];
  #previous: Reading | undefined;

  /** `acknowledgesOnly`: an accepted order's fill is not told. `spot`: legs are balances, and nothing holds an order to what is there. */
  constructor(
    hedge: boolean,
    legs: readonly Leg[],
    acknowledgesOnly = false,
    spot = false,
    { restFates, tellsEnds }: TouchScript = { restFates: [], tellsEnds: [] },
  ) {
    this.#fates = restFates.values();
    this.#tells = tellsEnds.values();
    this.#hedge = hedge;
    this.#spot = spot;
    this.#acknowledgesOnly = acknowledgesOnly;
    for (const leg of legs) this.#legs.set(this.#key(leg.symbol, leg.amount > 0), leg);
    const rest = (kind: string): OpenOrder[] =>
      legs.map(({ symbol }, n) => ({ id: `${kind}${n}`, clientId: undefined, symbol, reduceOnly: n % 2 === 0 }));
    this.#orders = rest("limit");
    this.#triggers = rest("stop");
  }

  /** Orders that were executed, partly or in full. */
  get fills(): number {
    return this.#filled.size;
  }

  /** Sum of all notionals. */
  get exposure(): number {
    return this.#open().reduce((sum, { amount }) => sum + amount * MARK, 0);
  }

  /** Open orders that are no stops. */
  get resting(): number {
    return this.#orders.length;
  }

  get flat(): boolean {
    return this.#open().length + this.#orders.length + this.#triggers.length === 0;
  }

  /** Executes what was late and is due. */
  advance(toMs: number): void {
    for (const entry of this.#due.filter(({ atMs }) => atMs <= toMs).sort((a, b) => a.atMs - b.atMs)) {
      this.#due.splice(this.#due.indexOf(entry), 1);
      entry.deed();
    }
    const due = this.#late.filter(({ atMs }) => atMs <= toMs).sort((a, b) => a.atMs - b.atMs);
    for (const { order } of due) {
      this.#late.splice(
        this.#late.findIndex((entry) => entry.order === order),
        1,
      );
      if (this.#isResting(order)) this.#orders = this.#orders.filter(({ id }) => id !== order.id);
      else if (this.#rested.has(order.id)) continue;
      this.#execute(order, 1);
    }
  }

  /** What became of the orders of `asked` is told with it. */
  read(fault: ReadFault, asked: readonly { readonly id: string }[] = []): Reading {
    const ended = this.#endsOf(asked);
    return { ...this.#look(fault), ended };
  }

  #look(fault: ReadFault): Reading {
    const now: Reading = { positions: this.#open(), orders: this.#orders, triggers: this.#triggers, failures: [] };
    const previous = this.#previous ?? now;
    this.#previous = now;
    // A stale answer after the account is flat is indistinguishable from foreign activity, so it is not played.
    if (fault === "stale") return this.flat ? now : previous;
    if (fault === "none") return now;
    const hide = (part: ReadFault): boolean => fault === "all" || fault === part;
    return {
      positions: hide("positions") ? undefined : now.positions,
      orders: hide("orders") ? undefined : now.orders,
      triggers: hide("triggers") ? undefined : now.triggers,
      failures: [{ kind: "unknown" }],
    };
  }

  cancel(symbol: string, trigger: boolean, works: boolean): void {
    if (!works) return;
    for (const each of trigger ? [] : this.#waiting.values()) {
      if (each.state !== "open" || each.order.symbol !== symbol) continue;
      this.#fillWaiting(each, each.fate.crossed);
      this.#end(each);
    }
    if (trigger) this.#triggers = this.#triggers.filter((order) => order.symbol !== symbol);
    else this.#orders = this.#orders.filter((order) => order.symbol !== symbol);
  }

  send(order: CloseOrder, fault: OrderFault, atMs: number): SendResult {
    this.sent += 1;
    if (this.#ids.has(order.id)) this.breaches.push(`${order.id} was sent twice`);
    this.#ids.add(order.id);
    this.#checkAlone(order, atMs);
    if (order.rests !== undefined) {
      this.touches += 1;
      return this.#wait(order, fault, atMs, this.#fates.next().value ?? { afterMs: 0, ratio: 0, crossed: 0 });
    }
    const result = this.#judge(order, fault, atMs);
    return this.#acknowledgesOnly && result.kind === "accepted" ? { kind: "accepted", filled: undefined } : result;
  }

  /** What the venue says of orders at the touch: how much was filled of those that are over, unless it does not answer. */
  #endsOf(rests: readonly { readonly id: string }[]): EndedOrder[] {
    return rests.flatMap(({ id }) => {
      const found = this.#waiting.get(id);
      const answers = this.#tells.next().value ?? true;
      return answers && found?.state === "over" ? [{ id, filled: found.filled }] : [];
    });
  }

  /** No order leaves beside one of the same position and run that may still be executed. */
  #checkAlone(order: CloseOrder, atMs: number): void {
    for (const each of this.#waiting.values()) {
      const same = each.order.symbol === order.symbol && each.order.positionSide === order.positionSide;
      const sameRun = each.order.id.slice(0, RUN_CHARS) === order.id.slice(0, RUN_CHARS);
      if (!same || !sameRun || each.pastDeadline || each.state === "over" || atMs - each.sentAtMs >= HOPELESS_MS)
        continue;
      this.breaches.push(`${order.id} left beside ${each.order.id}`);
    }
  }

  #wait(order: CloseOrder, fault: OrderFault, atMs: number, fate: RestFate): SendResult {
    const pastDeadline = fault.kind === "afterDeadline";
    const waiting: Waiting = { order, fate, sentAtMs: atMs, pastDeadline, filled: 0, state: "underWay" };
    const enter = (): void => this.#enter(waiting, Math.max(atMs, "ms" in fault ? atMs + fault.ms : atMs));
    const accepted: SendResult = { kind: "accepted", filled: this.#acknowledgesOnly ? undefined : 0, id: order.id };
    if (fault.kind === "rejected") return fault;
    if (fault.kind === "throttled" || fault.kind === "clock") return { kind: fault.kind };
    if (fault.kind === "lostBefore") return { kind: "unknown" };
    this.#waiting.set(order.id, waiting);
    switch (fault.kind) {
      case "lostAfter":
        enter();
        return { kind: "unknown" };
      case "late":
      case "afterDeadline":
        this.#due.push({ atMs: atMs + fault.ms, deed: enter });
        return { kind: "unknown" };
      case "ackLate":
        this.#due.push({ atMs: atMs + fault.ms, deed: enter });
        return accepted;
      case "ackDropped":
        waiting.state = "over";
        return accepted;
      case "shrinks":
        this.#move(order, (size) => size - Math.floor(size * fault.ratio));
        break;
      case "grows":
        this.#move(order, (size) => size + fault.by);
        break;
      case "none":
      case "partial":
      case "twice":
      case "rests":
        break;
    }
    enter();
    if (fault.kind === "partial") this.#fillWaiting(waiting, fault.ratio);
    if (waiting.state === "over" && waiting.filled === 0) return { kind: "rejected", why: "reduceOnly" };
    return this.#acknowledgesOnly ? accepted : { kind: "accepted", filled: waiting.filled, id: order.id };
  }

  /** Into the book, where it waits for its fate; without a position to reduce the venue takes none. */
  #enter(waiting: Waiting, atMs: number): void {
    const { order, fate } = waiting;
    const leg = this.#legs.get(this.#key(order.symbol, order.positionSide === "long"));
    const reduces = (leg?.amount ?? 0) !== 0 && leg !== undefined && leg.amount > 0 === (order.side === "sell");
    if (!reduces || order.hedged !== this.#hedge) return this.#end(waiting);
    waiting.state = "open";
    this.#orders = [...this.#orders, { id: order.id, clientId: order.id, symbol: order.symbol, reduceOnly: true }];
    if (fate.ratio > 0)
      this.#due.push({ atMs: atMs + fate.afterMs, deed: () => this.#fillWaiting(waiting, fate.ratio) });
  }

  #fillWaiting(waiting: Waiting, ratio: number): void {
    const { order } = waiting;
    if (waiting.state !== "open" || ratio === 0) return;
    const left = order.amount - waiting.filled;
    const result = this.#execute({ ...order, amount: Math.min(left, Math.max(1, Math.floor(left * ratio))) }, 1, true);
    waiting.filled += result.kind === "accepted" ? (result.filled ?? 0) : 0;
    if (result.kind !== "accepted" || waiting.filled >= order.amount) this.#end(waiting);
  }

  #end(waiting: Waiting): void {
    waiting.state = "over";
    this.#orders = this.#orders.filter(({ id }) => id !== waiting.order.id);
  }

  #judge(order: CloseOrder, fault: OrderFault, atMs: number): SendResult {
    switch (fault.kind) {
      case "none":
        return this.#execute(order, 1);
      case "partial":
        return this.#execute(order, fault.ratio);
      case "lostBefore":
        return { kind: "unknown" };
      case "lostAfter":
        this.#execute(order, 1);
        return { kind: "unknown" };
      case "late":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return { kind: "unknown" };
      case "twice":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return this.#execute(order, 1);
      case "ackDropped":
        return { kind: "accepted", filled: undefined };
      case "ackLate":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return { kind: "accepted", filled: undefined };
      case "afterDeadline":
        this.#late.push({ atMs: atMs + fault.ms, order });
        return { kind: "unknown" };
      case "rests":
        return this.#rest(order, atMs + fault.ms);
      case "shrinks":
        this.#move(order, (size) => size - Math.floor(size * fault.ratio));
        return this.#execute(order, 1);
      case "grows":
        this.#move(order, (size) => size + fault.by);
        return this.#execute(order, 1);
      case "throttled":
      case "clock":
        return { kind: fault.kind };
      case "rejected":
        return fault;
    }
  }

  #rest(order: CloseOrder, atMs: number): SendResult {
    this.#late.push({ atMs, order });
    this.#rested.set(order.id, order);
    this.#orders = [...this.#orders, { id: order.id, clientId: order.id, symbol: order.symbol, reduceOnly: true }];
    return { kind: "accepted", filled: 0 };
  }

  #isResting(order: CloseOrder): boolean {
    return this.#rested.has(order.id) && this.#orders.some(({ id }) => id === order.id);
  }

  /** What resting reduce-only orders of ours hold of the position. */
  #reserved(order: CloseOrder): number {
    const key = positionKey(order.symbol, order.positionSide);
    return [...this.#rested.values()]
      .filter((other) => positionKey(other.symbol, other.positionSide) === key && this.#isResting(other))
      .reduce((sum, { amount }) => sum + amount, 0);
  }

  /** Changes the size of a position that is open. */
  #move(order: CloseOrder, change: (size: number) => number): void {
    const key = this.#key(order.symbol, order.positionSide === "long");
    const leg = this.#legs.get(key);
    if (leg === undefined || leg.amount === 0) return;
    this.#legs.set(key, { ...leg, amount: Math.sign(leg.amount) * change(Math.abs(leg.amount)) });
  }

  /** The venue closes what there is, whatever was asked and whatever rests; at any time, and never more. */
  #closeWhole(order: CloseOrder): SendResult {
    const key = this.#key(order.symbol, order.positionSide === "long");
    const leg = this.#legs.get(key);
    if (this.#spot) this.breaches.push(`${order.id} closed a balance`);
    if (leg === undefined || leg.amount === 0) return { kind: "rejected", why: "reduceOnly" };
    this.#filled.add(order.id);
    this.#legs.set(key, { ...leg, amount: 0 });
    return { kind: "accepted", filled: undefined };
  }

  /** `waited`: it is in the book already, where neither the market's maximum nor its band counts. */
  #execute(order: CloseOrder, ratio: number, waited = false): SendResult {
    if (order.by === "venue") return this.#closeWhole(order);
    if (order.hedged !== this.#hedge) return { kind: "rejected", why: "positionSide" };
    const key = this.#key(order.symbol, order.positionSide === "long");
    const leg = this.#legs.get(key);
    const signed = order.side === "buy" ? order.amount : -order.amount;
    const before = leg?.amount ?? 0;
    const reduces = before !== 0 && Math.sign(signed) !== Math.sign(before);
    // Taken at its word: an order that forgot reduceOnly opens or turns a position here as it would at a venue.
    if (order.reduceOnly && !reduces) return { kind: "rejected", why: "reduceOnly" };
    const reserved = this.#reserved(order);
    if (this.#spot && order.amount > Math.abs(before)) {
      this.breaches.push(`${order.id} sold ${order.amount} of ${before}`);
      return { kind: "rejected", why: "other" };
    }
    if (reserved > 0 && reserved + order.amount > Math.abs(before)) return { kind: "rejected", why: "reduceOnly" };
    if (!waited && leg !== undefined && leg.hiddenMax > 0 && order.amount > leg.hiddenMax)
      return { kind: "rejected", why: "size" };
    if (!waited && leg !== undefined && leg.band > 0 && !reaches(order, leg.band)) {
      return order.limitPrice === undefined ? { kind: "rejected", why: "band" } : { kind: "accepted", filled: 0 };
    }
    const wanted = Math.max(1, Math.floor(order.amount * ratio));
    const filled = order.reduceOnly ? Math.min(wanted, Math.abs(before)) : wanted;
    const left = before + Math.sign(signed) * filled;
    if (left !== 0 && Math.sign(left) !== Math.sign(before))
      this.breaches.push(`${order.id} turned ${before} to ${left}`);
    if (Math.abs(left) > Math.abs(before)) this.breaches.push(`${order.id} grew ${before} to ${left}`);
    this.#filled.add(order.id);
    this.#legs.set(key, { symbol: order.symbol, hiddenMax: 0, band: 0, ...leg, amount: left });
    return { kind: "accepted", filled };
  }

  #open(): HeldPosition[] {
    return [...this.#legs.values()].flatMap(({ symbol, amount }) =>
      amount === 0
        ? []
        : [{ ...held(symbol, amount, this.#hedge), ...(this.#spot ? { free: this.#freeOf(symbol, amount) } : {}) }],
    );
  }

  #freeOf(symbol: string, amount: number): number {
    const resting = [...this.#rested.values()].filter((order) => order.symbol === symbol && this.#isResting(order));
    return Math.max(0, amount - resting.reduce((sum, order) => sum + order.amount, 0));
  }

  #key(symbol: string, long: boolean): string {
    return this.#hedge ? `${symbol} ${long ? "long" : "short"}` : symbol;
  }
}

function reaches(order: CloseOrder, band: number): boolean {
  if (order.limitPrice === undefined) return false;
  return order.side === "sell" ? order.limitPrice <= MARK * (1 - band) : order.limitPrice >= MARK * (1 + band);
}
