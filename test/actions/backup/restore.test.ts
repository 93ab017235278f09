/** Restores of real databases, killed at every step: what stands afterwards is the old data or the new as a whole, by the hash of its rows. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { RESTORE_STEPS } from "../../../src/actions/backup/restore-steps.ts";
import type { RestoreJob } from "../../../src/core/restore-job.ts";
import { query, RestoreRig, rowsOf } from "./restore-rig.ts";

const isRoot = process.getuid?.() === 0;

/** A rig with a backup of 100 orders, and a living database that has gone on since, with a log beside it. */
async function stage(rig: RestoreRig): Promise<{ backedUp: string; old: string; job: RestoreJob }> {
  rig.fill(100).close();
  const backedUp = rowsOf(rig.database);
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  query(rig.database, "INSERT INTO orders (note) VALUES ('bad'); DELETE FROM orders WHERE id < 50");
  leaveLog(rig.database);
  return { backedUp, old: rowsOfCopy(rig.database), job: rig.restoreJob(rig.sqlite, { bots: ["momentum"] }) };
}

/** Rows that are only in the log, as a killed bot leaves them: files are copied while a writer has them open. */
function leaveLog(path: string): void {
  const made = `${path}.made`;
  execFileSync("sqlite3", [path], {
    input: `PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; INSERT INTO orders (note) VALUES ('only in the log');
.shell cp ${path} ${made}; cp ${path}-wal ${made}-wal
`,
  });
  renameSync(made, path);
  renameSync(`${made}-wal`, `${path}-wal`);
}

/** Without touching the log of the original. */
function rowsOfCopy(path: string): string {
  const copy = `${path}.copy`;
  for (const suffix of ["", "-wal"]) if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
  const hash = rowsOf(copy);
  return hash;
}

function outcomeAfter(step: string): string {
  if (["journaled", "unpacked", "stopped"].includes(step)) return "discarded";
  return step === "checked" ? "finished" : "rolledBack";
}

const markOf = (rig: RestoreRig): string => join(rig.stateDir, "bots", "momentum", "restored.json");

describe("restoreBackup() of a database", () => {
  test("puts the backup in place without the old log, and keeps what was there", async () => {
    using rig = new RestoreRig();
    const { backedUp, old, job } = await stage(rig);
    expect(existsSync(`${rig.database}-wal`)).toBe(true);
    expect(await rig.restore(job)).toBe(0);
    expect(rowsOf(rig.database)).toBe(backedUp);
    const [aside = ""] = rig.traces;
    expect(rig.traces).toEqual([expect.stringMatching(/^pre-restore-/)]);
    expect(rowsOf(join(rig.folder, aside, "bot.db"))).toBe(old);
    expect(JSON.parse(readFileSync(markOf(rig), "utf8"))).toMatchObject({ target: "state" });
    expect(rig.journals).toEqual([]);
  });

  const steps = RESTORE_STEPS.flatMap((step) => (step === "moved" ? ["moved:1", "moved:2", "moved:3"] : [step]));
  test.each(steps)("killed after %s leaves the old data or the new as a whole", async (step) => {
    using rig = new RestoreRig();
    const { backedUp, old, job } = await stage(rig);
    expect(await rig.restoreAndDie(job, step)).toBe("SIGKILL");
    const settled = rig.settle();
    const done = step === "checked" || step === "done";
    expect(rowsOf(rig.database)).toBe(done ? backedUp : old);
    expect(settled.map(({ outcome }) => outcome)).toEqual(
      step === "locked" || step === "done" ? [] : [outcomeAfter(step)],
    );
    expect(existsSync(markOf(rig))).toBe(done);
    expect(rig.traces.length).toBe(done ? 1 : 0);
    expect(rig.journals).toEqual([]);
    expect(rig.settle()).toEqual([]);
    // And the same restore goes through afterwards.
    expect(await rig.restore(job)).toBe(0);
    expect(rowsOf(rig.database)).toBe(backedUp);
  });

  test("the next restore itself ends the one that was killed", async () => {
    using rig = new RestoreRig();
    const { backedUp, job } = await stage(rig);
    expect(await rig.restoreAndDie(job, "moved:2")).toBe("SIGKILL");
    expect(existsSync(rig.database)).toBe(false);
    expect(await rig.restore(job)).toBe(0);
    expect(rowsOf(rig.database)).toBe(backedUp);
  });
});

describe("restoreBackup() that fails", () => {
  test("takes the swap back when the check in place fails", async () => {
    using rig = new RestoreRig();
    const { old, job } = await stage(rig);
    const onStep = (step: string): void => {
      if (step === "swapped") execFileSync("sqlite3", [rig.database, "DELETE FROM orders WHERE id = 7"]);
    };
    expect(await rig.restore(job, { onStep })).toBe(8);
    expect(rig.failure()?.reason).toContain("table orders has 99 rows instead of 100");
    expect(rowsOf(rig.database)).toBe(old);
    expect([rig.traces, rig.journals, existsSync(markOf(rig))]).toEqual([[], [], false]);
  });

  test("refuses while a process has the database open, and names it", async () => {
    using rig = new RestoreRig();
    const { old, job } = await stage(rig);
    const holder = Bun.spawn(["sleep", "60"], { stdio: [Bun.file(rig.database), "ignore", "ignore"] });
    try {
      expect(await rig.restore(job)).toBe(3);
      expect(rig.failure()?.reason).toContain(`pid ${holder.pid} `);
    } finally {
      holder.kill("SIGKILL");
      await holder.exited;
    }
    expect(rowsOf(rig.database)).toBe(old);
    expect(rig.traces).toEqual([]);
  });

  test("leaves a swap that was killed alone while a process has the files open", async () => {
    using rig = new RestoreRig();
    const { old, job } = await stage(rig);
    expect(await rig.restoreAndDie(job, "swapped")).toBe("SIGKILL");
    const holder = Bun.spawn(["sleep", "60"], { stdio: [Bun.file(rig.database), "ignore", "ignore"] });
    try {
      expect(rig.settle()).toMatchObject([{ outcome: "failed", bots: ["momentum"] }]);
    } finally {
      holder.kill("SIGKILL");
      await holder.exited;
    }
    expect(rig.settle()).toMatchObject([{ outcome: "rolledBack" }]);
    expect(rowsOf(rig.database)).toBe(old);
  });

  test("touches nothing when a stored byte is wrong", async () => {
    using rig = new RestoreRig();
    const { old, job } = await stage(rig);
    const part = join(rig.stored().folder, "data.000");
    const bytes = readFileSync(part);
    bytes[Math.floor(bytes.length / 2)] = (bytes.at(Math.floor(bytes.length / 2)) ?? 0) ^ 1;
    writeFileSync(part, bytes);
    expect(await rig.restore(job)).toBe(4);
    expect(rowsOf(rig.database)).toBe(old);
    expect([rig.traces, rig.journals]).toEqual([[], []]);
  });

  test("touches nothing with the wrong key", async () => {
    using rig = new RestoreRig();
    rig.fill(20).close();
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    expect(await rig.backUp(rig.job(rig.sqlite, { recipients, identity }))).toBe(0);
    const rows = rowsOf(rig.database);
    query(rig.database, "DELETE FROM orders");
    const wrong = { identity: await generateIdentity() };
    expect(await rig.restore(rig.restoreJob(rig.sqlite, wrong))).toBe(3);
    expect(query(rig.database, "SELECT count(*) FROM orders")).toBe("0");
    expect(await rig.restore(rig.restoreJob(rig.sqlite, { identity }))).toBe(0);
    expect(rowsOf(rig.database)).toBe(rows);
  });
});

describe("restoreBackup() on a machine as it is", () => {
  test.runIf(isRoot)("gives the new file the owner and mode of the old one", async () => {
    using rig = new RestoreRig();
    const { job } = await stage(rig);
    chownSync(rig.database, 1234, 2345);
    chmodSync(rig.database, 0o640);
    expect(await rig.restore(job)).toBe(0);
    expect(statSync(rig.database)).toMatchObject({ uid: 1234, gid: 2345, mode: 0o100640 });
    // What the check in place has left beside it must be the bot's to write, too.
    for (const name of readdirSync(rig.folder).filter((each) => /^bot\.db-(wal|shm)$/.test(each)))
      expect(statSync(join(rig.folder, name))).toMatchObject({ uid: 1234, gid: 2345 });
  });

  test.runIf(isRoot)("fails on a full disk and leaves what was there", async () => {
    using rig = new RestoreRig();
    rig.fill(20_000).close();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    const small = join(rig.folder, "small");
    mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", small]);
    try {
      const path = join(small, "bot.db");
      query(path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
      const target = { kind: "sqlite", name: "state", path } as const;
      expect(await rig.restore(rig.restoreJob(target))).toBe(5);
      expect(query(path, "SELECT a FROM t")).toBe("1");
      expect(readdirSync(small)).toEqual(["bot.db"]);
    } finally {
      execFileSync("umount", ["-l", small]);
    }
  });

  test("is refused while another restore of the target is under way", async () => {
    using rig = new RestoreRig();
    const { job } = await stage(rig);
    const codes: (number | undefined)[] = [];
    let second: Promise<number> | undefined;
    const onStep = (step: string): void => {
      if (step === "unpacked") second = rig.restore(job);
    };
    codes.push(await rig.restore(job, { onStep }), await second);
    expect(codes).toEqual([0, 7]);
  });
});

describe("restoreBackup() into a folder", () => {
  test("writes the database there and nowhere else, and refuses a folder with something in it", async () => {
    using rig = new RestoreRig();
    const { backedUp, old, job } = await stage(rig);
    const to = join(rig.folder, "copy");
    expect(await rig.restore({ ...job, into: { kind: "folder", path: to } })).toBe(0);
    expect(readdirSync(to)).toEqual(["bot.db"]);
    expect([rowsOf(join(to, "bot.db")), rowsOf(rig.database)]).toEqual([backedUp, old]);
    expect(await rig.restore({ ...job, into: { kind: "folder", path: to } })).toBe(3);
  });
});

async function shop(rig: RestoreRig): Promise<RestoreJob> {
  query(
    rig.database,
    `PRAGMA journal_mode=WAL;
     CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
     CREATE TABLE trades (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES accounts (id),
       price REAL NOT NULL CHECK (price > 0), double REAL AS (price * 2) STORED);
     CREATE INDEX trades_account ON trades (account);
     INSERT INTO accounts VALUES (1, 'main'), (2, 'spare');
     INSERT INTO trades (account, price) VALUES (1, 10), (2, 20), (1, 30)`,
  );
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  query(rig.database, "DELETE FROM trades WHERE id > 1; INSERT INTO accounts VALUES (3, 'new')");
  return rig.restoreJob(rig.sqlite, { into: { kind: "tables", tables: ["trades"] }, bots: ["momentum"] });
}

describe("restoreBackup() of single tables", () => {
  test("replaces the table with its index, constraint and sequence, and no other", async () => {
    using rig = new RestoreRig();
    const job = await shop(rig);
    expect(await rig.restore(job)).toBe(0);
    expect(query(rig.database, "SELECT group_concat(price), sum(double) FROM trades")).toBe("10.0,20.0,30.0|120.0");
    expect(query(rig.database, "SELECT count(*) FROM accounts")).toBe("3");
    expect(query(rig.database, "SELECT seq FROM sqlite_sequence WHERE name = 'trades'")).toBe("3");
    expect(query(rig.database, "SELECT name FROM pragma_index_list('trades')")).toBe("trades_account");
    expect(() => query(rig.database, "INSERT INTO trades (account, price) VALUES (1, -1)")).toThrow("CHECK");
    expect(existsSync(markOf(rig))).toBe(true);
    expect(rig.traces).toEqual([]);
  });

  test("changes nothing when a row would refer to one that is gone, or for a table that is not there", async () => {
    using rig = new RestoreRig();
    const job = await shop(rig);
    query(rig.database, "DELETE FROM accounts WHERE id = 2");
    const before = rowsOf(rig.database);
    expect(await rig.restore(job)).toBe(4);
    expect(rig.failure()?.reason).toContain("restore those tables too");
    expect(await rig.restore({ ...job, into: { kind: "tables", tables: ["nothing"] } })).toBe(3);
    expect(rowsOf(rig.database)).toBe(before);
    expect([rig.traces, rig.journals, existsSync(markOf(rig))]).toEqual([[], [], false]);
  });

  test.each(["swapping", "checked", "swapped"])("killed at %s has all of it or nothing", async (step) => {
    using rig = new RestoreRig();
    const job = await shop(rig);
    expect(await rig.restoreAndDie(job, step)).toBe("SIGKILL");
    expect(query(rig.database, "SELECT count(*) FROM trades")).toBe(step === "swapped" ? "3" : "1");
    expect(query(rig.database, "PRAGMA integrity_check")).toBe("ok");
    expect(rig.settle()).toMatchObject([{ outcome: "discarded" }]);
    expect([rig.traces, rig.journals]).toEqual([[], []]);
  });
});

describe("restoreBackup() of a copied backup", () => {
  test("reads a backup's folder wherever it lies", async () => {
    using rig = new RestoreRig();
    const { backedUp, job } = await stage(rig);
    const path = join(rig.folder, "from a stick");
    cpSync(rig.stored().folder, path, { recursive: true });
    expect(await rig.restore({ ...job, from: { kind: "file", path } })).toBe(0);
    expect(rowsOf(rig.database)).toBe(backedUp);
  });
});
