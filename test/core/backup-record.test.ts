/** What is remembered of a target's backups: incremental ones never stand in for full ones. */
import { expect, test } from "vitest";
import {
  fullRuns,
  shrinkOf,
  stoodAt,
  withAttempt,
  withDamaged,
  withProof,
  type Attempt,
  type BackupRecord,
} from "../../src/core/backup-record.ts";

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

/** One that this run has made. */
const made = (kind: "full" | "delta" | "base", hour: number, rawBytes: number): Attempt => ({
  kind: "success",
  success: {
    at: at(hour),
    id: `state-${kind}-20260101T0${hour}0000Z-abcdef`,
    snapshotAt: at(hour),
    durationMs: 1,
    rawBytes,
    storedBytes: rawBytes,
    level: "L1",
  },
  made: { compress: "zstd" },
});

test("withAttempt() says that a full backup has shrunk against the full one before, and compares no other kind with it", () => {
  const full = after(undefined, 1, made("full", 1, 1_000), false);
  const delta = after(full, 2, made("delta", 2, 10), true);
  const base = after(delta, 3, made("base", 3, 50), false);
  expect([delta.sizes?.full, base.sizes?.full]).toEqual([full.sizes?.full, full.sizes?.full]);
  expect([full.sizes?.full?.shrunk, base.sizes?.base?.shrunk]).toEqual([null, null]);
  const small = after(base, 4, made("full", 4, 499), false);
  expect(small.sizes?.full).toMatchObject({ rawBytes: 499, shrunk: { fromBytes: 1_000, toBytes: 499 } });
  // It is the measure for the next one.
  expect(after(small, 5, made("full", 5, 400), false).sizes?.full?.shrunk).toBeNull();
  expect(after(small, 5, failure, false).sizes).toEqual(small.sizes);
});

const size = (rawBytes: number, storedBytes: number, compress: "zstd" | "none" = "zstd") => ({
  rawBytes,
  storedBytes,
  compress,
});

test.each([
  ["half of the data", size(100, 50), size(50, 50), null],
  ["less than half of the data", size(100, 50), size(49, 49), { fromBytes: 100, toBytes: 49 }],
  ["less than half of what is stored", size(100, 50), size(100, 24), { fromBytes: 50, toBytes: 24 }],
  ["the same, packed for the first time", size(100, 100, "none"), size(100, 24), null],
  ["nothing to compare with", undefined, size(1, 1), null],
] as const)("shrinkOf() judges %s", (_, before, now, shrunk) => {
  expect(shrinkOf(before, now)).toEqual(shrunk);
});

test("withAttempt() keeps the proofs of before, so that a weekly one is not made anew after each backup", () => {
  const proof = { at: at(2), id: "state-full-20260101T010000Z-abcdef", ok: true, detail: null };
  const proven = withProof(after(undefined, 1, made("full", 1, 1), false), "L3", proof);
  expect(after(proven, 3, made("full", 3, 1), false).proofs).toEqual({ L3: proof });
  expect(after(proven, 3, failure, false).proofs).toEqual({ L3: proof });
});

test("withDamaged() keeps the newest five with short reasons, over later attempts, and forgets them when none is left", () => {
  const record = after(undefined, 1, made("full", 1, 1), false);
  const found = Array.from({ length: 7 }, (_, n) => ({ id: `b${n}`, reason: "x".repeat(1_000) }));
  const { damaged = [] } = after(withDamaged(record, found), 2, made("full", 1, 1), false);
  expect(damaged.map(({ id }) => id)).toEqual(["b2", "b3", "b4", "b5", "b6"]);
  expect(damaged[0]?.reason).toHaveLength(300);
  expect(withDamaged(withDamaged(record, found), [])).toEqual(record);
});

test("stoodAt() counts a proof for the levels below it, a failed one for none, and a copy for none", () => {
  const full = after(undefined, 1, made("full", 1, 1), false);
  const proof = { at: at(2), id: "state-full-20260101T010000Z-abcdef", ok: true, detail: null };
  const proven = withProof(full, "L2", proof);
  expect((["L0", "L1", "L2", "L3"] as const).map((level) => stoodAt(proven, level))).toEqual([
    at(2),
    at(2),
    at(2),
    undefined,
  ]);
  expect(stoodAt(after(proven, 3, made("full", 3, 1), false), "L1")).toBe(at(3));
  expect(stoodAt(withProof(full, "L2", { ...proof, ok: false }), "L2")).toBeUndefined();
  expect(stoodAt(after(undefined, 1, success("full", 1), false), "L0")).toBeUndefined();
});

const unchanged = (hour: number): Attempt => {
  const done = success("full", 1);
  if (done.kind !== "success") throw new Error("unreachable");
  return { kind: "success", success: { ...done.success, at: at(hour), unchangedAt: at(hour) }, unchanged: true };
};

test("withAttempt() of a source that was seen unchanged moves the success and its proof on, and keeps the sizes of what was made", () => {
  const before = after(undefined, 1, made("full", 1, 100), false);
  const record = after(before, 3, unchanged(3), false);
  expect(record).toMatchObject({
    lastSuccess: { at: at(3), snapshotAt: at(1), unchangedAt: at(3) },
    stood: { L1: at(3) },
    full: { lastSuccessAt: at(3) },
  });
  expect(record.sizes).toEqual(before.sizes);
});

test("withAttempt() takes no full backup for made when an incremental run found that the last one does", () => {
  const before = after(after(undefined, 1, made("full", 1, 100), false), 2, failure, false);
  const record = after(before, 3, unchanged(3), true);
  expect(record).toMatchObject({ lastAttemptAt: at(3), lastSuccess: { at: at(3) }, failuresInRow: 0 });
  expect(fullRuns(record)).toEqual({ lastAttemptAt: at(2), lastSuccessAt: at(1), failuresInRow: 1 });
});

test("withAttempt() of a full run that found its source unchanged compares what it found with itself, and an incremental one does not", () => {
  const small = after(after(undefined, 0, made("full", 0, 1_000), false), 1, made("full", 1, 100), false);
  expect(small.sizes?.full?.shrunk).toEqual({ fromBytes: 1_000, toBytes: 100 });
  expect(after(small, 3, unchanged(3), true).sizes).toEqual(small.sizes);
  expect(after(small, 3, unchanged(3), false).sizes?.full).toEqual({ ...small.sizes?.full, shrunk: null });
});
