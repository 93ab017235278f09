/** What a run of the close has seen and done so far; becomes its report. Carries no secret. */
import type { CloseJob, CloseOutcome, CloseReport, Position, SentOrder } from "../core/close-job.ts";
import { isDust } from "../core/close-orders.ts";
import type { HeldPosition } from "../core/close-orders.ts";
import type { Reading } from "../core/close-plan.ts";
import { counted } from "../core/counted.ts";
import { MAX_KEPT_ORDERS } from "../core/incident.ts";
import type { IncidentHistory } from "../core/incident.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import type { Clock } from "../platform/clock.ts";

export interface Verdict {
  readonly outcome: CloseOutcome;
  /** One sentence for people. */
  readonly reason: string;
  readonly foreign?: readonly string[];
}

type Holdings = NonNullable<CloseReport["before"]>;

export class CloseRecord {
  rounds = 0;
  quietMs = 0;
  calls = 0;
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

  noteOrder(order: SentOrder): void {
    this.#orders.set(order.id, order);
  }

  /** Ids of the orders of this run, in the sequence of their intents. */
  get ownOrders(): string[] {
    return [...this.#orders.keys()].filter((id) => !this.#earlier.has(id));
  }

  /** Remembers the newest look at the account, and the first one as `before`. */
  noteReading(reading: Reading): Holdings | undefined {
    if (reading.positions === undefined) return undefined;
    const orders = (reading.orders ?? []).length + (reading.triggers ?? []).length;
    this.#dust = reading.positions.filter(isDust).map(plainPosition);
    this.#after = { positions: reading.positions.filter((held) => !isDust(held)).map(plainPosition), orders };
    this.#before ??= this.#after;
    return this.#after;
  }

  /** Mode `plan`: what a close with another goal than a flat account would do to the positions. */
  notePlanned(parts: readonly HeldPosition[], orders: number): void {
    this.#planned = { positions: parts.map(plainPosition), orders };
  }

  report({ outcome, reason, foreign = [] }: Verdict): CloseReport {
    const errors = Object.fromEntries(this.#errors);
    const { symbols } = this.#job.venue;
    if (this.journalFailures > 0) errors["journal"] = this.journalFailures;
    return {
      version: 1,
      incident: this.#job.incident,
      bot: this.#job.bot,
      account: this.#job.account,
      trigger: this.#job.trigger,
      mode: this.#job.mode,
      ...(this.#job.goal === undefined || this.#job.goal.kind === "flat" ? {} : { goal: this.#job.goal }),
      ...(this.#planned === undefined ? {} : { planned: this.#planned }),
      exchange: this.#job.venue.exchange,
      ...(symbols.length === 0 ? {} : { scope: [...symbols] }),
      outcome,
      reason: `${reason}${dustRemark(this.#dust.length)}`,
      startedAt: this.#startedAt,
      durationMs: Math.round(this.#clock.monotonicMs() - this.#startMs),
      rounds: this.rounds,
      calls: this.calls,
      verified: outcome === "flat" || outcome === "cancelled" || outcome === "reduced",
      quietMs: Math.round(this.quietMs),
      before: this.#before,
      after: this.#after,
      orders: [...this.#orders.values()].slice(-MAX_KEPT_ORDERS),
      dust: this.#dust,
      foreign: [...foreign],
      errors,
      fence: this.fence,
    };
  }
}

function dustRemark(count: number): string {
  if (count === 0) return "";
  return `; ${counted(count, "position")} below the smallest order ${count === 1 ? "stays" : "stay"}`;
}

/** The part of a position that the report and the journal show. */
function plainPosition({ symbol, side, amount, notional, hedged }: HeldPosition): Position {
  return { symbol, side, amount, ...(notional === undefined ? {} : { notional }), hedged };
}
