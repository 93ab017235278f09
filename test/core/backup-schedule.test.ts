/** When a backup is due, and when it is overdue. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  copyDueAt,
  dueAt,
  dueProof,
  isCopyOverdue,
  isIncrementalOverdue,
  isOverdue,
  nextDue,
  type IncrementalFacts,
  type ScheduleFacts,
} from "../../src/core/backup-schedule.ts";

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
  [
    "at once when the last success is of before the clock was set back",
    { lastSuccessMs: 900 * HOUR_MS, lastAttemptMs: 900 * HOUR_MS },
    100 * HOUR_MS,
  ],
  [
    "at its next run when the clock went back by a second alone",
    { lastSuccessMs: 102 * HOUR_MS + 1_000 },
    124 * HOUR_MS,
  ],
  ["never when the schedule has no run", { previousMs: undefined, nextMs: undefined }, undefined],
])("dueAt() is %s", (_, facts, expected) => {
  expect(dueAt({ ...base, ...facts }, 102 * HOUR_MS)).toBe(expected);
});

test.each([
  ["not after a success", 101 * HOUR_MS, 123 * HOUR_MS, false],
  ["not within the hour of its run", 90 * HOUR_MS, 101 * HOUR_MS, false],
  ["after that hour", 90 * HOUR_MS, 101 * HOUR_MS + 1, true],
  ["when the last success is of before the clock was set back", 900 * HOUR_MS, 101 * HOUR_MS + 1, true],
])("isOverdue() is %s", (_, lastSuccessMs, nowMs, expected) => {
  expect(isOverdue({ ...base, lastSuccessMs }, nowMs)).toBe(expected);
});

const often: IncrementalFacts = {
  everyMs: 15 * MINUTE_MS,
  lastAttemptMs: 102 * HOUR_MS,
  lastSuccessMs: 102 * HOUR_MS,
};

test.each<[string, Partial<ScheduleFacts>, Partial<IncrementalFacts>, number, object | undefined]>([
  [
    "an incremental backup its time after the last attempt",
    {},
    {},
    102 * HOUR_MS,
    { kind: "incremental", atMs: 102.25 * HOUR_MS },
  ],
  ["the full one when both are due", {}, {}, 124 * HOUR_MS, { kind: "full", atMs: 124 * HOUR_MS }],
  [
    "the full one when that comes first",
    {},
    { everyMs: 48 * HOUR_MS },
    102 * HOUR_MS,
    { kind: "full", atMs: 124 * HOUR_MS },
  ],
  [
    "the full one alone where none is wanted",
    {},
    { everyMs: undefined },
    102 * HOUR_MS,
    { kind: "full", atMs: 124 * HOUR_MS },
  ],
  [
    "the full one when there was no attempt",
    { lastAttemptMs: undefined, lastSuccessMs: undefined },
    { lastAttemptMs: undefined },
    102 * HOUR_MS,
    { kind: "full", atMs: 100 * HOUR_MS },
  ],
  [
    "an incremental one at once when the clock was set back",
    {},
    {},
    101.5 * HOUR_MS,
    { kind: "incremental", atMs: 101.5 * HOUR_MS },
  ],
])("nextDue() is %s", (_, full, incremental, nowMs, expected) => {
  expect(nextDue({ ...base, ...full }, { ...often, ...incremental }, nowMs)).toEqual(expected);
});

test("dueAt() makes one backup for each run that a clock passes, however it jumps, and none is put off for longer than a period", () => {
  const jumps = fc.array(fc.integer({ min: -400 * 24, max: 400 * 24 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(jumps, (hours) => {
      let nowMs = 1_000 * 24 * HOUR_MS;
      let lastMs: number | undefined;
      for (const jump of hours) {
        nowMs += jump * HOUR_MS;
        const previousMs = Math.floor(nowMs / (24 * HOUR_MS)) * 24 * HOUR_MS;
        const facts = {
          ...base,
          previousMs,
          nextMs: previousMs + 24 * HOUR_MS,
          lastAttemptMs: lastMs,
          lastSuccessMs: lastMs,
        };
        const dueMs = dueAt(facts, nowMs);
        expect(dueMs).toBeLessThanOrEqual(facts.nextMs);
        // Only one of this very day, and of no other time, stands for its run.
        const served = lastMs !== undefined && lastMs >= previousMs && lastMs <= nowMs + MINUTE_MS;
        expect((dueMs ?? 0) <= nowMs).toBe(!served);
        if (!served) lastMs = nowMs;
        expect(dueAt({ ...facts, lastAttemptMs: lastMs, lastSuccessMs: lastMs }, nowMs)).toBe(facts.nextMs);
      }
    }),
  );
});

test("isIncrementalOverdue() is an hour after the time of an incremental backup", () => {
  expect(isIncrementalOverdue(often, 103.25 * HOUR_MS)).toBe(false);
  expect(isIncrementalOverdue(often, 103.25 * HOUR_MS + 1)).toBe(true);
  expect(isIncrementalOverdue({ ...often, everyMs: undefined }, 200 * HOUR_MS)).toBe(false);
});

const LEVELS_ASKED = { daily: "L2", weekly: "L3" } as const;
test.each([
  ["as far as weekly before any proof", {}, "L3"],
  ["not while both are recent, since a higher proof counts for a lower", { L3: 100 }, undefined],
  ["as far as daily a day after the last proof", { L3: 76 }, "L2"],
  ["not a day after the weekly one when the daily one is recent", { L3: 76, L2: 99 }, undefined],
  ["as far as weekly when only the daily one is recent", { L2: 99 }, "L3"],
  ["again when the last proofs are of a future that was none", { L3: 101, L2: 101 }, "L3"],
])("dueProof() is due %s", (_, hours, expected) => {
  const proofs = Object.fromEntries(Object.entries(hours).map(([level, hour]) => [level, { atMs: hour * HOUR_MS }]));
  expect(dueProof(LEVELS_ASKED, proofs, 100 * HOUR_MS)).toBe(expected);
});

const newest = { id: "b", atMs: 100 * HOUR_MS };
test.each([
  ["not before there is a backup", { newest: undefined }, undefined],
  ["at once for a new backup", {}, 100 * HOUR_MS],
  ["not when the newest is there", { upTo: "b" }, undefined],
  ["a minute after the first failure", { lastAttemptMs: 101 * HOUR_MS, failuresInRow: 1 }, 101 * HOUR_MS + 60_000],
  ["15 minutes after the third", { lastAttemptMs: 101 * HOUR_MS, failuresInRow: 3 }, 101.25 * HOUR_MS],
  ["an hour after each later one", { lastAttemptMs: 101 * HOUR_MS, failuresInRow: 40 }, 102 * HOUR_MS],
  [
    "at once when the last attempt is of before the clock was set back",
    { failuresInRow: 1, lastAttemptMs: 900 * HOUR_MS },
    100 * HOUR_MS,
  ],
])("copyDueAt() is %s", (_, more, expected) => {
  const facts = { newest, upTo: "a", lastAttemptMs: undefined, failuresInRow: 0, ...more };
  expect(copyDueAt(facts, 150 * HOUR_MS)).toBe(expected);
});

test("isCopyOverdue() is six hours after a backup that is nowhere else", () => {
  const facts = { newest, upTo: "a", lastAttemptMs: undefined, failuresInRow: 0 };
  expect(isCopyOverdue(facts, 106 * HOUR_MS)).toBe(false);
  expect(isCopyOverdue(facts, 106 * HOUR_MS + 1)).toBe(true);
  expect(isCopyOverdue({ ...facts, upTo: "b" }, 200 * HOUR_MS)).toBe(false);
});

test.each<[string, Partial<Parameters<typeof copyDueAt>[0]>, number | undefined]>([
  ["at once when a source was seen unchanged of what is there", {}, 140 * HOUR_MS],
  ["at no time when the bucket knows that", { unchangedUpToMs: 140 * HOUR_MS }, undefined],
  ["a while after a failure", { failuresInRow: 1, lastAttemptMs: 141 * HOUR_MS }, 141 * HOUR_MS + MINUTE_MS],
  ["since the backup was made when that is not there yet", { upTo: "a" }, 100 * HOUR_MS],
])("copyDueAt() is %s", (_, more, expected) => {
  const seen = { ...newest, unchangedMs: 140 * HOUR_MS };
  const facts = { newest: seen, upTo: "b", lastAttemptMs: undefined, failuresInRow: 0, ...more };
  expect(copyDueAt(facts, 150 * HOUR_MS)).toBe(expected);
});
