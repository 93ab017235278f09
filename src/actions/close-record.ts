/** What a run of the close has seen and done so far; becomes its report. Carries no secret. */
import type { CloseJob, CloseOutcome, CloseReport, Position, SentOrder } from "../core/close-job.ts";
import type { CloseStyle } from "../core/close-style.ts";
import { dueLoans } from "../core/close-loans.ts";
import { nextStep } from "../core/close-next.ts";
import { isDust, positionKey } from "../core/close-orders.ts";
import type { HeldPosition } from "../core/close-orders.ts";
import type { Reading } from "../core/close-plan-types.ts";
import { counted } from "../core/counted.ts";
import { FLAT } from "../core/close-goal.ts";
import { FURTHER_RUN, MAX_KEPT_ORDERS, appendGoal, inTime } from "../core/incident.ts";
import type { IncidentHistory } from "../core/incident.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import type { Clock } from "../platform/clock.ts";

export interface Verdict {
  readonly outcome: CloseOutcome;
  /** One sentence for people. */
  readonly reason: string;
  readonly foreign?: readonly string[];
  /** What the config says of the account is wrong: nobody else may go on with it. */
  readonly misconfigured?: true;
}

/** Lines of one run that the timeline keeps; the first tell most, and the last is the verdict. */
const MAX_TIMELINE = 200;

/** What a price of a position means in quote currency. */
interface Mark {
  readonly price: number;
  /** Quote currency per unit of amount and unit of price; 1 unless amounts are contracts. */
  readonly unit: number;
}

type Holdings = NonNullable<CloseReport["before"]>;

export class CloseRecord {
  rounds = 0;
  quietMs = 0;
  calls = 0;
  /** Of a driver that this run has given up. */
  earlierCalls = 0;
  /** How the run began. */
  style: CloseStyle = "market";
  journalFailures = 0;
  fence: CloseReport["fence"] = { proven: false, pids: [], ms: 0 };
  readonly #job: CloseJob;
  readonly #clock: Clock;
  readonly #startMs: number;
  #startedAt: string;
  #before: Holdings | null = null;
  #after: Holdings | null = null;
  #dust: Position[] = [];
  #planned: CloseReport["planned"];
  readonly #orders = new Map<string, SentOrder>();
  /** Orders of earlier runs. */
  readonly #earlier = new Set<string>();
  readonly #errors = new Map<string, number>();
  readonly #marks = new Map<string, Mark>();
  readonly #timeline: { at: string; text: string }[] = [];
  /** Of the runs before this one. */
  #earlierSteps: IncidentHistory["steps"] = [];
  #earlierGoals: IncidentHistory["goals"] = [];
  #earlierErrors: IncidentHistory["errors"] = {};

  constructor(job: CloseJob, clock: Clock) {
    this.#job = job;
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
    this.#startedAt = clock.wallTime().toISOString();
  }

  /** Goes on from what earlier runs of the incident reported. */
  resume(history: IncidentHistory): void {
    this.#startedAt = history.startedAt ?? this.#startedAt;
    this.#before = history.before ?? null;
    this.rounds = history.lastRound;
    this.#earlierSteps = history.steps;
    this.#earlierGoals = history.goals;
    if (history.startedAt !== undefined) this.#timeline.unshift({ at: this.#now(), text: FURTHER_RUN });
    this.#earlierErrors = history.errors;
    for (const order of history.orders) {
      this.#orders.set(order.id, order);
      this.#earlier.add(order.id);
    }
  }

  countError(kind: string): void {
    this.#errors.set(kind, (this.#errors.get(kind) ?? 0) + 1);
  }

  countFailure(failure: VenueFailure): void {
    this.countError(failure.kind === "rejected" ? `rejected:${failure.why}` : failure.kind);
  }

  /** Takes an order in, and returns it with what it cost. */
  noteOrder(order: SentOrder): SentOrder {
    const mark = order.repay === undefined ? this.#marks.get(positionKey(order.symbol, order.positionSide)) : undefined;
    const noted = mark === undefined ? order : { ...order, ...costOf(order, mark) };
    this.#orders.set(order.id, noted);
    return noted;
  }

  /** What became of an order that waited; `undefined`: no such order is known. */
  settleOrder(id: string, filled: number, average: number | undefined): SentOrder | undefined {
    const order = this.#orders.get(id);
    if (order === undefined) return undefined;
    const ended: SentOrder = { ...order, outcome: "accepted", filled, ...(average === undefined ? {} : { average }) };
    const unit = this.#marks.get(positionKey(order.symbol, order.positionSide))?.unit ?? 1;
    // Against the price when it was sent: what it waited for is part of what it cost.
    const { reference: price } = order;
    const settled = price === undefined ? ended : { ...ended, ...costOf(ended, { price, unit }) };
    this.#orders.set(id, settled);
    return settled;
  }

  /** Adds a line to the timeline, and returns it unless there are too many. */
  noteStep(text: string): { readonly at: string; readonly text: string } | undefined {
    if (this.#timeline.length >= MAX_TIMELINE) return undefined;
    const step = { at: this.#now(), text };
    this.#timeline.push(step);
    return step;
  }

  #now(): string {
    return this.#clock.wallTime().toISOString();
  }

  /** Ids of the orders of this run, in the sequence of their intents. */
  get ownOrders(): string[] {
    return [...this.#orders.keys()].filter((id) => !this.#earlier.has(id));
  }

  /** Remembers the newest look at the account, and the first one as `before`. */
  noteReading(reading: Reading): Holdings | undefined {
    if (reading.positions === undefined) return undefined;
    const orders = (reading.orders ?? []).length + (reading.triggers ?? []).length;
    for (const position of reading.positions) this.#noteMark(position);
    this.#dust = reading.positions.filter(isDust).map(plainPosition);
    const loans = dueLoans(reading.loans ?? []).map(({ symbol, amount, covered }) => ({ symbol, amount, covered }));
    this.#after = {
      positions: reading.positions.filter((held) => !isDust(held)).map(plainPosition),
      orders,
      ...(loans.length === 0 ? {} : { loans }),
    };
    this.#before ??= this.#after;
    return this.#after;
  }

  /** Mode `plan`: what a close with another goal than a flat account would do to the positions. */
  notePlanned(parts: readonly HeldPosition[], orders: number): void {
    this.#planned = { positions: parts.map(plainPosition), orders };
  }

  #noteMark({ symbol, side, amount, notional, markPrice: price }: HeldPosition): void {
    if (price === undefined || price <= 0) return;
    const unit = notional === undefined || amount <= 0 ? 1 : notional / (amount * price);
    this.#marks.set(positionKey(symbol, side), { price, unit });
  }

  report({ outcome, reason, foreign = [] }: Verdict): CloseReport {
    const orders = [...this.#orders.values()];
    const slippages = orders.flatMap(({ slippage }) => slippage ?? []);
    const endedAt = this.#clock.wallTime().toISOString();
    const { symbols } = this.#job.venue;
    const goals = appendGoal(this.#earlierGoals, this.#job.goal ?? FLAT);
    return {
      version: 1,
      incident: this.#job.incident,
      bot: this.#job.bot,
      account: this.#job.account,
      trigger: this.#job.trigger,
      ...(this.#job.cause === undefined ? {} : { cause: this.#job.cause }),
      ...(this.#job.later === undefined ? {} : { later: this.#job.later }),
      mode: this.#job.mode,
      ...(this.#job.goal === undefined || this.#job.goal.kind === "flat" ? {} : { goal: this.#job.goal }),
      ...(goals.length === 1 ? {} : { goals: [...goals] }),
      ...(this.#planned === undefined ? {} : { planned: this.#planned }),
      ...(this.style === "market" ? {} : { style: this.style }),
      exchange: this.#job.venue.exchange,
      ...(symbols.length === 0 ? {} : { scope: [...symbols] }),
      outcome,
      reason: `${reason}${dustRemark(this.#dust.length)}`,
      startedAt: this.#startedAt,
      durationMs: Math.round(this.#clock.monotonicMs() - this.#startMs),
      rounds: this.rounds,
      calls: this.earlierCalls + this.calls,
      verified: outcome === "flat" || outcome === "cancelled" || outcome === "reduced",
      quietMs: Math.round(this.quietMs),
      before: valued(this.#before),
      after: valued(this.#after),
      orders: orders.slice(-MAX_KEPT_ORDERS),
      dust: this.#dust,
      foreign: [...foreign],
      unknown: orders.flatMap((order) => (order.outcome === "unknown" ? [order.id] : [])).slice(-MAX_KEPT_ORDERS),
      ...(slippages.length === 0 ? {} : { slippage: roundQuote(slippages.reduce((sum, cost) => sum + cost, 0)) }),
      timeline: inTime([...this.#earlierSteps, ...this.#timeline, { at: endedAt, text: `${outcome}: ${reason}` }]),
      endedAt,
      next: nextStep({ ...this.#job, outcome }),
      errors: this.#allErrors(),
      fence: this.fence,
    };
  }

  /** With those of earlier runs of the incident. */
  #allErrors(): Record<string, number> {
    const all = new Map(Object.entries(this.#earlierErrors));
    const add = (kind: string, count: number): void => void all.set(kind, (all.get(kind) ?? 0) + count);
    for (const [kind, count] of this.#errors) add(kind, count);
    if (this.journalFailures > 0) add("journal", this.journalFailures);
    return Object.fromEntries(all);
  }
}

/** With what all of it is worth, where that is known of each. */
function valued(held: Holdings | null): Holdings | null {
  const notionals = (held?.positions ?? []).flatMap(({ notional }) => notional ?? []);
  if (held === null || notionals.length < held.positions.length) return held;
  return { ...held, notional: roundQuote(notionals.reduce((sum, notional) => sum + notional, 0)) };
}

function costOf(order: SentOrder, { price, unit }: Mark): Pick<SentOrder, "reference" | "slippage"> {
  const { side, filled, average } = order;
  if (filled === undefined || average === undefined || filled <= 0) return { reference: price };
  const worse = side === "buy" ? average - price : price - average;
  return { reference: price, slippage: roundQuote(worse * filled * unit) };
}

/** Binary noise would fill the report with digits. */
function roundQuote(cost: number): number {
  return Number(cost.toFixed(6));
}

function dustRemark(count: number): string {
  if (count === 0) return "";
  return `; ${counted(count, "position")} below the smallest order ${count === 1 ? "stays" : "stay"}`;
}

/** The part of a position that the report and the journal show. */
function plainPosition({ symbol, side, amount, notional, hedged, owed }: HeldPosition): Position {
  const more = { ...(notional === undefined ? {} : { notional }), ...(owed === undefined ? {} : { owed }) };
  return { symbol, side, amount, ...more, hedged };
}
