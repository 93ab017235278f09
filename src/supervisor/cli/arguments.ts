/** Arguments that several verbs take. */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "../../core/duration.ts";
import { systemClock } from "../../platform/clock.ts";

/** Most lines or entries that `-n` may ask for. */
const MAX_LINES = 1_000_000;

export function parseLines(text: string): number {
  const lines = Number(text);
  if (/^\d+$/.test(text) && lines <= MAX_LINES) return lines;
  throw new InvalidArgumentError(`"${text}" is not a number of lines from 0 to ${MAX_LINES}`);
}

/** A time in RFC 3339, or the time that long ago. */
export function parseSince(text: string): Date {
  const ageMs = parseDuration(text);
  if (ageMs !== undefined) return new Date(systemClock.wallTime().getTime() - ageMs);
  const time = new Date(text);
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError(`"${text}" is neither a time nor an age such as 15m`);
  return time;
}
