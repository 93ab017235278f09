/** Arguments that several verbs take. */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "../../core/duration.ts";
import { systemClock } from "../../platform/clock.ts";

/** Most lines or entries that `-n` may ask for. */
const MAX_LINES = 1_000_000;

/** Only this form of a time: `Date` by itself also takes "5" and local times for one. */
const RFC_3339 = /^(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/i;

export function parseLines(text: string): number {
  const lines = Number(text);
  if (/^\d+$/.test(text) && lines <= MAX_LINES) return lines;
  throw new InvalidArgumentError(`"${text}" is not a number of lines from 0 to ${MAX_LINES}`);
}

/** A time in RFC 3339, or the time that long ago. */
export function parseSince(text: string): Date {
  const ageMs = parseDuration(text);
  if (ageMs !== undefined) return new Date(systemClock.wallTime().getTime() - ageMs);
  const [, day] = RFC_3339.exec(text) ?? [];
  const time = new Date(day !== undefined && isDay(day) ? text : Number.NaN);
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError(
      `"${text}" is neither a time such as 2026-01-31T12:00:00Z nor an age such as 15m, 2h or 1d`,
    );
  return time;
}

/** Whether the calendar has it: the runtime takes the 30th of February for the 2nd of March. */
function isDay(day: string): boolean {
  const midnight = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
}

/** Number of a start, its generation. */
export function parseRun(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not the number of a start: 1, 2, …`);
}
