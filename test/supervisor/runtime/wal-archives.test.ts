/** What the status says of archived WAL, and what of a worker's end somebody must hear. */
import { expect, test } from "vitest";
import { BACKUP_EXIT } from "../../../src/core/backup-job.ts";
import { walTroubleOf, withoutWorker } from "../../../src/supervisor/runtime/wal-archives.ts";

test("withoutWorker() no longer says that WAL is paused for want of room, and not how far behind it is", () => {
  const wal = { slotRetainedBytes: 1, lastSegment: null, lagBytes: 5, gaps: 0, paused: true };
  expect(withoutWorker(wal)).toEqual({ ...wal, lagBytes: null, paused: false });
  expect(withoutWorker(undefined)).toBeUndefined();
});

test("walTroubleOf() says nothing of a worker that has archived for as long as one may run, and why one hung", () => {
  const overran = { code: BACKUP_EXIT.deadline, failure: "the worker overran its deadline" };
  expect(walTroubleOf({ ...overran, killed: "deadline" })).toBeUndefined();
  expect(walTroubleOf({ code: BACKUP_EXIT.deadline, failure: "it hung", killed: "hung" })).toBe("it hung");
  expect(walTroubleOf({ code: BACKUP_EXIT.busy, failure: "lock: another archives it" })).toBeUndefined();
});
