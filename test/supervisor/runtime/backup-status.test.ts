/** What status says of a target's backups comes from its record, which outlives every process. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { DiskRoom } from "../../../src/core/backup-room.ts";
import type { BackupRecord } from "../../../src/core/backup-record.ts";
import { readRecord } from "../../../src/supervisor/runtime/backup-run.ts";
import { backupStatus } from "../../../src/supervisor/runtime/backup-status.ts";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";

const at = (hour: number): string => `2026-01-01T0${hour}:00:00.000Z`;
const place = { target: "conf", store: "local" };

/** A config with one target, and the state folder with this record of it. */
function stage(record?: BackupRecord, disk?: DiskRoom) {
  const folder = mkdtempSync(join(tmpdir(), "status-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "supervisor.yaml");
  const backups = {
    stores: { local: { kind: "directory", path: join(folder, "store") } },
    targets: { conf: { kind: "files", paths: [folder] } },
  };
  writeFileSync(file, JSON.stringify({ version: 1, stateDir: folder, bots: { a: { command: ["true"] } }, backups }));
  mkdirSync(join(folder, "backups"));
  if (record !== undefined) writeFileSync(join(folder, "backups", "conf@local.json"), JSON.stringify(record));
  const loaded = loadConfig({ file, env: {}, cwd: folder });
  const read = readRecord(loaded.dirs.stateDir, place);
  return backupStatus(loaded, place, { record: read, dueMs: undefined, overdue: false, running: false, disk });
}

test("backupStatus() tells attempts, failures, proofs, sizes and what is stored as the record has them", () => {
  const record: BackupRecord = {
    version: 1,
    ...place,
    lastAttemptAt: at(5),
    lastSuccess: null,
    lastError: { stage: "space", reason: "full" },
    failuresInRow: 1,
    failures: { space: 2, source: 1 },
    stood: { L1: at(4), L2: at(2) },
    sizes: {
      full: {
        id: "conf-full-20260101T040000Z-abcdef",
        rawBytes: 40,
        storedBytes: 30,
        compress: "zstd",
        shrunk: { fromBytes: 100, toBytes: 40 },
      },
    },
    stock: {
      tiers: { hourly: 1, daily: 2, weekly: 3, monthly: 4, other: 5 },
      storedBytes: 300,
      oldestAt: at(1),
      newestAt: at(4),
      walBytes: 50,
      disk: { freeBytes: 70, reserveBytes: 80 },
    },
  };
  const disk = { totalBytes: 1_000, freeBytes: 60, totalFiles: undefined, freeFiles: undefined };
  expect(stage(record, disk)).toMatchObject({
    lastAttemptAt: at(5),
    failures: 3,
    failuresByStage: { space: 2, source: 1 },
    stoodAt: { L0: at(4), L1: at(4), L2: at(2) },
    full: { full: { sizeBytes: 30, shrunk: true } },
    stored: {
      tiers: { hourly: 1, daily: 2, weekly: 3, monthly: 4, other: 5 },
      bytes: 300,
      walBytes: 50,
      oldestAt: at(1),
      newestAt: at(4),
      // As the disk is now.
      freeBytes: 60,
      reserveBytes: 200,
    },
  });
  expect(stage(record).stored).toMatchObject({ bytes: 300, freeBytes: null, reserveBytes: null });
});

test("backupStatus() claims nothing before the first run", () => {
  const status = stage();
  expect(status).toMatchObject({ lastAttemptAt: null, failures: 0, failuresByStage: {} });
  expect([status.stoodAt, status.full, status.stored]).toEqual([undefined, undefined, undefined]);
});

test.each([
  ["conf-full-20260101T040000Z-abcdef", false],
  ["conf-full-20260101T010000Z-abcdef", true],
])("backupStatus() with %s damaged says of the last backup that it is verified: %o", (id, verified) => {
  const last = { at: at(4), id: "conf-full-20260101T040000Z-abcdef", snapshotAt: at(4), durationMs: 1 } as const;
  const record: BackupRecord = {
    version: 1,
    ...place,
    lastAttemptAt: at(4),
    lastSuccess: { ...last, rawBytes: 1, storedBytes: 1, level: "L1" },
    lastError: null,
    failuresInRow: 0,
    failures: {},
    damaged: [{ id, reason: "a bit has flipped" }],
  };
  expect(stage(record)).toMatchObject({ lastSuccessAt: at(4), verified });
});
