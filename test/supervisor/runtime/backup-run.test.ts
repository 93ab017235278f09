/** What the daemon and the commands make of the end of a worker; one that hangs is a real one, stopped amid its work. */
import { Database } from "bun:sqlite";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { BACKUP_EXIT, type BackupJob } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import type { RemoteJob } from "../../../src/core/backup-remote.ts";
import { isLive } from "../../../src/platform/proc.ts";
import { isAtWork, type Worker } from "../../../src/platform/worker.ts";
import {
  recordPath,
  readRecord,
  runBackup,
  runDeed,
  UNMARKED,
  settleOnServer,
  troubleOf,
} from "../../../src/supervisor/runtime/backup-run.ts";
import { freezerMount, makeFreezer } from "../../chaos/freezer.ts";
import { S3Server } from "../../harness/s3-server.ts";
import { until } from "../../platform/until.ts";
import { scratchFolder } from "../config/folder.ts";

/** Shortened: a worker is then missed in two seconds. */
const HANG = { lookMs: 50, stoppedMs: 2_000, hungMs: 2_000, waitMs: undefined };
const program = [process.execPath, join(import.meta.dirname, "../../../src/supervisor/main.ts")];
const PLACE = { target: "state", store: "local" };

test("troubleOf() is why a deed failed, but not that another process is at it", () => {
  expect(troubleOf({ code: BACKUP_EXIT.space, failure: "store: the disk is full" })).toBe("store: the disk is full");
  expect(troubleOf({ code: BACKUP_EXIT.busy, failure: "lock: another backup is under way" })).toBeUndefined();
  expect(troubleOf({ code: BACKUP_EXIT.done, failure: undefined })).toBeUndefined();
});

function jobIn(folder: string): BackupJob {
  const path = join(folder, "bot.db");
  using database = new Database(path);
  database.exec("CREATE TABLE orders (id INTEGER)");
  return {
    version: 1,
    target: { kind: "sqlite", name: PLACE.target, path },
    store: PLACE.store,
    folder: join(folder, "store"),
    trigger: "schedule",
    incremental: false,
    compress: "none",
    recipients: [],
    verify: "L1",
    retention: null,
    tool: { name: "supervisor", version: "0" },
    record: recordPath(folder, PLACE),
  };
}

test("runBackup() ends a worker that was stopped amid its work; that is a failed run with its reason, and the next one makes the backup", async () => {
  const folder = mkdtempSync(join(tmpdir(), "backup-run-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const job = jobIn(folder);
  let pid = 0;
  const end = await runBackup(job, {
    ...UNMARKED,
    clock: systemClock,
    program: [process.execPath, join(import.meta.dirname, "../../fixtures/backup-and-stop.ts"), "captured"],
    hang: HANG,
    onStart: (worker) => (pid = worker.pid),
    onLine: () => {},
  });
  const failure = "the worker hung and was ended: it was stopped for 2 s (SIGSTOP)";
  expect(end).toEqual({ code: BACKUP_EXIT.deadline, failure, killed: "hung" });
  expect(isLive(pid)).toBe(false);
  const reason = { stage: "store", reason: failure };
  expect(readRecord(folder, PLACE)).toMatchObject({ lastSuccess: null, lastError: reason, failuresInRow: 1 });
  // What it had begun is no backup, and goes with the next run.
  const named = (): string[] =>
    readdirSync(join(job.folder, PLACE.target))
      .map((name) => name.replace(/-.*/, ""))
      .toSorted();
  expect(named()).toEqual([".lock", ".tmp"]);
  expect(await runBackup(job, { ...UNMARKED, clock: systemClock, program, onLine: () => {} })).toEqual({
    code: 0,
    failure: undefined,
  });
  expect(named()).toEqual([".lock", "state"]);
  expect(readRecord(folder, PLACE)).toMatchObject({ lastError: null, failuresInRow: 0 });
});

test.runIf(freezerMount !== undefined)(
  "runBackup() counts a worker that was killed and does not die as a failed run",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "backup-run-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    using freezer = makeFreezer();
    const onStart = (worker: Worker): void => {
      freezer.freeze(worker.pid);
      worker.kill();
    };
    const end = await runBackup(jobIn(folder), { ...UNMARKED, clock: systemClock, program, onStart, onLine: () => {} });
    const failure = "the worker was ended by SIGKILL";
    expect(end).toEqual({ code: BACKUP_EXIT.space, failure, killed: "signal" });
    expect(readRecord(folder, PLACE)).toMatchObject({ lastError: { reason: failure } });
  },
);

test("runDeed() leaves a worker that waits for a store and turns its loop to its deadline", async () => {
  await using store = await S3Server.start();
  store.fail("hang", "PUT", /check/);
  const job: RemoteJob = {
    deed: "probe",
    version: 1,
    target: "state",
    store: "vault",
    remote: store.settings({ timeoutMs: 60_000 }),
  };
  const options = { ...UNMARKED, clock: systemClock, program, hang: HANG, onLine: () => {}, deadlineMs: 6_000 };
  expect(await runDeed("remote-backups", job, options)).toMatchObject({ killed: "deadline" });
  expect(store.sent("PUT")).toHaveLength(1);
});

const LEDGER = [
  "version: 1",
  "bots: { a: { command: [sh] } }",
  "backups:",
  "  stores: { local: { kind: directory, path: store } }",
  "  targets: { ledger: { kind: postgres, url: 'postgres://bot@/book' } }",
  "",
].join("\n");
const scratch = scratchFolder();

test.runIf(freezerMount !== undefined)(
  "settleOnServer() begins no other worker beside one that was killed and does not die, and one once it is gone",
  async () => {
    using freezer = makeFreezer();
    const loaded = scratch.load(LEDGER);
    const pids: number[] = [];
    const settle = (onStart: (worker: Worker) => void = () => {}) =>
      settleOnServer(loaded, "ledger", {
        clock: systemClock,
        program: ["/bin/sh", "-c", "sleep 600"],
        hang: { ...HANG, stoppedMs: 500, hungMs: 500 },
        onStart: (worker) => {
          pids.push(worker.pid);
          onStart(worker);
        },
      });
    const failure = /^cannot end the restore of ledger: the worker hung and was ended/;
    expect(await settle(({ pid }) => freezer.freeze(pid))).toEqual({
      settled: undefined,
      failure: expect.stringMatching(failure),
    });
    expect(await settle()).toEqual({ settled: undefined, failure: undefined });
    expect([pids.length, isLive(pids[0] ?? 0)]).toEqual([1, true]);
    freezer.thaw();
    await until("it is gone", () => !isAtWork("the restore of ledger"));
    const next = await settle(({ kill }) => kill());
    expect(next).toMatchObject({ failure: expect.stringContaining("SIGKILL") });
    expect(pids).toHaveLength(2);
  },
);
