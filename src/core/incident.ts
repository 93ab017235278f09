/** The journal of one incident, `ID.ndjson`: its lines, and their fold, which tells a restarted close where to go on. */
import * as z from "zod";
import { later } from "./later.ts";
import { closeGoalSchema, goalText, type CloseGoal } from "./close-goal.ts";
import { closeReportSchema } from "./close-job.ts";
import type { CloseReport, SentOrder } from "./close-job.ts";

const positions = later(() => closeReportSchema.shape.dust);
const loans = later(() => closeReportSchema.shape.before.unwrap().shape.loans.unwrap());
const order = later(() => closeReportSchema.shape.orders.element);
const counter = later(() => z.int().min(0));
const step = later(() => z.object({ at: z.string(), text: z.string() }));
const goals = later(() => z.array(closeGoalSchema));
/** By class, of all runs so far. Absent in older journals. */
const errors = later(() => z.record(z.string(), z.number()).optional());

export const incidentLineSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("begin"),
      version: z.literal(1),
      at: z.string(),
      bot: z.string(),
      exchange: z.string(),
      /** What the run is to reach. Absent in older journals. */
      goal: closeGoalSchema.optional(),
    }),
    z.object({
      kind: z.literal("snapshot"),
      at: z.string(),
      round: z.int().min(0),
      positions,
      loans: loans.optional(),
      /** Open orders of both classes. */
      orders: z.int().min(0),
      /** The run's cap of orders. */
      maxOrders: z.int().min(0),
    }),
    /** On disk before the order leaves: an intent without outcome may have been executed. */
    z.object({ kind: z.literal("intent"), at: z.string(), round: z.int().min(0), seq: z.int().min(0), order }),
    z.object({ kind: z.literal("outcome"), at: z.string(), order }),
    /** A line of the timeline. */
    z.object({ kind: z.literal("step"), at: z.string(), text: z.string() }),
    /** How a run ended; its full report is `ID.json`. */
    z.object({
      kind: z.literal("end"),
      at: z.string(),
      outcome: closeReportSchema.shape.outcome,
      reason: z.string(),
      rounds: counter,
      calls: counter,
      durationMs: z.number(),
      /** Ids of the orders of this run. */
      orders: z.array(z.string()),
      errors,
    }),
    /** First line of a journal that was begun anew because the old one had grown too large: what that one folded to, but for its newest orders, which follow. */
    z.object({
      kind: z.literal("carried"),
      at: z.string(),
      startedAt: z.string().nullable(),
      before: closeReportSchema.shape.before,
      lastRound: counter,
      lastSeq: counter,
      endedFlat: z.boolean(),
      reopened: z.boolean(),
      steps: z.array(step).optional(),
      goals: goals.optional(),
      errors,
    }),
  ]),
);
export type IncidentLine = z.output<typeof incidentLineSchema>;

/** What earlier runs of the incident left behind. */
export interface IncidentHistory {
  /** Time of the first run; `undefined` before any. */
  readonly startedAt: string | undefined;
  readonly before: NonNullable<CloseReport["before"]> | undefined;
  readonly lastRound: number;
  readonly lastSeq: number;
  /** The newest orders, at most 1 000, in the sequence of their intents; one without outcome stays `unknown`. */
  readonly orders: readonly SentOrder[];
  /** The last run ended flat. What the account holds now only the venue knows. */
  readonly endedFlat: boolean;
  /** A run that ended flat was followed by one that found something open. */
  readonly reopened: boolean;
  /** What was done when, in all runs: the oldest 100 lines and the newest 300. */
  readonly steps: readonly Step[];
  /** What the runs were to reach, in their order, at most 16; runs that followed one another for the same count once. */
  readonly goals: readonly CloseGoal[];
  /** Errors of the runs that came to their end, by class. */
  readonly errors: Readonly<Record<string, number>>;
  /** Lines that could not be read: the torn last one, or damage. */
  readonly damaged: number;
}

export interface Step {
  readonly at: string;
  readonly text: string;
}

type Facts = Omit<IncidentHistory, "orders" | "steps">;

/** Orders kept: a report names no more, and a journal of weeks must not fill the memory. */
export const MAX_KEPT_ORDERS = 1_000;
/** Lines of the timeline: how it began and how it stands tell most. */
const OLDEST_STEPS = 100;
const NEWEST_STEPS = 300;
/** Goals kept: a person has given another one each time. */
const MAX_GOALS = 16;
const NOTHING: Facts = {
  startedAt: undefined,
  goals: [],
  before: undefined,
  lastRound: 0,
  lastSeq: 0,
  endedFlat: false,
  reopened: false,
  errors: {},
  damaged: 0,
};

/** Folds a journal line by line, in bounded memory. Never throws: an unreadable line is counted and skipped, for a close that cannot start is worse. */
export class IncidentFold {
  #facts: Facts = NOTHING;
  readonly #orders = new Map<string, SentOrder>();
  readonly #steps: Step[] = [];

  /** Takes one line without its newline; an empty one is none. */
  add(raw: string): void {
    if (raw === "") return;
    const line = parseLine(raw);
    if (line === undefined) {
      this.#facts = { ...this.#facts, damaged: this.#facts.damaged + 1 };
      return;
    }
    this.#addSteps(line);
    this.#facts = foldLine(this.#facts, line);
    if (line.kind !== "intent" && line.kind !== "outcome") return;
    this.#orders.set(line.order.id, line.order);
    const [oldest] = this.#orders.keys();
    if (this.#orders.size > MAX_KEPT_ORDERS && oldest !== undefined) this.#orders.delete(oldest);
  }

  get history(): IncidentHistory {
    return { ...this.#facts, orders: [...this.#orders.values()], steps: [...this.#steps] };
  }

  #addSteps(line: IncidentLine): void {
    for (const each of stepsOf(line, this.#facts)) {
      this.#steps.push(each);
      if (this.#steps.length > OLDEST_STEPS + NEWEST_STEPS) this.#steps.splice(OLDEST_STEPS, 1);
    }
  }
}

/** A run that waited for another one tells of that after it: steps of both, in the order in which they were. */
export function inTime(steps: readonly Step[]): Step[] {
  return steps.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

/** The lines that a journal begun anew starts with: they fold to the same history, but for damage. */
export function carryHistory(history: IncidentHistory, at: string): IncidentLine[] {
  const { startedAt = null, before = null, lastRound, lastSeq, endedFlat, reopened, steps } = history;
  const lists = { steps: [...steps], goals: [...history.goals], errors: history.errors };
  return [
    { kind: "carried", at, startedAt, before, lastRound, lastSeq, endedFlat, reopened, ...lists },
    ...history.orders.map((sent): IncidentLine => ({ kind: "outcome", at, order: sent })),
  ];
}

/** Said at the begin of every run but the first. */
export const FURTHER_RUN = "a further run begins";

/** The goals of all runs, with that of one more. */
export function appendGoal(before: readonly CloseGoal[], goal: CloseGoal): readonly CloseGoal[] {
  const last = before.at(-1);
  const same = last !== undefined && goalText(last) === goalText(goal);
  return same ? before : [...before, goal].slice(-MAX_GOALS);
}

/** What a line adds to the timeline; journals of before have none but the ends of runs. */
function stepsOf(line: IncidentLine, { startedAt }: Facts): readonly Step[] {
  switch (line.kind) {
    case "begin":
      return startedAt === undefined ? [] : [{ at: line.at, text: FURTHER_RUN }];
    case "step":
      return [{ at: line.at, text: line.text }];
    case "end":
      return [{ at: line.at, text: `${line.outcome}: ${line.reason}` }];
    case "carried":
      return line.steps ?? [];
    case "snapshot":
    case "intent":
    case "outcome":
      return [];
  }
}

function foldLine(facts: Facts, line: IncidentLine): Facts {
  switch (line.kind) {
    case "begin":
      return {
        ...facts,
        startedAt: facts.startedAt ?? line.at,
        goals: line.goal === undefined ? facts.goals : appendGoal(facts.goals, line.goal),
      };
    case "snapshot":
      return {
        ...(line.positions.length + line.orders + (line.loans ?? []).length === 0 ? facts : reopen(facts)),
        before: facts.before ?? holdingsOf(line),
        lastRound: Math.max(facts.lastRound, line.round),
      };
    case "intent":
      return {
        ...reopen(facts),
        lastRound: Math.max(facts.lastRound, line.round),
        lastSeq: Math.max(facts.lastSeq, line.seq),
      };
    case "outcome":
    case "step":
      return facts;
    case "end":
      return { ...facts, endedFlat: line.outcome === "flat", errors: line.errors ?? facts.errors };
    case "carried": {
      const { startedAt, before, lastRound, lastSeq, endedFlat, reopened, goals: aims = [], errors: known = {} } = line;
      const earlier = { startedAt: startedAt ?? undefined, before: before ?? undefined, goals: aims, errors: known };
      return { ...facts, ...earlier, lastRound, lastSeq, endedFlat, reopened };
    }
  }
}

function holdingsOf({ positions: held, orders, loans: owed }: Extract<IncidentLine, { kind: "snapshot" }>) {
  return { positions: held, orders, ...(owed === undefined ? {} : { loans: owed }) };
}

/** Something was open: a run that dies on it leaves no end line. */
function reopen(facts: Facts): Facts {
  return { ...facts, endedFlat: false, reopened: facts.reopened || facts.endedFlat };
}

function parseLine(raw: string): IncidentLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch {
    return undefined;
  }
  const parsed = incidentLineSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Every order of the tool starts so: `sv` and the incident, letters and digits only (OKX takes nothing else). */
export function orderIdPrefix(incident: string): string {
  return `sv${incident}`;
}

/** Client order id, at most 24 characters (the shortest limit among the venues is 32); unique since `seq` never repeats in a run and `run` tells the runs apart. */
export function clientOrderId(incident: string, run: string, seq: number): string {
  return `${orderIdPrefix(incident)}${run}${base36(seq, SEQ_CHARS)}`;
}

/**
 * Name of a run in its order ids, from a random number in [0, 36^6). The journal's numbers alone would repeat when it
 * cannot be read, or lost its end in a power cut.
 */
export function runName(random: number): string {
  return base36(random, RUN_CHARS);
}

/** 36^6 names of runs, and 36^4 orders in one: beyond every budget. */
const RUN_CHARS = 6;
export const RUN_NAMES = 36 ** RUN_CHARS;
const SEQ_CHARS = 4;

function base36(value: number, width: number): string {
  return (value % 36 ** width).toString(36).padStart(width, "0");
}
