/** The journal of one incident, `ID.ndjson`: its lines, and their fold, which tells a restarted close where to go on. */
import * as z from "zod";
import { closeReportSchema } from "./close-job.ts";
import type { CloseReport, Position, SentOrder } from "./close-job.ts";

const positions = closeReportSchema.shape.dust;
const order = closeReportSchema.shape.orders.element;

export const incidentLineSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("begin"), version: z.literal(1), at: z.string(), bot: z.string(), exchange: z.string() }),
  z.object({
    kind: z.literal("snapshot"),
    at: z.string(),
    round: z.int().min(0),
    positions,
    /** Open orders of both classes. */
    orders: z.int().min(0),
    /** The incident's cap of orders, fixed by its first snapshot. */
    maxOrders: z.int().min(0),
  }),
  /** On disk before the order leaves: an intent without outcome may have been executed. */
  z.object({ kind: z.literal("intent"), at: z.string(), round: z.int().min(0), seq: z.int().min(0), order }),
  z.object({ kind: z.literal("outcome"), at: z.string(), order }),
  z.object({ kind: z.literal("end"), at: z.string(), report: closeReportSchema }),
]);
export type IncidentLine = z.output<typeof incidentLineSchema>;

/** What earlier runs of the incident left behind. */
export interface IncidentHistory {
  /** Time of the first run; `undefined` before any. */
  readonly startedAt: string | undefined;
  readonly before: { readonly positions: Position[]; readonly orders: number } | undefined;
  readonly maxOrders: number | undefined;
  readonly lastRound: number;
  readonly lastSeq: number;
  /** Orders in the sequence of their intents; one without outcome stays `unknown`. */
  readonly orders: readonly SentOrder[];
  /** Report of a run that ended flat: the incident is over. */
  readonly flat: CloseReport | undefined;
  /** Lines that could not be read: the torn last one, or damage. */
  readonly damaged: number;
}

/** Folds the text of a journal. Never throws: an unreadable line is counted and skipped, for a close that cannot start is worse. */
export function foldIncident(text: string): IncidentHistory {
  const fold = { startedAt: undefined, before: undefined, maxOrders: undefined, lastRound: 0, lastSeq: 0, damaged: 0 };
  let history: Omit<IncidentHistory, "orders"> = { ...fold, flat: undefined };
  const orders = new Map<string, SentOrder>();
  for (const raw of text.split("\n")) {
    if (raw === "") continue;
    const line = parseLine(raw);
    if (line === undefined) history = { ...history, damaged: history.damaged + 1 };
    else if (line.kind === "intent" || line.kind === "outcome") orders.set(line.order.id, line.order);
    if (line !== undefined) history = foldLine(history, line);
  }
  return { ...history, orders: [...orders.values()] };
}

function foldLine(history: Omit<IncidentHistory, "orders">, line: IncidentLine): Omit<IncidentHistory, "orders"> {
  switch (line.kind) {
    case "begin":
      return { ...history, startedAt: history.startedAt ?? line.at };
    case "snapshot":
      return {
        ...history,
        before: history.before ?? { positions: line.positions, orders: line.orders },
        maxOrders: history.maxOrders ?? line.maxOrders,
        lastRound: Math.max(history.lastRound, line.round),
      };
    case "intent":
      return {
        ...history,
        lastRound: Math.max(history.lastRound, line.round),
        lastSeq: Math.max(history.lastSeq, line.seq),
      };
    case "outcome":
      return history;
    case "end":
      return { ...history, flat: line.report.outcome === "flat" ? line.report : undefined };
  }
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

/** Client order id, at most 21 characters (the shortest limit among the venues is 32); unique in the incident since `seq` never repeats. */
export function clientOrderId(incident: string, round: number, seq: number): string {
  return `${orderIdPrefix(incident)}${base36(round, ROUND_CHARS)}${base36(seq, SEQ_CHARS)}`;
}

/** 36^3 rounds of at least 20 ms and 36^4 orders are beyond every budget; a wrap would repeat the id of an order long filled. */
const ROUND_CHARS = 3;
const SEQ_CHARS = 4;

function base36(value: number, width: number): string {
  return (value % 36 ** width).toString(36).padStart(width, "0");
}
