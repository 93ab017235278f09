/** Black box events as text for people. */
import type { BlackboxEvent } from "../core/blackbox.ts";
import type { PageReading } from "../core/instrument-page.ts";
import { plainJson, plainText } from "../core/plain-text.ts";

const MARK = { debug: " ", info: " ", warn: "!", error: "‼" } as const;

/** One line, as `12:00:01.250 ! exec order.sent  buy 0.01 {"id":"…"}`; the time is UTC. */
export function blackboxLine({ ts, sev, comp, type, msg, data }: BlackboxEvent): string {
  const time = isoTime(ts).slice(11, 23);
  const who = comp === undefined ? type : `${comp} ${type}`;
  const more = data === undefined || data === null ? "" : ` ${plainJson(data)}`;
  return plainText(`${time} ${MARK[sev]} ${who}${msg === "" ? "" : `  ${msg}`}${more}`);
}

/** What the bot was doing at the end, one line each. */
export function instrumentLines({ ops, level, lastError, loops, loopAt, torn }: PageReading): readonly string[] {
  const lines = ops.map(({ name, since, detail }) => {
    const what = detail === undefined ? name : `${name} (${detail})`;
    return `in progress since ${isoTime(since)}: ${what}`;
  });
  if (lines.length === 0) lines.push("no operation in progress");
  if (loops > 0) lines.push(`the event loop last turned at ${isoTime(loopAt)}`);
  if (level !== undefined) lines.push(`level ${level}`);
  if (lastError !== undefined) lines.push(`last error: ${lastError}`);
  if (torn) lines.push("it ended while it wrote this: an operation may have begun or ended that is not shown");
  return lines.map(plainText);
}

/** RFC 3339 in UTC; a number that is no time says so. */
function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "(no valid time)        " : date.toISOString();
}
