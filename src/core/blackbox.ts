/**
 * The bot's black box: what one event looks like, how its files are named, and how events from many files become one story.
 * One NDJSON line is one event, so that `tail`, `grep` and any language read and write it without us.
 */

/** Format version of an event. */
export const BLACKBOX_VERSION = 1;

/** Severities in rising order. */
const SEVERITIES = ["debug", "info", "warn", "error"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** One event as its reader gets it; a line of a stranger may lack everything but `type` and a time. */
export interface BlackboxEvent {
  readonly v: number;
  /** Counts the events of one start of the bot; a gap is a loss. `undefined` where the writer does not count. */
  readonly seq: number | undefined;
  /** Unix time, ms. */
  readonly ts: number;
  /** Monotonic time of the writer, µs; `undefined` where it has none. */
  readonly mono: number | undefined;
  /** Which start wrote it. */
  readonly boot: string;
  /** Dotted name of what happened, as `order.sent`. */
  readonly type: string;
  /** Part of the bot that speaks. */
  readonly comp: string | undefined;
  readonly sev: Severity;
  readonly msg: string;
  readonly data: unknown;
}

/**
 * The two recorders: `events` is chatty and gives up its oldest; `kept` holds orders, fills, transitions and errors, which
 * the rotation of the chatty one cannot push out.
 */
export type Recorder = "events" | "kept";

/** First words of types that are kept whatever their severity. */
const KEPT_TYPES: ReadonlySet<string> = new Set(["order", "fill", "position", "state", "level", "breaker", "budget"]);

/** Which recorder an event goes to. */
export function recorderOf(type: string, severity: Severity): Recorder {
  if (severity === "warn" || severity === "error") return "kept";
  const dot = type.indexOf(".");
  return KEPT_TYPES.has(dot < 0 ? type : type.slice(0, dot)) ? "kept" : "events";
}

/** Name of a start in file names: its generation, padded so that names sort, and the beginning of its invocation id. */
export function bootName(generation: number, invocationId: string): string {
  return `${String(generation).padStart(6, "0")}-${invocationId.slice(0, 8)}`;
}

/** File of one segment; `index` counts from 1. */
export function segmentName(boot: string, recorder: Recorder, index: number): string {
  return `${boot}-${recorder}-${String(index).padStart(4, "0")}.ndjson`;
}

/** File of the instrument page of a start. */
export function pageName(boot: string): string {
  return `${boot}-page.bin`;
}

/** The segments among `names` of this recorder, of every start, oldest first. */
export function segmentsOf(names: readonly string[], recorder: Recorder): readonly string[] {
  const ending = new RegExp(`-${recorder}-\\d{4,}\\.ndjson$`);
  return names.filter((name) => ending.test(name)).toSorted();
}

/** What belongs to a black box: segments of any writer and instrument pages; hidden files are somebody's work in progress. */
export function isBlackboxFile(name: string): boolean {
  return !name.startsWith(".") && (name.endsWith(".ndjson") || name.endsWith("-page.bin"));
}

/** Parses one line; `undefined` for one that is torn or no event. `boot` is what its file says of the start. */
export function parseEvent(line: string, boot: string): BlackboxEvent | undefined {
  const value = parseJson(line);
  if (typeof value !== "object" || value === null) return undefined;
  const { v, seq, ts, mono, boot: own, type, comp, sev, msg, data } = fields(value);
  if (typeof type !== "string" || typeof ts !== "number" || !Number.isFinite(ts)) return undefined;
  return {
    v: typeof v === "number" ? v : BLACKBOX_VERSION,
    seq: typeof seq === "number" ? seq : undefined,
    ts,
    mono: typeof mono === "number" ? mono : undefined,
    boot: typeof own === "string" ? own : boot,
    type,
    comp: typeof comp === "string" ? comp : undefined,
    sev: SEVERITIES.find((each) => each === sev) ?? "info",
    msg: typeof msg === "string" ? msg : "",
    data,
  };
}

/**
 * All events as one story: by start, then by number where both are counted, else by time. `starts` says in which order
 * the starts came, since a clock that was set back must not put a later one first.
 */
export function orderEvents(events: readonly BlackboxEvent[]): readonly BlackboxEvent[] {
  return events.toSorted((a, b) => {
    if (a.boot !== b.boot) return a.boot < b.boot ? -1 : 1;
    if (a.seq !== undefined && b.seq !== undefined) return a.seq - b.seq;
    return a.ts - b.ts;
  });
}

/** How many numbers are missing between the first and the last event of each start; what was rotated out before the first is not counted. */
export function missingEvents(ordered: readonly BlackboxEvent[]): number {
  const spans = new Map<string, { first: number; last: number; seen: number }>();
  for (const { boot, seq } of ordered) {
    if (seq === undefined) continue;
    const span = spans.get(boot);
    if (span === undefined) spans.set(boot, { first: seq, last: seq, seen: 1 });
    else {
      // A line that is there twice counts once.
      if (seq !== span.last) span.seen += 1;
      span.last = Math.max(span.last, seq);
    }
  }
  return [...spans.values()].reduce((sum, { first, last, seen }) => sum + (last - first + 1 - seen), 0);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function fields(value: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value));
}
