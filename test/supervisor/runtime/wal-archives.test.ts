/** What the status says of archived WAL, and what of a worker's end somebody must hear. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BACKUP_EXIT } from "../../../src/core/backup-job.ts";
import { LeftSlots } from "../../../src/supervisor/runtime/left-slots.ts";
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

test("LeftSlots says once, also of a config that was changed while no daemon ran, which slot keeps WAL for nobody", () => {
  const stateDir = mkdtempSync(join(tmpdir(), "left-slots-"));
  try {
    mkdirSync(join(stateDir, "backups"));
    const said: string[] = [];
    const slots = (): LeftSlots => new LeftSlots(stateDir, (level, text) => void said.push(`${level} ${text}`));
    const [ledger, books] = [
      { target: "my-ledger", url: "postgres://keeper@db/ledger" },
      { target: "books", url: "postgres://keeper@db/books" },
    ];
    slots().began(ledger);
    slots().began(books);
    slots().began(ledger);
    slots().adopt([books, ledger]);
    expect(said).toEqual([]);
    slots().adopt([books]);
    expect(said).toEqual([expect.stringContaining("pg_drop_replication_slot('supervisor_my_ledger')")]);
    slots().adopt([{ ...books, url: "postgres://keeper@new/books" }]);
    expect(said[1]).toContain("books is received no more from postgres://keeper@db/books, whose server keeps it");
    slots().adopt([]);
    expect(said).toHaveLength(2);
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
});
