/** Schedules of the config, five fields as crontab(5) has them; the library `croner` reads those that are not plain, and knows time zones. */
import { Cron } from "croner";
import { nextOf, previousOf, readCron } from "../../../core/cron.ts";

/** Why the text is no schedule; `undefined` when it is one. */
export function scheduleError(text: string): string | undefined {
  const fix = 'write five fields, as "0 2 * * *" for 02:00 each day, or @hourly, @daily, @weekly or @monthly';
  if (!text.startsWith("@") && text.trim().split(/\s+/).length !== 5) return `"${text}" is not a schedule; ${fix}`;
  try {
    return new Cron(text, { ...zoneOf("UTC"), paused: true }).nextRun() === null
      ? `"${text}" never comes; ${fix}`
      : undefined;
  } catch (error) {
    return `"${text}" is not a schedule (${error instanceof Error ? error.message : String(error)}); ${fix}`;
  }
}

/** The runs of a schedule around an instant, ms since 1970; `undefined` where there is none. */
export interface Runs {
  /** At the instant itself, or the last before it. */
  readonly previousMs: number | undefined;
  readonly nextMs: number | undefined;
}

/** Throws for an unknown time zone. */
export function runsAround(schedule: string, timezone: string, now: Date): Runs {
  return {
    // A run of this very millisecond is none of tomorrow's: one that is neither before nor after it would never be made.
    previousMs: previousRun(schedule, timezone, new Date(now.getTime() + 1))?.getTime(),
    nextMs: nextRun(schedule, timezone, now)?.getTime(),
  };
}

/** The first instant of the schedule after `after`. */
function nextRun(schedule: string, timezone: string, after: Date): Date | undefined {
  const plain = timezone === "UTC" ? readCron(schedule) : undefined;
  if (plain !== undefined) return dateOf(nextOf(plain, after.getTime()));
  return new Cron(schedule, { ...zoneOf(timezone), paused: true }).nextRun(after) ?? undefined;
}

/** The last instant of the schedule before `before`. */
function previousRun(schedule: string, timezone: string, before: Date): Date | undefined {
  const plain = timezone === "UTC" ? readCron(schedule) : undefined;
  if (plain !== undefined) return dateOf(previousOf(plain, before.getTime()));
  return new Cron(schedule, { ...zoneOf(timezone), paused: true }).previousRuns(1, before)[0];
}

/** UTC as an offset: for a name the runtime reads its time zone data, five megabytes that stay. */
function zoneOf(timezone: string): { readonly utcOffset: number } | { readonly timezone: string } {
  return timezone === "UTC" ? { utcOffset: 0 } : { timezone };
}

function dateOf(atMs: number | undefined): Date | undefined {
  return atMs === undefined ? undefined : new Date(atMs);
}
