/** Backups on the compiled binary: by hand, by the daemon's schedule, and what status says of them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { expect, test } from "vitest";
import { callerName } from "../../src/supervisor/cli/caller.ts";
import { systemClock } from "../../src/platform/clock.ts";
import type { Worker } from "../../src/platform/worker.ts";
import { backupJobs, runBackup, UNMARKED } from "../../src/supervisor/runtime/backup-run.ts";
import { loadConfig } from "../../src/supervisor/runtime/config/load.ts";
import { missing } from "../actions/backup/postgres-rig.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";
import { findProcess } from "./processes.ts";

const backups = (more: object = {}) => ({
  stores: { local: { kind: "directory", path: "store" } },
  targets: { state: { kind: "sqlite", path: "bot.db", ...more }, conf: { kind: "files", paths: ["notes"] } },
});

function fill(rig: Rig): void {
  using database = new Database(join(rig.folder, "bot.db"));
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2), (3)");
  writeFileSync(join(rig.folder, "notes"), "n");
}

test.concurrent("backup run, list, verify and prune need no daemon, and each failure has its code", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  const early = await rig.cli("backup", "run");
  expect(early).toMatchObject({ code: 3, err: expect.stringContaining(`source: there is no ${rig.path("bot.db")}`) });
  const nothing = { code: 4, out: "", err: expect.stringContaining("no backup of state is stored in") };
  expect(await rig.cli("backup", "verify", "state")).toMatchObject(nothing);
  fill(rig);
  const made = await rig.cli("backup", "run");
  expect(made).toMatchObject({ code: 0, err: "" });
  expect(made.out).toMatch(/^state: state-full-.* stands L1\nconf: conf-full-.* stands L1\n$/);
  const { out } = await rig.cli("backup", "list", "--json");
  expect(JSON.parse(out)).toMatchObject({
    backups: [
      { target: "state", proven: "L1" },
      { target: "conf", proven: "L1" },
    ],
  });
  expect((await rig.cli("backup", "verify", "state")).out).toMatch(/stands L2\n$/);
  const [id = ""] = /conf-full-\S+/.exec(made.out) ?? [];
  // The other target has none of this name, and nobody asked for it.
  expect(await rig.cli("backup", "verify", "--id", id)).toMatchObject({ code: 0, err: "", out: `${id}: stands L2\n` });
  const lost = id.replace(/\w{6}$/, "ffffff");
  expect(await rig.cli("backup", "verify", "--id", lost)).toMatchObject({
    code: 2,
    err: `cannot find backup ${lost}: it is not there\nhint: supervisor backup list shows what is stored\n`,
  });
  expect(await rig.cli("backup", "verify", "--id", `${id}0`)).toMatchObject({ code: 2 });
  expect(await rig.cli("backup", "verify", "state", "--id", id)).toMatchObject({ code: 2 });
  expect((await rig.cli("backup", "prune", "--dry-run")).out).toMatch(/^keep .*newest of its hour/);
  expect(await rig.cli("backup", "run", "nothing")).toMatchObject({ code: 2 });
});

test.concurrent("what a person backs up and proves is an event of the daemon, and so is a store that is not there, which is no want of room", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  await rig.run();
  expect((await rig.cli("backup", "run", "conf")).code).toBe(0);
  expect((await rig.cli("backup", "verify", "conf")).code).toBe(0);
  rmSync(rig.path("store"), { recursive: true });
  const gone = await rig.cli("backup", "run", "conf");
  expect(gone).toMatchObject({ code: 5, err: expect.stringContaining("hint: the folder of local must be there") });
  const told = rig.journal.filter(({ text }) => text.startsWith("supervisor backup "));
  const who = callerName({});
  expect(told.map(({ level, text }) => `${level} ${text.replace(/conf-full-\S+/, "ID")}`)).toEqual([
    `info supervisor backup run by ${who}: backup ID is stored in local and stands L1`,
    `info supervisor backup verify by ${who}: backup ID in local stands L2`,
    expect.stringMatching(`^alert supervisor backup run by ${who}: cannot finish conf in local: store: the folder `),
  ]);
});

test.concurrent("backup verify --id finds the target of a backup whose name looks like that of another one's backup", async () => {
  const { stores, targets } = backups();
  const named = { db: targets.state, "db-full-2": targets.conf };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: { stores, targets: named } } });
  fill(rig);
  const made = await rig.cli("backup", "run", "db-full-2");
  const [id = ""] = /db-full-2-full-\S+/.exec(made.out) ?? [];
  expect(await rig.cli("backup", "verify", "--id", id)).toMatchObject({ code: 0, err: "", out: `${id}: stands L2\n` });
});

test.concurrent("a backup that is found damaged by hand is named by list, status, and the plan of a restore, until it is gone", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  const idOf = async (): Promise<string> =>
    /state-full-\S+/.exec((await rig.cli("backup", "run", "state")).out)?.[0] ?? "";
  const good = await idOf();
  const bad = await idOf();
  const folder = rig.path(join("store", "state", bad));
  const part = readdirSync(folder).find((name) => name.startsWith("data.")) ?? "";
  const bytes = readFileSync(join(folder, part));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(join(folder, part), bytes);
  await rig.run();
  expect((await rig.cli("backup", "verify", "state")).code).toBe(4);
  const [header = "", ...rows] = (await rig.cli("backup", "list", "state")).out.split("\n");
  expect(header.split(/ {2,}/)).toEqual(["BACKUP", "STORE", "SNAPSHOT", "SIZE", "STORED", "PROVEN", "KEPT", "NOTES"]);
  expect(rows.find((row) => row.startsWith(good))).toContain(" L1 ");
  expect(rows.find((row) => row.startsWith(bad))).toMatch(/ DAMAGED .*data/);
  const [, listed] = JSON.parse((await rig.cli("backup", "list", "state", "--json")).out).backups;
  expect(listed).toMatchObject({ id: bad, proven: null, damage: expect.any(String) });
  expect((await rig.cli("status")).out).toContain(`state: ${bad} in local is DAMAGED: ${listed.damage}`);
  expect((await rig.cli("restore", "state", "--list")).out).toMatch(
    new RegExp(`^BACKUP .*\n(.*\n)*${bad} .* DAMAGED `),
  );
  const plan = await rig.cli("restore", "state", "--dry-run");
  expect(plan.out).toMatch(new RegExp(`from +${good} in local\n`));
  expect(plan.out).toContain(`damaged   ${bad} in local, which is passed over: ${listed.damage}`);
  expect((await rig.cli("restore", "state", "--id", bad, "--dry-run")).out).toContain("damaged   this very backup");
  rmSync(folder, { recursive: true });
  expect((await rig.cli("backup", "prune", "state")).code).toBe(0);
  expect((await rig.cli("status")).out).not.toContain("DAMAGED");
});

test.concurrent("backup run --incremental stores what differs, and verify puts it together", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  const first = await rig.cli("backup", "run", "--incremental");
  expect(first).toMatchObject({ code: 0, err: "" });
  expect(first.out).toMatch(/^state: a full backup is made .* no full backup yet\nstate: state-full-.* stands L1\n$/);
  expect((await rig.cli("backup", "run", "--incremental")).out).toMatch(/^state: state-delta-.* stands L1\n$/);
  expect((await rig.cli("backup", "verify", "state")).out).toMatch(
    /^state-full-.*stands L2\nstate-delta-.*stands L2\n$/,
  );
  expect(await rig.cli("backup", "run", "conf", "--incremental")).toMatchObject({ code: 2 });
});

test.concurrent("the daemon makes the backup that its schedule missed, shows it, and the bot goes on", async () => {
  // Of long ago, and not due again in the middle of the test.
  const schedule = { schedule: "0 0 1 1 *" };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups(schedule) } });
  fill(rig);
  await rig.run();
  const bot = await rig.bot();
  const done = await until(
    "the backup is made",
    async () => {
      const { backups: entries } = await rig.status();
      return entries.find(({ target, lastSuccessAt }) => target === "state" && lastSuccessAt !== null);
    },
    40_000,
  );
  expect(done).toMatchObject({ store: "local", verified: true, overdue: false, lastError: null });
  expect(Date.parse(done.nextAt ?? "")).toBeGreaterThan(Date.now());
  expect((await rig.bot()).pid).toBe(bot.pid);
});

test.concurrent("the daemon copies nothing that has not changed, and what is there counts as if it had", async () => {
  const schedule = { schedule: "0 0 1 1 *" };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups(schedule) } });
  fill(rig);
  // A mark is not taken of what was written a moment ago: by its own clock, the file system's.
  const settled = async (): Promise<true | undefined> => {
    const now = join(rig.folder, "now");
    writeFileSync(now, "");
    const ages = ["bot.db", "notes"].map((name) => statSync(now).ctimeMs - statSync(join(rig.folder, name)).ctimeMs);
    return Math.min(...ages) > 2_500 ? true : undefined;
  };
  await until("it is three seconds old", settled, 40_000);
  expect((await rig.cli("backup", "run")).code).toBe(0);
  const listed = async () => JSON.parse((await rig.cli("backup", "list", "state", "--json")).out).backups;
  const made = await listed();
  // Without its records the daemon thinks that it missed the last run of the schedule.
  rmSync(rig.state("backups"), { recursive: true });
  await rig.run();
  const done = await until(
    "the run is over",
    async () => {
      const { backups: entries } = await rig.status();
      return entries.find(({ target, lastSuccessAt }) => target === "state" && lastSuccessAt !== null);
    },
    60_000,
  );
  expect(done).toMatchObject({ overdue: false, unchangedAt: expect.any(String) });
  expect(await listed()).toMatchObject([{ id: made[0].id, unchangedAt: done.unchangedAt }]);
  expect((await rig.cli("events")).out).toMatch(
    /backup state-full-\S+ in local holds what state has now \(unchanged since/,
  );
});

test.concurrent("of backup runs at once each makes a whole backup or is refused with 7", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  const ended = await Promise.all([1, 2, 3].map(() => rig.cli("backup", "run", "state")));
  const made = ended.filter(({ code }) => code === 0).length;
  expect(made).toBeGreaterThan(0);
  expect(ended.filter(({ code }) => code !== 0).map(({ code }) => code)).toEqual(Array(3 - made).fill(7));
  const names = readdirSync(join(rig.folder, "store", "state")).filter((name) => name !== ".lock");
  expect(names.filter((name) => name.startsWith("state-full-"))).toHaveLength(made);
  expect(names).toHaveLength(made);
  expect((await rig.cli("backup", "verify", "state", "--level", "L2")).code).toBe(0);
});

test.concurrent("selftest passes on scratch copies, touches no target, and fails without a backups section", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  const before = readFileSync(join(rig.folder, "bot.db"));
  const tested = await rig.cli("selftest");
  expect(tested.out).toMatch(/^PASS {2}backup is configured: 2 targets, 1 store that can be written/m);
  expect(tested).toMatchObject({ code: 0, err: "" });
  expect(tested.out).toMatch(/Recovery Test Summary\n=+\nTotal tests: \d+\nPassed: \d+\nFailed: 0\n/);
  // Backup, restore, a cycle of each database, retention, systemd, logrotate, breaker: what an installation must show.
  const rows = tested.out.split("\n").flatMap((line) => /^(?:PASS|SKIP) {2}([^:]+): /.exec(line)?.[1] ?? []);
  expect(rows).toEqual([
    "backup is configured",
    "restore has what it needs",
    "SQLite backup",
    "SQLite restore",
    "damage is found",
    "retention",
    "files backup and restore",
    "PostgreSQL backup and restore",
    "circuit breaker",
    "systemd units",
    "logrotate",
  ]);
  expect(tested.out).toContain("PASS  circuit breaker: it opens after 5 failures");
  const outcome = missing === undefined ? "PASS  PostgreSQL backup and restore: ledger-full-" : "SKIP  PostgreSQL";
  expect(tested.out).toContain(outcome);
  expect(readFileSync(join(rig.folder, "bot.db")).equals(before)).toBe(true);
  expect(existsSync(join(rig.folder, "store"))).toBe(false);
  await using bare = new Rig({ bots: { bot: { command: STAY } } });
  const { code, out } = await bare.cli("selftest", "--json");
  expect([code, JSON.parse(out)]).toMatchObject([1, { failed: 1 }]);
});

test.concurrent("a selftest that is interrupted leaves nothing in the temporary folder", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  const temporary = rig.path("tmp");
  mkdirSync(temporary);
  const child = Bun.spawn([rig.binary, "selftest"], {
    cwd: rig.folder,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.folder, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  for await (const chunk of child.stdout) {
    said += Buffer.from(chunk).toString();
    if (said.includes("retention:")) child.kill("SIGINT");
  }
  expect(await child.exited).toBe(130);
  expect(readdirSync(temporary).filter((name) => name.startsWith("supervisor-"))).toEqual([]);
});

test.concurrent("upgrade backs up first what the config names, and refuses when that fails", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  await rig.run();
  await rig.bot();
  expect(await rig.cli("upgrade")).toMatchObject({ code: 1, err: expect.stringContaining("--no-backup") });
  fill(rig);
  const done = await rig.cli("upgrade");
  expect(done).toMatchObject({ code: 0, err: expect.stringMatching(/state-full-.* is stored in local first/) });
  const { out } = await rig.cli("backup", "list", "state", "--json");
  expect(JSON.parse(out)).toMatchObject({ backups: [{ trigger: "pre-upgrade", proven: "L1" }] });
});

function stopWorker({ pid }: Worker): void {
  process.kill(pid, "SIGSTOP");
}

test.concurrent("a worker that was stopped is ended, which is a failed run that status names, and the next run makes the backup", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: backups() } });
  fill(rig);
  await rig.run();
  const loaded = loadConfig({ file: rig.path("supervisor.yaml"), cwd: rig.folder, env: {} });
  const jobs = backupJobs(loaded, { target: "state", store: "local" }, { trigger: "manual", version: "0" });
  const hang = { lookMs: 50, stoppedMs: 1_000, hungMs: 1_000, waitMs: undefined };
  for (const job of jobs) {
    const options = {
      ...UNMARKED,
      clock: systemClock,
      program: [rig.binary],
      hang,
      onStart: stopWorker,
      onLine: () => {},
    };
    const failure = "the worker hung and was ended: it was stopped for 1 s (SIGSTOP)";
    expect(await runBackup(job, options)).toEqual({ code: 75, failure, killed: "hung" });
    expect((await rig.cli("status")).out).toContain(`state: the last backup to local failed: store: ${failure}`);
  }
  expect(await rig.cli("backup", "run", "state")).toMatchObject({ code: 0, err: "" });
  expect((await rig.cli("status")).out).not.toContain("failed");
});

test.concurrent("a backup that a killed daemon has left at work is named by the next one, shown as running, and not begun beside it", async () => {
  // A server that never answers keeps the worker where it is.
  using server = Bun.listen({ port: 0, hostname: "127.0.0.1", socket: { data: () => undefined } });
  const cache = { kind: "redis", url: `redis://127.0.0.1:${server.port}`, schedule: "0 0 1 1 *" };
  const { stores } = backups();
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups: { stores, targets: { cache } } } });
  await rig.run();
  const running = async (): Promise<boolean> => (await rig.status()).backups[0]?.running === true;
  await until("the backup is under way", running, 40_000);
  const worker = await until("its worker runs", () => findProcess(rig.folder, "__action", "backup"));
  await rig.endDaemon("SIGKILL");
  await rig.run();
  await until("it is shown again", running, 40_000);
  const told = rig.journal.filter(({ text }) => text.startsWith("a worker of a supervisor that died "));
  expect(told).toMatchObject([
    { level: "info", text: expect.stringContaining(` is still at cache@local (backup, pid ${worker}, at work since `) },
  ]);
  expect(findProcess(rig.folder, "__action", "backup")).toBe(worker);
  process.kill(worker, "SIGKILL");
  await until("it is not shown any more", async () => !(await running()));
});
