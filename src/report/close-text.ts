/** A close report as text for people: what is open, what was sent, what is left. */
import type { CloseReport, OwedLoan, Position, SentOrder } from "../core/close-job.ts";
import { flatText } from "../core/close-scope.ts";
import { counted } from "../core/counted.ts";
import { plainText } from "../core/plain-text.ts";
import { wholeMs } from "./close-time.ts";

export function closeText(report: CloseReport): string {
  const lines = report.mode === "plan" ? planText(report) : closedText(report);
  return lines.map(plainText).join("\n");
}

/** A close that may have ended without a report: then its reason is all there is. */
export function closeEndText(end: {
  readonly bot: string;
  readonly incident: string;
  readonly outcome: string;
  readonly detail: string | null;
  readonly report: CloseReport | null;
}): string {
  const { bot, incident, outcome, detail, report } = end;
  if (report !== null) return closeText(report);
  const why = plainText(detail ?? "the reason is not known");
  return `incident ${incident}: ${outcome}, without a report: ${why}\n  see: supervisor events --bot ${bot}`;
}

function planText(report: CloseReport): string[] {
  const { before, exchange, account, scope = [], goal, planned } = report;
  if (before === null) return [`cannot plan for account ${account} on ${exchange}: ${report.reason}`];
  const { loans = [] } = before;
  if (before.positions.length + before.orders + loans.length === 0)
    return [
      scope.length === 0
        ? `account ${account} on ${exchange} is flat: no position, no open order`
        : `account ${account} on ${exchange} is ${flatText(scope)}`,
    ];
  const { positions, orders } = planned ?? before;
  const verb = goal?.kind === "reduce" ? `reduce, to an exposure of ${goal.exposure}` : "close";
  const then = goal?.kind === "cancel" ? "keep these positions and their stops" : verb;
  const shown = goal?.kind === "cancel" ? before.positions : positions;
  return [
    `an emergency close of account ${account} on ${exchange} would cancel ${counted(orders, "open order")} and ${then}:`,
    ...positionTable(shown, before.positions, goal?.kind === "cancel"),
    ...(shown.length === 0 ? ["  no position"] : []),
    // Nothing but a close of everything repays what is owed.
    ...(goal === undefined ? loans.map(loanText) : []),
    ...scopeLines(scope),
  ];
}

/** One line for each position: what is held, what that is worth, and the order that would be sent. */
function positionTable(parts: readonly Position[], held: readonly Position[], kept: boolean): string[] {
  if (parts.length === 0) return [];
  const rows = parts.map(({ symbol, side, amount }) => {
    const whole = held.find((position) => position.symbol === symbol && position.side === side);
    const worth = whole?.notional === undefined ? "-" : whole.notional.toFixed(2);
    const order = kept ? "-" : orderOf(side, amount, whole?.owed);
    return [symbol, side, String(whole?.amount ?? amount), worth, order];
  });
  const table = [["SYMBOL", "SIDE", "AMOUNT", "NOTIONAL", "ORDER"], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? [];
  return table.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}

function orderOf(side: Position["side"], amount: number, owed: Position["owed"]): string {
  if (owed === "quote") return "repay from what is sold";
  return `${side === "long" ? "sell" : owed === undefined ? "buy" : "buy and repay"} ${amount}`;
}

function loanText({ symbol, amount, covered }: OwedLoan): string {
  return `  owed: ${amount} ${symbol}, of which ${covered} ${covered === 1 ? "is" : "are"} there to repay it`;
}

function closedText(report: CloseReport): string[] {
  const { incident, outcome, reason, rounds, orders, before, after, dust, foreign, scope = [] } = report;
  const cancelled = after?.orders === 0 ? (before?.orders ?? 0) : 0;
  return [
    `incident ${incident}: ${outcome} after ${(wholeMs(report) / 1_000).toFixed(1)} s, ${counted(rounds, "round")}: ${reason}`,
    ...(cancelled === 0 ? [] : [`  cancelled ${counted(cancelled, "open order")}`]),
    ...orders.map((order) => `  ${orderText(order)}`),
    ...(after?.positions ?? []).map((position) => `  left open: ${positionText(position)}`),
    ...(after?.loans ?? []).map(({ symbol, amount }) => `  left owed: ${amount} ${symbol}`),
    ...dust.map((position) => `  dust, below the venue's smallest lot: ${positionText(position)}`),
    ...foreign.map((text) => `  not ours: ${text}`),
    ...scopeLines(scope),
  ];
}

/** All of them, since a reason names three at most. */
function scopeLines(scope: readonly string[]): string[] {
  return scope.length === 0 ? [] : [`  configured symbols: ${scope.join(", ")}; other symbols were not looked at`];
}

function positionText({ symbol, side, amount, notional }: Position): string {
  return `${symbol} ${side} ${amount}${notional === undefined ? "" : ` (notional ${notional.toFixed(2)})`}`;
}

const BY = { venue: "the venue closes it by itself", hook: "by the hook" } as const;

function orderText({ id, symbol, side, amount, by, repay, filled, average, outcome, error }: SentOrder): string {
  const who = by === undefined ? "" : `, ${BY[by]}`;
  const fill = filled === undefined ? "" : `, filled ${filled}${average === undefined ? "" : ` at ${average}`}`;
  return `${id} ${repay === undefined ? side : "repay"} ${amount} ${symbol}${who}: ${outcome}${fill}${error === undefined ? "" : ` (${error})`}`;
}
