/** What the status says of archived WAL. */
import { expect, test } from "vitest";
import { withoutWorker } from "../../../src/supervisor/runtime/wal-archives.ts";

test("withoutWorker() no longer says that WAL is paused for want of room, and not how far behind it is", () => {
  const wal = { slotRetainedBytes: 1, lastSegment: null, lagBytes: 5, gaps: 0, paused: true };
  expect(withoutWorker(wal)).toEqual({ ...wal, lagBytes: null, paused: false });
  expect(withoutWorker(undefined)).toBeUndefined();
});
