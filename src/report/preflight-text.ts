/** A preflight's report as text for people. */
import { plainText } from "../core/plain-text.ts";
import type { PreflightReport } from "../core/preflight.ts";

/** One line for the whole and one for each check. */
export function preflightText(report: PreflightReport): string {
  const { bot, account, exchange, sandbox, ok, durationMs, firstReplyMs, calls, checks } = report;
  const where = sandbox ? `${exchange} (test network)` : exchange;
  const first = firstReplyMs === null ? "" : `, first signed answer after ${firstReplyMs} ms`;
  const verdict = ok ? "an emergency close would work" : "an emergency close may fail";
  const width = Math.max(...checks.map(({ name }) => name.length));
  return [
    `${bot}, account ${account} at ${where}: ${verdict} (${calls} calls in ${durationMs} ms${first})`,
    ...checks.map(({ name, result, detail }) => `  ${name.padEnd(width)}  ${result.padEnd(7)}  ${detail}`),
  ]
    .map((line) => plainText(line))
    .join("\n");
}
