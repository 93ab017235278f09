/** Plain schedules are read without the library, and mean what it takes them for. */
import { Cron } from "croner";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nextOf, previousOf, readCron } from "../../src/core/cron.ts";
import { runsAround } from "../../src/supervisor/runtime/config/cron.ts";

const number = (min: number, max: number) => fc.integer({ min, max }).map(String);
const field = (min: number, max: number) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant("*") },
    { weight: 3, arbitrary: number(min, max) },
    fc.integer({ min: 1, max: 60 }).map((step) => `*/${step}`),
    fc
      .array(
        fc.oneof(
          number(min, max),
          fc.tuple(number(min, max), number(min, max)).map((ends) => ends.join("-")),
        ),
        {
          minLength: 1,
          maxLength: 3,
        },
      )
      .map((parts) => parts.join(",")),
  );
const schedule = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom("@hourly", "@daily", "@weekly", "@monthly") },
  {
    weight: 9,
    arbitrary: fc
      .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
      .map((fields) => fields.join(" ")),
  },
);
/** Full minutes, what lies just beside them, and anything. */
const instant = fc
  .tuple(
    fc.integer({ min: Date.UTC(2020, 0) / 60_000, max: Date.UTC(2040, 0) / 60_000 }),
    fc.constantFrom(0, 0, 1, -1, 30_000, 59_999),
  )
  .map(([minute, beside]) => minute * 60_000 + beside);

const asked = (text: string): Cron => new Cron(text, { utcOffset: 0, paused: true });

test("nextOf() and previousOf() find what the library finds, for each schedule that is taken for plain", () => {
  let taken = 0;
  fc.assert(
    fc.property(schedule, instant, (text, atMs) => {
      const cron = readCron(text);
      if (cron === undefined) return;
      taken += 1;
      const at = new Date(atMs);
      expect([text, atMs, nextOf(cron, atMs), previousOf(cron, atMs)]).toEqual([
        text,
        atMs,
        asked(text).nextRun(at)?.getTime(),
        asked(text).previousRuns(1, at)[0]?.getTime(),
      ]);
    }),
    { numRuns: 600 },
  );
  // Else the test would say nothing of what is taken.
  expect(taken).toBeGreaterThan(50);
});

test.each(["0 2 * * *", "*/15 * * * *", "30 1,13 * * *", "0 9-17 * * 1-5", "0 0 31 * *", "@daily", "@monthly"])(
  "readCron() takes %s",
  (text) => {
    expect(readCron(text)).toBeDefined();
  },
);

test.each([
  "0 0 30 2 *",
  "0 0 1 * 1",
  "0 0 * * MON",
  "60 0 * * *",
  "0 0 0 * *",
  "* * * *",
  "@yearly",
  "5-1 * * * *",
  "0 0 L * *",
  "",
])("readCron() leaves %j to the library", (text) => {
  expect(readCron(text)).toBeUndefined();
});

test.each(["UTC", "Europe/London"])(
  "runsAround() in %s counts a run of this very millisecond as one that has come",
  (timezone) => {
    const [before, at, next] = [4, 5, 6].map((day) => Date.UTC(2026, 2, day));
    const around = (ms: number) => runsAround("0 0 * * *", timezone, new Date((at ?? 0) + ms));
    expect(around(-1)).toEqual({ previousMs: before, nextMs: at });
    expect(around(0)).toEqual({ previousMs: at, nextMs: next });
    expect(around(1)).toEqual({ previousMs: at, nextMs: next });
  },
);
