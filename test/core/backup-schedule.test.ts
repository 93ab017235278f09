/** When a backup is due, and when it is overdue. */
import { expect, test } from "vitest";
import { dueAt, isOverdue, type ScheduleFacts } from "../../src/core/backup-schedule.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const base: ScheduleFacts = {
  previousMs: 100 * HOUR_MS,
  nextMs: 124 * HOUR_MS,
  lastAttemptMs: 101 * HOUR_MS,
  lastSuccessMs: 101 * HOUR_MS,
  failuresInRow: 0,
  delayMs: 0,
};

test.each<[string, Partial<ScheduleFacts>, number | undefined]>([
  ["at its next run after a success", {}, 124 * HOUR_MS],
  ["later by its part of the jitter", { delayMs: MINUTE_MS }, 124 * HOUR_MS + MINUTE_MS],
  ["at once when a run was missed", { lastAttemptMs: 90 * HOUR_MS, lastSuccessMs: 90 * HOUR_MS }, 100 * HOUR_MS],
  ["at once when there was none yet", { lastAttemptMs: undefined, lastSuccessMs: undefined }, 100 * HOUR_MS],
  ["a minute after the first failure", { lastSuccessMs: 90 * HOUR_MS, failuresInRow: 1 }, 101 * HOUR_MS + MINUTE_MS],
  ["15 minutes after the third", { lastSuccessMs: 90 * HOUR_MS, failuresInRow: 3 }, 101 * HOUR_MS + 15 * MINUTE_MS],
  ["at its next run after the fourth", { lastSuccessMs: 90 * HOUR_MS, failuresInRow: 4 }, 124 * HOUR_MS],
  ["never when the schedule has no run", { previousMs: undefined, nextMs: undefined }, undefined],
])("dueAt() is %s", (_, facts, expected) => {
  expect(dueAt({ ...base, ...facts })).toBe(expected);
});

test.each([
  ["not after a success", 101 * HOUR_MS, 123 * HOUR_MS, false],
  ["not within the hour of its run", 90 * HOUR_MS, 101 * HOUR_MS, false],
  ["after that hour", 90 * HOUR_MS, 101 * HOUR_MS + 1, true],
])("isOverdue() is %s", (_, lastSuccessMs, nowMs, expected) => {
  expect(isOverdue({ ...base, lastSuccessMs }, nowMs)).toBe(expected);
});
