/** A close report as text for people: what is open, what was sent, what is left. */
import type { CloseReport, Position, SentOrder } from "../core/close-job.ts";
import { flatText } from "../core/close-scope.ts";
import { counted } from "../core/counted.ts";
import { plainText } from "../core/plain-text.ts";

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
  const { before, exchange, account, scope = [] } = report;
  if (before === null) return [`cannot plan for account ${account} on ${exchange}: ${report.reason}`];
  if (before.positions.length === 0 && before.orders === 0)
    return [
      scope.length === 0
        ? `account ${account} on ${exchange} is flat: no position, no open order`
        : `account ${account} on ${exchange} is ${flatText(scope)}`,
    ];
  return [
    `an emergency close of account ${account} on ${exchange} would cancel ${counted(before.orders, "open order")} and close:`,
    ...before.positions.map((position) => `  ${positionText(position)}`),
    ...(before.positions.length === 0 ? ["  no position"] : []),
    ...scopeLines(scope),
  ];
}

function closedText(report: CloseReport): string[] {
  const { incident, outcome, reason, durationMs, rounds, orders, before, after, dust, foreign, scope = [] } = report;
  const cancelled = after?.orders === 0 ? (before?.orders ?? 0) : 0;
  return [
    `incident ${incident}: ${outcome} after ${(durationMs / 1_000).toFixed(1)} s, ${counted(rounds, "round")}: ${reason}`,
    ...(cancelled === 0 ? [] : [`  cancelled ${counted(cancelled, "open order")}`]),
    ...orders.map((order) => `  ${orderText(order)}`),
    ...(after?.positions ?? []).map((position) => `  left open: ${positionText(position)}`),
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

function orderText({ id, symbol, side, amount, filled, average, outcome, error }: SentOrder): string {
  const fill = filled === undefined ? "" : `, filled ${filled}${average === undefined ? "" : ` at ${average}`}`;
  return `${id} ${side} ${amount} ${symbol}: ${outcome}${fill}${error === undefined ? "" : ` (${error})`}`;
}
