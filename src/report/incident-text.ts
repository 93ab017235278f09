/** The report of an emergency close as a page for people, and the list of all of them. */
import { FLAT, goalText, type CloseGoal } from "../core/close-goal.ts";
import type { CloseReport, Position, SentOrder } from "../core/close-job.ts";
import { closeCommand, nextStep } from "../core/close-next.ts";
import { counted } from "../core/counted.ts";
import type { Step } from "../core/incident.ts";
import { plainText } from "../core/plain-text.ts";
import { TRIGGER_TEXT } from "../core/trigger-text.ts";
import { pidsText } from "../core/pids-text.ts";
import { wholeMs } from "./close-time.ts";

/** Orders on the page; the file has the rest. */
const MAX_SHOWN_ORDERS = 200;

/** What these found is no more than their name says. */
const PLAIN: ReadonlySet<CloseReport["trigger"]> = new Set(["operator", "file", "signal", "environment"]);

/** A report of an incident, whole or, from a file of another version, what is legible of it; of a close that has not ended, what there is. */
export type IncidentReport = CloseReport | LegibleReport | RunningReport;
interface LegibleReport {
  readonly incident: string;
  readonly bot: string;
  readonly startedAt: string;
  readonly outcome: string;
  readonly reason: string;
}

/** What the lockout and the journal say of an incident whose close has not ended. */
export interface RunningReport {
  readonly running: true;
  readonly incident: string;
  readonly bot: string;
  readonly account: string;
  readonly trigger: CloseReport["trigger"];
  readonly later: readonly CloseReport["trigger"][];
  /** Why it was opened. */
  readonly reason: string;
  readonly startedAt: string;
  readonly outcome: null;
  /** What the runs were to reach, in their order, and what is to be reached now. */
  readonly goals: readonly CloseGoal[];
  readonly before: CloseReport["before"];
  readonly orders: readonly SentOrder[];
  readonly timeline: readonly Step[];
  /** Of the runs that have ended, by class. */
  readonly errors: Readonly<Record<string, number>>;
}

export function incidentText(report: IncidentReport): string {
  return pageOf(report).map(plainText).join("\n");
}

function pageOf(report: IncidentReport): string[] {
  if ("running" in report) return runningPage(report);
  return "orders" in report ? fullPage(report) : legiblePage(report);
}

function runningPage(report: RunningReport): string[] {
  const { incident, bot, account, trigger, later, reason, startedAt, goals, before, orders } = report;
  return [
    `incident ${incident} of ${bot}: RUNNING, its close has not ended`,
    `  account  ${account}`,
    `  cause    ${triggerText(trigger)}${PLAIN.has(trigger) ? "" : ` (${reason})`}`,
    ...later.map((each) => `  then     ${triggerText(each)}`),
    ...goalLines(goals),
    `  time     ${startedAt} until now`,
    `  next     wait for its end; one whose process has died is taken up by the next supervisor run, or ${closeCommand(bot, account, goals.at(-1))}`,
    ...section("before", before === null ? ["the account has not been read yet"] : holdings(before)),
    ...section("timeline", timeline(report)),
    ...section("orders", orderLines({ orders })),
    ...section("errors", errorLines(report)),
  ];
}

/** A flat account alone is what a close is for, and not said. */
function goalLines(goals: readonly CloseGoal[]): string[] {
  const [goal] = goals;
  if (goal === undefined || (goals.length === 1 && goal.kind === "flat")) return [];
  return [`  goal     ${goals.map(goalText).join("; then ")}`];
}

function legiblePage({ incident, bot, startedAt, outcome, reason }: LegibleReport): string[] {
  return [
    `incident ${incident} of ${bot}: ${outcome}`,
    `  began   ${startedAt}`,
    `  result  ${reason}`,
    "  written by another version; more is in the file itself (--json)",
  ];
}

function fullPage(report: CloseReport): string[] {
  const { incident, bot, outcome, verified, account, exchange, scope = [], trigger, goal, startedAt, endedAt } = report;
  const {
    mode,
    style,
    cause,
    later = [],
    reason,
    goals = [goal ?? FLAT],
    quietMs,
    rounds,
    calls,
    fence,
    next,
  } = report;
  const proof = fence.proven ? `proven dead in ${fence.ms} ms` : `not proven dead${pidsOf(fence.pids)}`;
  return [
    `incident ${incident} of ${bot}: ${outcome}, ${verified ? "verified at the venue" : "not verified"}`,
    `  account  ${account} at ${exchange}, ${scope.length === 0 ? "the whole account" : scope.join(", ")}`,
    `  cause    ${triggerText(trigger)}${cause === undefined || PLAIN.has(trigger) ? "" : ` (${cause})`}`,
    ...later.map((each) => `  then     ${triggerText(each)}`),
    ...goalLines(goals),
    ...(style === undefined ? [] : [`  style    ${style}`]),
    `  time     ${startedAt}${endedAt === undefined ? "" : ` to ${endedAt}`}`,
    `  took     ${tookText(report)}, of which ${seconds(quietMs)} to be sure; ${counted(rounds, "round")}, ${counted(calls, "call")}`,
    `  bot      ${proof}`,
    `  result   ${reason}`,
    `  next     ${next ?? nextStep({ outcome, bot, account, mode, goal })}`,
    ...section("before", holdings(report.before)),
    ...section("after", holdings(report.after)),
    ...section("timeline", timeline(report)),
    ...section("orders", orderLines(report)),
    ...section("left alone and unclear", leftLines(report)),
    ...section("errors", errorLines(report)),
  ];
}

function tookText(report: CloseReport): string {
  const ms = wholeMs(report);
  const last = seconds(report.durationMs);
  return ms === report.durationMs
    ? last
    : `${seconds(ms)} from the first run to the end of the last, which took ${last}`;
}

/** With its name, which scripts go by; of a limit the sentence has it. */
function triggerText(trigger: CloseReport["trigger"]): string {
  const text = TRIGGER_TEXT[trigger];
  return text.includes("emergency.limits") ? text : `${trigger}: ${text}`;
}

function pidsOf(pids: readonly number[]): string {
  return pids.length === 0 ? "" : `: ${pidsText(pids, "pid ")}`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", title, ...lines.map((line) => `  ${line}`)];
}

function holdings(held: CloseReport["before"]): string[] {
  if (held === null) return ["the account could not be read"];
  const worth = held.notional === undefined ? "" : `; the positions are worth ${held.notional.toFixed(2)} in all`;
  const orders = held.orders === 0 ? "no open order" : counted(held.orders, "open order");
  const owed = (held.loans ?? []).map(({ symbol, amount, covered }) => `owed ${amount} ${symbol}, ${covered} there`);
  if (held.positions.length === 0) return [`no position, ${orders}`, ...owed];
  return [
    ...table(["SYMBOL", "SIDE", "AMOUNT", "NOTIONAL"], held.positions.map(positionRow)),
    ...owed,
    `${orders}${worth}`,
  ];
}

function positionRow({ symbol, side, amount, notional }: Position): string[] {
  return [symbol, side, String(amount), notional === undefined ? "-" : notional.toFixed(2)];
}

/** Times since the beginning of the run, for that is what people compare. */
function timeline({ timeline: steps = [] }: { readonly timeline?: readonly Step[] | undefined }): string[] {
  const firstMs = Date.parse(steps[0]?.at ?? "");
  return steps.map(({ at, text }) => `+${((Date.parse(at) - firstMs) / 1_000).toFixed(3)} s  ${text}`);
}

function orderLines({ orders, slippage }: Pick<RunningReport, "orders"> & Pick<CloseReport, "slippage">): string[] {
  if (orders.length === 0) return ["none was sent"];
  const shown = orders.slice(-MAX_SHOWN_ORDERS);
  const head = ["SENT", "ORDER", "SYMBOL", "SIDE", "AMOUNT", "FILLED", "AVERAGE", "SLIPPAGE", "ANSWER", "OUTCOME"];
  const hidden = orders.length - shown.length;
  return [
    ...(hidden === 0 ? [] : [`${counted(hidden, "order")} before these`]),
    ...table(head, shown.map(orderRow)),
    ...(slippage === undefined
      ? []
      : [`slippage in all: ${slippage.toFixed(2)} (against the price before each order)`]),
  ];
}

function orderRow(order: SentOrder): string[] {
  const { id, symbol, amount, by, repay, restedAt, filled, average, slippage, sentAt, ackMs, outcome, error } = order;
  const time = /T([\d:.]+)/.exec(sentAt)?.[1] ?? sentAt;
  const cost = slippage === undefined ? "-" : slippage.toFixed(2);
  const who = by === undefined ? "" : ` by the ${by}`;
  const waited = restedAt === undefined ? "" : `, waited at ${restedAt}`;
  const end = `${outcome}${who}${waited}${error === undefined ? "" : ` (${error})`}`;
  const side = repay === undefined ? order.side : "repay";
  return [time, id, symbol, side, String(amount), told(filled), told(average), cost, `${ackMs} ms`, end];
}

function told(value: number | undefined): string {
  return value === undefined ? "-" : String(value);
}

function leftLines({ dust, foreign, unknown = [] }: CloseReport): string[] {
  return [
    ...dust.map((position) => `below the venue's smallest order: ${positionRow(position).join(" ")}`),
    ...foreign.map((text) => `not ours: ${text}`),
    ...unknown.map((id) => `the venue never told what became of order ${id}; the positions after it are what counts`),
  ];
}

function errorLines({ errors }: Pick<RunningReport, "errors">): string[] {
  return Object.entries(errors).map(([name, count]) => `${name}: ${count}`);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

/** One line for each incident. */
export function incidentListText(reports: readonly IncidentReport[]): string {
  if (reports.length === 0) return "no incident has a report";
  const rows = reports.map((report) => {
    const { incident, bot, startedAt, outcome } = report;
    if (!("orders" in report)) return [incident, bot, startedAt, "-", report.outcome, "-", "-", "-"];
    const { trigger, later = [], before, orders } = report;
    const positions = before === null ? "-" : String(before.positions.length);
    return [
      incident,
      bot,
      startedAt,
      [trigger, ...later].join(", "),
      outcome ?? "running",
      positions,
      String(orders.length),
      "running" in report ? "-" : seconds(wholeMs(report)),
    ];
  });
  const head = ["INCIDENT", "BOT", "BEGAN", "CAUSE", "OUTCOME", "POSITIONS", "SENT", "TOOK"];
  return table(head, rows).map(plainText).join("\n");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
