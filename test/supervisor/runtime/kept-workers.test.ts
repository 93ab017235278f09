/** Workers that another supervisor began: real ones, stopped amid their work, of one that died and of the version before an upgrade. */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { isLive, readStat } from "../../../src/platform/proc.ts";
import { strayWorkers, workMark } from "../../../src/platform/stray-workers.ts";
import { isAtWork } from "../../../src/platform/worker.ts";
import { Backups } from "../../../src/supervisor/runtime/backups.ts";
import {
  backupJob,
  keyOf,
  readRecord,
  runBackup,
  UNMARKED,
  type Place,
} from "../../../src/supervisor/runtime/backup-run.ts";
import type { LoadedConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { takeProcesses } from "../../../src/supervisor/runtime/handover.ts";
import { S3Server } from "../../harness/s3-server.ts";
import { FIXTURES, until } from "../../platform/until.ts";
import { scratchFolder } from "../config/folder.ts";

/** Shortened: who is stopped is missed in a second. */
const HANG = { lookMs: 50, stoppedMs: 1_000, hungMs: 1_000, waitMs: undefined };
const PROGRAM = [process.execPath, join(import.meta.dirname, "../../../src/supervisor/main.ts")];
const folder = scratchFolder();

/** An installation with one target, which is due. */
function load(name: string): LoadedConfig {
  folder.write(`${name}/x`, "");
  using database = new Database(join(folder.dir, name, "bot.db"));
  database.exec("CREATE TABLE orders (id INTEGER)");
  return folder.load(
    [
      "version: 1",
      `stateDir: ${name}`,
      "bots: { a: { command: [sh] } }",
      "backups:",
      `  stores: { local: { kind: directory, path: ${name}/store } }`,
      `  targets: { ${name}: { kind: sqlite, path: ${name}/bot.db, schedule: "0 0 1 1 *", jitter: 0s } }`,
      "",
    ].join("\n"),
  );
}

/** The daemon's backups, on a clock that can be set forward. */
function backupsOf(loaded: LoadedConfig) {
  const said: string[] = [];
  let forwardMs = 0;
  const clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + forwardMs,
    wallTime: () => new Date(systemClock.wallTime().getTime() + forwardMs),
  };
  const backups = new Backups({
    loaded,
    clock,
    version: "0",
    workers: { hang: HANG, program: PROGRAM },
    random: () => 0,
    say: (level, text) => void said.push(`${level} ${text}`),
    start: () => undefined,
    startWaiting: () => undefined,
  });
  return {
    backups,
    clock,
    said,
    forward: (ms: number) => void (forwardMs += ms),
    look: () => Array.from({ length: 10 }).forEach(() => backups.tick()),
  };
}

/** A worker that a supervisor has left, which is dead by now. */
async function leaveWorker(loaded: LoadedConfig, place: Place, incremental = false): Promise<number> {
  const job = backupJob(loaded, place, { trigger: "schedule", version: "0", incremental });
  const supervisor = Bun.spawn([process.execPath, join(FIXTURES, "backup-and-leave.ts"), loaded.dirs.stateDir], {
    stdio: [Buffer.from(JSON.stringify(job)), "pipe", "inherit"],
  });
  const pid = Number(await new Response(supervisor.stdout).text());
  await supervisor.exited;
  onTestFinished(() => {
    if (isLive(pid)) process.kill(pid, "SIGKILL");
  });
  return pid;
}

test(
  "Backups goes on with a worker that a dead supervisor has left: told with its pid, ended when it hangs, a failed run, and tried again",
  { timeout: 60_000 },
  async () => {
    const loaded = load("left");
    const place = { target: "left", store: "local" };
    const pid = await leaveWorker(loaded, place);
    const { backups, said, look, forward } = backupsOf(loaded);
    look();
    const seen = expect.stringMatching(/pid \d+, at work since [-\d]+T[:\d]+Z\)/);
    expect(said).toEqual([seen]);
    expect(said[0]).toContain(`info a worker of a supervisor that died is still at left@local (backup, pid ${pid},`);
    expect(backups.status()).toMatchObject([{ running: true, lastError: null }]);
    await until("it is ended", () => said.length > 1);
    const failure = /^alert cannot back up left in local: (the worker hung and was ended: .*)$/.exec(
      said[1] ?? "",
    )?.[1];
    expect(failure).toMatch(new RegExp(`: it was stopped for 1 s \\(SIGSTOP\\) \\(pid ${pid}, at work since .*Z\\)$`));
    expect(isLive(pid)).toBe(false);
    await until("its place is free", () => !isAtWork(keyOf(place)));
    const { stateDir } = loaded.dirs;
    expect(readRecord(stateDir, place)).toMatchObject({ failuresInRow: 1, lastError: { reason: failure } });
    look();
    expect(backups.status()).toMatchObject([{ running: false }]);
    forward(61_000);
    look();
    await until("the next run has made it", () => readRecord(stateDir, place)?.failuresInRow === 0);
    expect(readdirSync(join(stateDir, "store", "left")).filter((name) => name.startsWith(".tmp"))).toEqual([]);
    await vi.waitFor(() => expect(said.at(-1)).toMatch(/^info backup left-full-\S+ is stored in local/), 10_000);
    expect(said.filter((text) => text.startsWith("alert"))).toHaveLength(1);
  },
);

test(
  "Backups looks for who holds a place that was left while it ran, as by a command that was killed",
  { timeout: 60_000 },
  async () => {
    const loaded = load("late");
    const place = { target: "late", store: "local" };
    const { backups, said, look, forward } = backupsOf(loaded);
    backups.kept.look();
    const pid = await leaveWorker(loaded, place);
    look();
    expect(said).toEqual([]);
    await until("a run has found it", () => {
      look();
      return backups.status()[0]?.running === false;
    });
    forward(61_000);
    look();
    expect(said[0]).toContain(`is still at late@local (backup, pid ${pid}, `);
    await until("it is ended", () => said.length > 1);
    expect(said[1]).toMatch(/^alert cannot back up late in local: the worker hung and was ended/);
  },
);

test("Backups counts a worker that was left and that somebody else kills as a failed run, as it wrote no word of its end", async () => {
  const loaded = load("killed");
  const place = { target: "killed", store: "local" };
  const pid = await leaveWorker(loaded, place);
  const { backups, said, look } = backupsOf(loaded);
  look();
  expect(backups.status()).toMatchObject([{ running: true }]);
  process.kill(pid, "SIGKILL");
  await until("it is missed", () => said.length > 1);
  const failure = `the worker left no word of how it ended: it was killed, or the disk did not take its record (pid ${pid}, at work since `;
  expect(said[1]).toContain(`alert cannot back up killed in local: ${failure}`);
  expect(readRecord(loaded.dirs.stateDir, place)).toMatchObject({
    failuresInRow: 1,
    lastError: { stage: "store", reason: expect.stringContaining(failure) },
  });
});

test("Backups does not count an incremental backup that a dead supervisor has left, and that hangs, as a full one", async () => {
  const loaded = load("delta");
  const place = { target: "delta", store: "local" };
  const { stateDir } = loaded.dirs;
  const full = backupJob(loaded, place, { trigger: "manual", version: "0" });
  const options = { ...UNMARKED, clock: systemClock, program: PROGRAM, onLine: () => {} };
  expect(await runBackup(full, options)).toMatchObject({ code: 0 });
  const before = readRecord(stateDir, place);
  await leaveWorker(loaded, place, true);
  const { said, look } = backupsOf(loaded);
  look();
  await until("it is ended", () => said.length > 1);
  expect(readRecord(stateDir, place)).toMatchObject({ failuresInRow: 1, full: before?.full });
});

test("Backups ends a worker that was left and hangs also where the config has no backups section any more", async () => {
  const loaded = load("without");
  const place = { target: "without", store: "local" };
  mkdirSync(join(loaded.dirs.stateDir, "backups"), { recursive: true });
  const pid = await leaveWorker(loaded, place);
  const bare = folder.load("version: 1\nstateDir: without\nbots: { a: { command: [sh] } }\n");
  const { said, look } = backupsOf(bare);
  look();
  await until("it is ended", () => said.length > 1);
  expect(said[1]).toMatch(/^alert cannot back up without in local: the worker hung and was ended/);
  expect(isLive(pid)).toBe(false);
});

test("Backups looks once an hour for a worker that nobody runs into", async () => {
  const loaded = load("unmet");
  const { backups, said } = backupsOf(loaded);
  backups.kept.look();
  const pid = await leaveWorker(loaded, { target: "unmet", store: "local" });
  for (let looks = 0; looks < 358; looks += 1) backups.kept.look();
  expect(said).toEqual([]);
  backups.kept.look();
  expect(said[0]).toContain(`is still at unmet@local (backup, pid ${pid}, `);
});

test.each([
  ["verify", "the proof of"],
  ["prune", "the pruning of"],
])(
  "supervisor backup %s of a bucket leaves a worker that the daemon finds when it is killed",
  { timeout: 60_000 },
  async (verb, what) => {
    await using store = await S3Server.start();
    store.fail("hang", "GET", /^/, 1_000);
    const name = `bucket-${verb}`;
    folder.write(`${name}/key`, "AKTESTKEY");
    folder.write(`${name}/secret`, "test-secret/with+signs=");
    folder.write(
      `${name}/supervisor.yaml`,
      [
        "version: 1",
        "bots: { a: { command: [sh] } }",
        "backups:",
        "  stores:",
        "    local: { kind: directory, path: store }",
        `    away: { kind: s3, endpoint: "${store.endpoint}", region: eu-test-1, bucket: vault, accessKeyIdFile: key, secretAccessKeyFile: secret }`,
        "  targets: { conf: { kind: files, paths: [x] } }",
        "",
      ].join("\n"),
    );
    const cwd = join(folder.dir, name);
    const stateDir = join(cwd, ".supervisor");
    await using command = Bun.spawn([...PROGRAM, "backup", verb, "conf", "--store", "away"], {
      cwd,
      stdio: ["ignore", "ignore", "inherit"],
    });
    await until("its worker asks the store", () => store.requests.length > 0);
    expect(strayWorkers(stateDir)).toEqual([]);
    command.kill("SIGKILL");
    await until("the worker is found", () => strayWorkers(stateDir).length > 0);
    const [left] = strayWorkers(stateDir);
    onTestFinished(() => {
      if (left !== undefined && isLive(left.pid)) process.kill(left.pid, "SIGKILL");
    });
    expect(left?.work).toBe(`${what} conf@away`);
  },
);

test("Backups takes the hang of a worker that the version before had begun for its own: an alert, and a failed run", async () => {
  const loaded = load("carried");
  const place = { target: "carried", store: "local" };
  const pid = await leaveWorker(loaded, place);
  const { startTicks = 0 } = readStat(pid) ?? {};
  const { backups, clock, said } = backupsOf(loaded);
  const workers = [{ pid, startTicks, leftMs: 3_600_000, work: keyOf(place) }];
  const handed = {
    handover: 1,
    pid: process.pid,
    from: "0",
    to: "0",
    bots: {},
    commands: [],
    workers,
    left: [],
  } as const;
  takeProcesses({ ...handed, commands: [], workers, left: [], lockFd: 0, late: undefined }, clock, backups.kept);
  await until("it is ended", () => said.length > 0);
  expect(said).toEqual([
    expect.stringMatching(`^alert cannot back up carried in local: the worker hung .*pid ${pid}, `),
  ]);
  expect(readRecord(loaded.dirs.stateDir, place)).toMatchObject({ failuresInRow: 1 });
  expect(isLive(pid)).toBe(false);
});

test("strayWorkers() names nobody whose supervisor lives, or is another folder's, nor what is no worker", async () => {
  const stateDir = join(folder.dir, "watched");
  const env = { ...workMark({ stateDir, work: "x@y" }), PATH: "/usr/bin:/bin" };
  await using watched = Bun.spawn(["sh", "-c", "sleep 60; :", "__action", "backup"], { env, detached: true });
  await until("it runs", () => existsSync(`/proc/${watched.pid}/environ`));
  expect(strayWorkers(stateDir)).toEqual([]);
  const dead = Object.fromEntries(
    Object.entries(env).map(([name, text]) => [name, text.replace(/^\d+ \d+/, `${process.pid} 1`)]),
  );
  await using stray = Bun.spawn(["sh", "-c", "sleep 60; :", "__action", "backup"], { env: dead, detached: true });
  await using helper = Bun.spawn(["sleep", "60"], { env: dead, detached: true });
  const found = { pid: stray.pid, startTicks: readStat(stray.pid)?.startTicks, work: "x@y" };
  await until("all run", () => strayWorkers(stateDir).length > 0 && readStat(helper.pid)?.comm === "sleep");
  expect(strayWorkers(stateDir)).toEqual([found]);
  expect(strayWorkers(`${stateDir}2`)).toEqual([]);
});
