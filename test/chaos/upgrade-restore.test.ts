/** A daemon that is upgraded, or starts, while a restore is under way: the bots that it holds stay down until its end, and then run as they are wanted. */
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readStat } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const FIXTURE = join(import.meta.dirname, "..", "fixtures", "restore-and-die.ts");
const config = {
  backups: {
    stores: { local: { kind: "directory", path: "store" } },
    targets: { state: { kind: "sqlite", path: "bot.db", bots: ["bot", "other"] } },
  },
};

function sql(rig: Rig, text: string): string {
  return execFileSync("sqlite3", [rig.path("bot.db"), text])
    .toString()
    .trim();
}

async function stage(): Promise<Rig> {
  const rig = new Rig({ bots: { bot: { command: STAY }, other: { command: STAY } }, config });
  sql(rig, "CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2), (3)");
  expect((await rig.cli("backup", "run")).code).toBe(0);
  sql(rig, "INSERT INTO orders VALUES (4)");
  await rig.run();
  await allIn(rig, "running");
  return rig;
}

async function allIn(rig: Rig, state: string): Promise<void> {
  await until(`all bots are ${state}`, async () => (await rig.status()).bots.every((bot) => bot.state === state));
}

/** A restore that stands still after the step until `goOn`, which gives its exit code. */
async function restoreUpTo(rig: Rig, step: string): Promise<AsyncDisposable & { goOn: () => Promise<number> }> {
  const [id = ""] = readdirSync(rig.path("store/state")).filter((name) => name.startsWith("state-"));
  const job = {
    version: 1,
    target: { kind: "sqlite", name: "state", path: rig.path("bot.db") },
    from: { kind: "backup", folder: rig.path("store"), id },
    into: { kind: "live" },
    bots: ["bot", "other"],
    stateDir: rig.state(""),
    socket: rig.state("run/control.sock"),
  };
  const stdin = Buffer.from(JSON.stringify(job));
  const worker = Bun.spawn([process.execPath, FIXTURE, step, "SIGSTOP"], { stdin, stdout: "ignore" });
  await until(`the restore is at ${step}`, () => readStat(worker.pid)?.state === "T");
  return {
    goOn: () => {
      worker.kill("SIGCONT");
      return worker.exited;
    },
    async [Symbol.asyncDispose]() {
      worker.kill("SIGKILL");
      await worker.exited;
    },
  };
}

test.concurrent("an upgrade in the midst of a restore starts no bot that it has stopped, and its end does", async () => {
  await using rig = await stage();
  await using restore = await restoreUpTo(rig, "swapped");
  await allIn(rig, "stopped");
  expect(await rig.cli("upgrade", "--no-backup")).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).bots.map(({ state, generation }) => [state, generation])).toEqual([
    ["stopped", 1],
    ["stopped", 1],
  ]);
  expect((await rig.cli("start", "bot")).err).toContain("a restore of state has not ended");
  expect(await restore.goOn()).toBe(0);
  await allIn(rig, "running");
  expect(await rig.bot()).toMatchObject({ generation: 2, level: "minimal" });
  expect(sql(rig, "SELECT count(*) FROM orders")).toBe("3");
});

test.concurrent("an upgrade while a restore unpacks goes on with the bots, and says nothing of a start that is put off", async () => {
  await using rig = await stage();
  const pids = (await rig.status()).bots.map(({ pid }) => pid);
  await using restore = await restoreUpTo(rig, "unpacked");
  expect(await rig.cli("upgrade", "--no-backup")).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).bots.map(({ pid }) => pid)).toEqual(pids);
  expect(rig.read("daemon.err")).not.toContain("not started");
  expect(await restore.goOn()).toBe(0);
  await allIn(rig, "running");
  expect(await rig.bot()).toMatchObject({ generation: 2, level: "minimal" });
});

test.concurrent("bots that wait for the end of a restore show so, also after an upgrade; one that is stopped meanwhile stays down", async () => {
  await using rig = await stage();
  await using restore = await restoreUpTo(rig, "unpacked");
  for (const name of ["bot", "other"]) expect((await rig.cli("stop", name)).code).toBe(0);
  await rig.endDaemon("SIGTERM");
  await rig.run();
  const waits = { state: "stopped", wanted: true, reason: expect.stringContaining("a restore of state has not ended") };
  expect((await rig.status()).bots).toMatchObject([waits, waits]);
  expect((await rig.cli("status")).code).toBe(1);
  expect(await rig.cli("upgrade", "--no-backup")).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).bots).toMatchObject([waits, waits]);
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false, reason: null });
  expect(await restore.goOn()).toBe(0);
  await rig.botUntil("the other is started", ({ state }) => state === "running", undefined, "other");
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false });
});
