/** What is remembered of a target's backups: incremental ones never stand in for full ones. */
import { expect, test } from "vitest";
import { fullRuns, withAttempt, type Attempt, type BackupRecord } from "../../src/core/backup-record.ts";

const at = (hour: number): string => `2026-01-01T0${hour}:00:00.000Z`;
const success = (kind: "full" | "delta", hour: number): Attempt => ({
  kind: "success",
  success: {
    at: at(hour),
    id: `state-${kind}-20260101T0${hour}0000Z-abcdef`,
    snapshotAt: at(hour),
    durationMs: 1,
    rawBytes: 1,
    storedBytes: 1,
    level: "L1",
  },
});
const failure: Attempt = { kind: "failure", stage: "source", reason: "it is locked" };
const after = (before: BackupRecord | undefined, hour: number, attempt: Attempt, incremental: boolean): BackupRecord =>
  withAttempt(before, { target: "state", store: "local", incremental }, at(hour), attempt);

test("withAttempt() keeps the runs of full backups apart from incremental ones, whatever these do", () => {
  const full = after(undefined, 1, success("full", 1), false);
  const expected = { lastAttemptAt: at(1), lastSuccessAt: at(1), failuresInRow: 0 };
  const delta = after(full, 2, success("delta", 2), true);
  expect(delta).toMatchObject({ lastAttemptAt: at(2), lastSuccess: { at: at(2) }, full: expected });
  const failed = after(delta, 3, failure, true);
  expect(failed).toMatchObject({ lastAttemptAt: at(3), failuresInRow: 1, full: expected });
  const failedFull = after(failed, 4, failure, false);
  expect(fullRuns(failedFull)).toEqual({ lastAttemptAt: at(4), lastSuccessAt: at(1), failuresInRow: 1 });
  expect(fullRuns(after(failedFull, 5, success("delta", 5), true))).toMatchObject({ failuresInRow: 1 });
});

test("withAttempt() counts a full backup that was made in place of an incremental one", () => {
  const record = after(undefined, 1, success("full", 1), true);
  expect(fullRuns(record)).toEqual({ lastAttemptAt: at(1), lastSuccessAt: at(1), failuresInRow: 0 });
});

test("fullRuns() of a record that does not tell them apart takes all of them", () => {
  const { full: _, ...old } = after(undefined, 1, success("full", 1), false);
  expect(fullRuns(old)).toEqual({ lastAttemptAt: at(1), lastSuccessAt: at(1), failuresInRow: 0 });
});
