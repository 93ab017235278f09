/**
 * Schedules that need no library: five fields of numbers, as crontab(5) has them, in UTC. What says more (names, another time
 * zone, both a day of the month and of the week) is not read here, and goes to the library that knows all of it.
 */

export interface PlainCron {
  /** Each in rising order. */
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: ReadonlySet<number>;
  /** 1 to 12. */
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly weekdays: ReadonlySet<number>;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** A day of each month that there always is comes within two of them, and one of a month within a year. */
const MAX_DAYS = 400;
/** The last day that every month has. */
const LAST_SURE_DAY = 28;

const NICKNAMES: Readonly<Record<string, string>> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
};
const PART = /^(\d{1,2})(?:-(\d{1,2}))?$/;
const STEP = /^\*\/([1-9]\d?)$/;

/** `undefined` where the library must be asked, for what is no schedule too. */
export function readCron(text: string): PlainCron | undefined {
  const fields = (Object.hasOwn(NICKNAMES, text) ? (NICKNAMES[text] ?? text) : text).split(" ");
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = fields;
  if (fields.length !== 5 || (day !== "*" && weekday !== "*")) return undefined;
  const minutes = numbersOf(minute, 0, 59);
  const hours = numbersOf(hour, 0, 23);
  const days = numbersOf(day, 1, 31);
  const months = numbersOf(month, 1, 12);
  const weekdays = numbersOf(weekday, 0, 6);
  if (!minutes || !hours || !days || !months || !weekdays) return undefined;
  // The 30th of February never comes.
  if (month !== "*" && day !== "*" && days.some((each) => each > LAST_SURE_DAY)) return undefined;
  return { minutes, hours, days: new Set(days), months: new Set(months), weekdays: new Set(weekdays) };
}

/** Rising and without doubles; `undefined` for what is not plainly such a field. */
function numbersOf(field: string, first: number, last: number): readonly number[] | undefined {
  const all = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  if (field === "*") return all;
  const step = STEP.exec(field)?.[1];
  if (step !== undefined)
    return Number(step) > last ? undefined : all.filter((each) => (each - first) % Number(step) === 0);
  const wanted = new Set<number>();
  for (const part of field.split(",")) {
    const [, from, to = from] = PART.exec(part) ?? [];
    if (from === undefined || Number(from) < first || Number(to) > last || Number(from) > Number(to)) return undefined;
    for (let each = Number(from); each <= Number(to); each += 1) wanted.add(each);
  }
  return all.filter((each) => wanted.has(each));
}

/** The first instant after `afterMs`, ms since 1970; `undefined`: there is none. */
export function nextOf(cron: PlainCron, afterMs: number): number | undefined {
  const from = Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
  const today = Math.floor(from / DAY_MS) * DAY_MS;
  for (let day = today; day < today + MAX_DAYS * DAY_MS; day += DAY_MS) {
    if (!isOn(cron, day)) continue;
    const found = timesOf(cron, day).find((each) => each >= from);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The last instant before `beforeMs`. */
export function previousOf(cron: PlainCron, beforeMs: number): number | undefined {
  const until = Math.ceil(beforeMs / MINUTE_MS) * MINUTE_MS - MINUTE_MS;
  const today = Math.floor(until / DAY_MS) * DAY_MS;
  for (let day = today; day > today - MAX_DAYS * DAY_MS; day -= DAY_MS) {
    if (!isOn(cron, day)) continue;
    const found = timesOf(cron, day).findLast((each) => each <= until);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isOn({ days, months, weekdays }: PlainCron, dayMs: number): boolean {
  const count = dayMs / DAY_MS;
  const { month, day } = dateOf(count);
  // 1 January 1970 was a Thursday.
  return days.has(day) && months.has(month) && weekdays.has((count + 4) % 7);
}

/** Of a day since 1 January 1970, by the Gregorian calendar (https://howardhinnant.github.io/date_algorithms.html#civil_from_days). */
function dateOf(count: number): { readonly month: number; readonly day: number } {
  const ofEra = (count + 719_468) % 146_097;
  const year = Math.floor(
    (ofEra - Math.floor(ofEra / 1_460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  // Of a year that begins with March.
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const index = Math.floor((5 * ofYear + 2) / 153);
  return { month: index < 10 ? index + 3 : index - 9, day: ofYear - Math.floor((153 * index + 2) / 5) + 1 };
}

/** All of a day, in order. */
function timesOf({ minutes, hours }: PlainCron, dayMs: number): readonly number[] {
  return hours.flatMap((hour) => minutes.map((minute) => dayMs + hour * HOUR_MS + minute * MINUTE_MS));
}
