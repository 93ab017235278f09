/** What the daemon makes of the end of a worker. */
import { expect, test } from "vitest";
import { BACKUP_EXIT } from "../../../src/core/backup-job.ts";
import { troubleOf } from "../../../src/supervisor/runtime/backup-run.ts";

test("troubleOf() is why a deed failed, but not that another process is at it", () => {
  expect(troubleOf({ code: BACKUP_EXIT.space, failure: "store: the disk is full" })).toBe("store: the disk is full");
  expect(troubleOf({ code: BACKUP_EXIT.busy, failure: "lock: another backup is under way" })).toBeUndefined();
  expect(troubleOf({ code: BACKUP_EXIT.done, failure: undefined })).toBeUndefined();
});
