/**
 * What a restored database must show beyond being whole: the checks of a target, and those that every trading database is
 * asked for where it has the tables (counts, time range, gaps of the last day, orphans). Pure: it writes the questions as
 * statements that only read, and judges the answers; who holds the database asks them.
 */
import * as z from "zod";
import { later, real } from "./later.ts";
import { formatDuration } from "./duration.ts";
import { duration } from "./quantities.ts";

const word = () => z.string().min(1).max(200);

const rows = later(() =>
  z.strictObject({
    kind: z.literal("rows").describe("A table has enough rows."),
    table: word().describe("Table."),
    atLeast: z.int().min(1).default(1).describe("Fewest rows."),
  }),
);
const fresh = <Span extends z.ZodType>(span: Span) =>
  z.strictObject({
    kind: z.literal("fresh").describe("The newest row is not old."),
    table: word().describe("Table."),
    column: word().default("created_at").describe("Column with the time of a row."),
    within: span.describe("Longest time between the newest row and the instant of the backup."),
  });
const gaps = <Span extends z.ZodType>(span: Span) =>
  z.strictObject({
    kind: z.literal("gaps").describe("There is no hole in the rows of the last day before the backup."),
    table: word().describe("Table."),
    column: word().default("created_at").describe("Column with the time of a row."),
    longest: span.describe("Longest time between two rows."),
  });
const orphans = later(() =>
  z.strictObject({
    kind: z.literal("orphans").describe("No row refers to one that is not there."),
    table: word().describe("Table of the referring rows."),
    column: word().describe("Column that refers."),
    of: word().describe("Table that is referred to."),
    key: word().default("id").describe("Its key."),
  }),
);
const query = later(() =>
  z.strictObject({
    kind: z.literal("query").describe("A statement of your own answers with a number in bounds."),
    name: word().describe("What it shows, for people."),
    sql: z
      .string()
      .min(1)
      .max(4_000)
      .describe("One statement that only reads; the first value of its first row counts."),
    min: z.number().optional().describe("Smallest number that is well."),
    max: z.number().optional().describe("Largest number that is well."),
  }),
);

const checkOf = <Span extends z.ZodType>(span: Span) =>
  z.discriminatedUnion("kind", [real(rows), fresh(span), gaps(span), real(orphans), real(query)]);

/** Checks in the config. */
export const checkSchema = later(() => checkOf(duration()));
export type BackupCheck = z.output<typeof checkSchema>;
/** The same as a worker gets it: durations in ms. */
export const checkJobSchema = later(() => checkOf(z.number().min(0)));

type Dialect = "sqlite" | "postgres";

/** Type of each column as the database declares it, by column, by table. */
type Catalogue = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, for people. */
  readonly text: string;
}

/** A question to the database; `judge` takes the values of the answer's first row. */
export interface Question {
  readonly name: string;
  readonly sql: string;
  readonly judge: (values: readonly unknown[]) => CheckResult;
}

export interface CheckInput {
  readonly dialect: Dialect;
  readonly catalogue: Catalogue;
  /** Of the target; empty: only the ones that every database is asked. */
  readonly checks: readonly BackupCheck[];
  /** Instant whose data the database holds, ms since 1970. */
  readonly snapshotMs: number;
  /** A time of that kind for people. */
  readonly timeText: (ms: number) => string;
}

const DAY_MS = 86_400_000;
/** Tables that a trading bot keeps, as operators' own validation queries name them. */
const USUAL_TABLES = ["trades", "orders", "positions"];
const USUAL_TIME = "created_at";
/** Clocks of the bot and of the machine of the backup may differ by this. */
const CLOCK_SLACK_MS = 300_000;
/** Numbers below it are seconds since 1970 until the year 5138, above it milliseconds since 1973. */
const SECONDS_BELOW = 1e11;

/** What to ask, the usual questions first; a check whose table or column is not there is an answer already. */
export function planChecks(input: CheckInput): readonly (Question | CheckResult)[] {
  return [...usualQuestions(input), ...input.checks.map((check) => questionOf(check, input))];
}

/** Whether all is well, in words: what is not, or everything that was found. */
export function summarizeChecks(results: readonly CheckResult[]): { readonly ok: boolean; readonly text: string } {
  const wrong = results.filter(({ ok }) => !ok);
  const told = wrong.length === 0 ? results : wrong;
  return { ok: wrong.length === 0, text: told.map(({ name, text }) => `${name}: ${text}`).join("; ") };
}

function* usualQuestions(input: CheckInput): Iterable<Question> {
  const { catalogue, snapshotMs } = input;
  for (const table of USUAL_TABLES) {
    const columns = catalogue[table];
    if (columns === undefined) continue;
    yield counted(table, 0);
    if (columns[USUAL_TIME] === undefined) continue;
    yield ranged(table, USUAL_TIME, input, (newestMs) =>
      newestMs > snapshotMs + CLOCK_SLACK_MS ? "the newest row is younger than the backup" : null,
    );
    yield gapped(table, USUAL_TIME, input, undefined);
  }
  if (catalogue["trades"]?.["order_id"] !== undefined && catalogue["orders"]?.["id"] !== undefined)
    yield orphaned({ table: "trades", column: "order_id", of: "orders", key: "id" });
}

function questionOf(check: BackupCheck, input: CheckInput): Question | CheckResult {
  const missing = missingOf(check, input.catalogue);
  if (missing !== undefined) return { name: nameOf(check), ok: false, text: missing };
  switch (check.kind) {
    case "rows":
      return counted(check.table, check.atLeast);
    case "fresh":
      return ranged(check.table, check.column, input, (newestMs) => {
        const ageMs = input.snapshotMs - newestMs;
        return ageMs > check.within
          ? `the newest row is ${spanText(ageMs)} older than the backup; at most ${formatDuration(check.within)} is well`
          : null;
      });
    case "gaps":
      return gapped(check.table, check.column, input, check.longest);
    case "orphans":
      return orphaned(check);
    case "query":
      return asked(check);
  }
}

function nameOf(check: BackupCheck): string {
  return check.kind === "query" ? check.name : `${check.kind} of ${check.table}`;
}

/** What a check names and the database does not have. */
function missingOf(check: BackupCheck, catalogue: Catalogue): string | undefined {
  if (check.kind === "query") return undefined;
  const wanted: (readonly [string, string?])[] =
    check.kind === "rows" ? [[check.table]] : [[check.table, check.column]];
  if (check.kind === "orphans") wanted.push([check.of, check.key]);
  for (const [table, column] of wanted) {
    const columns = catalogue[table];
    if (columns === undefined) return `there is no table ${table}`;
    if (column !== undefined && columns[column] === undefined) return `${table} has no column ${column}`;
  }
  return undefined;
}

function counted(table: string, atLeast: number): Question {
  const name = `rows of ${table}`;
  return {
    name,
    sql: `SELECT count(*) FROM ${quoted(table)}`,
    judge: ([value]) => {
      const count = Number(value);
      const text = `${count}`;
      return count >= atLeast ? { name, ok: true, text } : { name, ok: false, text: `${text}, fewer than ${atLeast}` };
    },
  };
}

function ranged(
  table: string,
  column: string,
  { dialect, catalogue, timeText }: CheckInput,
  fault: (newestMs: number) => string | null,
): Question {
  const name = `time range of ${table}`;
  const seconds = secondsOf(column, catalogue[table]?.[column] ?? "", dialect);
  return {
    name,
    sql: `SELECT min(t), max(t) FROM (SELECT ${seconds} AS t FROM ${quoted(table)}) AS times`,
    judge: ([oldest, newest]) => {
      if (oldest == null || newest == null) return { name, ok: true, text: "there are no rows" };
      const [oldestMs, newestMs] = [Number(oldest) * 1_000, Number(newest) * 1_000];
      const text = `${timeText(oldestMs)} to ${timeText(newestMs)}`;
      const found = fault(newestMs);
      return found === null ? { name, ok: true, text } : { name, ok: false, text: `${text}: ${found}` };
    },
  };
}

function gapped(table: string, column: string, input: CheckInput, longestMs: number | undefined): Question {
  const name = `gaps of ${table}`;
  const { dialect, catalogue, snapshotMs } = input;
  const seconds = secondsOf(column, catalogue[table]?.[column] ?? "", dialect);
  const from = (snapshotMs - DAY_MS) / 1_000;
  const times = `SELECT ${seconds} AS t FROM ${quoted(table)}`;
  const steps = `SELECT t - lag(t) OVER (ORDER BY t) AS step FROM (${times}) AS times WHERE t >= ${from}`;
  return {
    name,
    sql: `SELECT count(*), max(step) FROM (${steps}) AS steps`,
    judge: ([count, step]) => {
      if (Number(count) < 2) return { name, ok: longestMs === undefined, text: "less than two rows in the last day" };
      const gapMs = Number(step) * 1_000;
      const text = `longest in the last day ${spanText(gapMs)}`;
      return longestMs === undefined || gapMs <= longestMs
        ? { name, ok: true, text }
        : { name, ok: false, text: `${text}; at most ${formatDuration(longestMs)} is well` };
    },
  };
}

function orphaned(of: {
  readonly table: string;
  readonly column: string;
  readonly of: string;
  readonly key: string;
}): Question {
  const name = `orphans of ${of.table}`;
  const [table, column, parent, key] = [of.table, of.column, of.of, of.key].map(quoted);
  return {
    name,
    sql: `SELECT count(*) FROM ${table} AS child LEFT JOIN ${parent} AS parent ON child.${column} = parent.${key} WHERE child.${column} IS NOT NULL AND parent.${key} IS NULL`,
    judge: ([value]) => {
      const count = Number(value);
      return count === 0
        ? { name, ok: true, text: "none" }
        : { name, ok: false, text: `${count} rows whose ${of.column} is not in ${of.of}` };
    },
  };
}

function asked({ name, sql, min, max }: Extract<BackupCheck, { kind: "query" }>): Question {
  return {
    name,
    sql,
    judge: ([value]) => {
      const number = value == null || value === "" ? Number.NaN : Number(value);
      const bounds = [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`]
        .filter((text) => text !== "")
        .join(" and ");
      if (Number.isNaN(number)) return { name, ok: false, text: "it answers with no number" };
      const ok = number >= (min ?? number) && number <= (max ?? number);
      return { name, ok, text: ok ? `${number}` : `${number}; ${bounds} is well` };
    },
  };
}

/** Seconds since 1970 of a column, whatever it holds: a time, or a number of seconds or milliseconds. */
function secondsOf(column: string, type: string, dialect: Dialect): string {
  const name = quoted(column);
  const number = `CASE WHEN ${name} >= ${SECONDS_BELOW} THEN ${name} / 1000.0 ELSE ${name} END`;
  if (dialect === "sqlite")
    return `CASE typeof(${name}) WHEN 'text' THEN (julianday(${name}) - 2440587.5) * 86400.0 ELSE ${number} END`;
  return /^(timestamp|date)/i.test(type) ? `extract(epoch FROM ${name})` : number;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function spanText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
