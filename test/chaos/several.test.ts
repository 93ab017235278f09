/** Several bots under one daemon: who starts and stops when, whom an emergency concerns, and a hundred of them. */
import { existsSync, mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { changes, startPaper } from "./paper.ts";

/** A helper that is ready once the file `go` is there, however long that takes: one that failed would not be waited for. */
const FEED = {
  command: STAY,
  ready: "probe",
  startTimeout: "5m",
  probes: [
    {
      kind: "exec",
      command: ["test", "-e", "go"],
      role: "startup",
      period: "300ms",
      timeout: "290ms",
      failureThreshold: 1_000,
    },
  ],
};

test.concurrent("a bot waits until those that it is after are ready; the others start at once, and status says why", async () => {
  await using rig = new Rig({
    bots: {
      bot: { command: STAY, after: ["feed"] },
      last: { command: STAY, after: ["bot"] },
      feed: FEED,
      free: { command: STAY },
    },
  });
  await rig.run();
  await until("the free one runs", async () => (await rig.bot("free")).state === "running");
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: true, reason: "waits for feed to be ready" });
  expect(await rig.bot("last")).toMatchObject({ state: "stopped", reason: "waits for bot to be ready" });
  expect((await rig.cli("status")).code).toBe(1);
  rig.write("go", "");
  await until("the last one runs", async () => (await rig.bot("last")).state === "running");
  expect(started(rig)).toEqual(["feed", "free", "bot", "last"]);
  await until("status is content", async () => (await rig.cli("status")).code === 0);
});

test.concurrent("a bot that waits for another one gets another account by a reload, and is started under it when the wait is over", async () => {
  const bot = { command: STAY, after: ["feed"] };
  await using rig = new Rig({ bots: { bot, feed: FEED } });
  await rig.run();
  await rig.botUntil("it waits", ({ reason }) => reason === "waits for feed to be ready");
  rig.configure({ bot: { ...bot, account: "second" }, feed: FEED });
  const reload = await rig.cli("reload");
  expect(reload).toMatchObject({ code: 0, err: "" });
  expect(reload.out).toContain("it waits to be started");
  expect(await rig.bot()).toMatchObject({ account: "second", wanted: true, reason: "waits for feed to be ready" });
  rig.write("go", "");
  await rig.botUntil("it runs", ({ state }) => state === "running");
  expect(await rig.bot()).toMatchObject({ account: "second", generation: 1 });
});

/** Names of the bots in the order of their first spawns. */
function started(rig: Rig): string[] {
  const spawns = rig.journal.flatMap((entry) =>
    entry.kind === "decision" && entry.to === "starting" ? [entry.bot] : [],
  );
  return [...new Set(spawns)];
}

test.concurrent("a bot does not wait for one that fails, nor longer than a startTimeout, and says so", async () => {
  await using rig = new Rig({
    bots: {
      bot: { command: STAY, after: ["broken", "slow", "off"] },
      broken: { command: ["./no-such-program"] },
      slow: { ...FEED, startTimeout: "1500ms" },
      off: { command: STAY, autostart: false },
    },
  });
  await rig.run();
  await rig.botIn("running");
  const words = rig.journal.filter(({ bot, level }) => bot === "bot" && level === "warn").map(({ text }) => text);
  expect(words).toContain("does not wait for off any longer: it is stopped");
  expect(words).toContain("does not wait for broken any longer: it is halted");
  expect(words.some((text) => /^does not wait for slow any longer: it is (backoff|not ready within)/.test(text))).toBe(
    true,
  );
});

test.concurrent("supervisor start does not wait, and a bot that was stopped while it waited stays down", async () => {
  await using rig = new Rig({
    bots: { bot: { command: STAY, after: ["feed"] }, other: { command: STAY, after: ["feed"] }, feed: FEED },
  });
  await rig.run();
  expect((await rig.cli("start", "other")).code).toBe(0);
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false, reason: null });
  rig.write("go", "");
  await until("the feed is ready", async () => (await rig.bot("feed")).ready);
  await until("status is content", async () => (await rig.cli("status")).code === 0);
  expect(await rig.bot()).toMatchObject({ state: "stopped", generation: 0 });
  expect(await rig.bot("other")).toMatchObject({ state: "running", generation: 1 });
});

test.concurrent("bots are stopped in the opposite order, and a second signal does not wait for it", async () => {
  const slow = ["sh", "-c", "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done"];
  await using rig = new Rig({ bots: { bot: { command: slow, after: ["feed"] }, feed: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  expect(await rig.endDaemon("SIGTERM")).toBe(0);
  const moves = rig.journal.flatMap((entry) =>
    entry.kind === "decision" && entry.from !== entry.to ? [`${entry.bot} ${entry.to}`] : [],
  );
  expect(moves.indexOf("feed stopping")).toBeGreaterThan(moves.indexOf("bot stopped"));
  const deaf = ["sh", "-c", "trap '' TERM; : > deaf; while :; do sleep 0.05; done"];
  rig.configure({ bot: { command: deaf, after: ["feed"], stopTimeout: "5s" }, feed: { command: STAY } });
  await rig.run();
  await until("the bot hears no SIGTERM", () => existsSync(rig.path("deaf")));
  const seen = rig.journal.length;
  process.kill(rig.daemon.pid, "SIGTERM");
  await until("the bot is asked", () =>
    rig.journal.slice(seen).some(({ text }) => text.includes("running → stopping")),
  );
  expect(await rig.endDaemon("SIGTERM")).toBe(0);
  const second = rig.journal
    .slice(seen)
    .flatMap((entry) => (entry.kind === "decision" && entry.from !== entry.to ? [`${entry.bot} ${entry.to}`] : []));
  expect(second.indexOf("feed stopping")).toBeLessThan(second.indexOf("bot stopped"));
});

test.concurrent("the emergency of one bot leaves the other bot and its account alone", async () => {
  await using one = await startPaper();
  await using two = await startPaper();
  await using rig = new Rig({
    bots: {
      bot: { command: STAY, emergency: emergencyAt(one.url) },
      other: { command: STAY, emergency: emergencyAt(two.url), after: ["bot"] },
    },
  });
  await rig.run();
  await until("the other runs", async () => (await rig.bot("other")).state === "running");
  const { pid } = await rig.bot("other");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  await rig.botIn("locked");
  expect(one.state()).toMatchObject({ flat: true });
  expect(two.state().requests).toEqual({});
  expect(changes(two.state())).toBe(0);
  expect(two.state().positions).toHaveLength(2);
  expect(await rig.bot("other")).toMatchObject({
    state: "running",
    pid,
    generation: 1,
    level: "normal",
    restarts: { total: 0 },
  });
});

/** Far above what a quiet machine takes (0.2 s), far below what a person would wait. */
const HUNDRED_PATIENCE_MS = 15_000;

test("a hundred bots start, all run, status is right, and they are stopped in time", async () => {
  const names = Array.from({ length: 100 }, (_, n) => `bot-${n}`);
  await using rig = new Rig({ bots: Object.fromEntries(names.map((name) => [name, { command: STAY }])) });
  await rig.run();
  await until(
    "all run",
    async () => (await rig.status()).bots.every(({ state, pid }) => state === "running" && pid !== null),
    HUNDRED_PATIENCE_MS,
  );
  const { bots } = await rig.status();
  expect(bots.map(({ name }) => name)).toEqual(names);
  expect(new Set(bots.map(({ pid }) => pid)).size).toBe(100);
  expect(bots.every(({ generation, restarts }) => generation === 1 && restarts.total === 0)).toBe(true);
  expect((await rig.cli("status")).code).toBe(0);
  const startMs = performance.now();
  expect(await rig.endDaemon("SIGTERM")).toBe(0);
  expect(performance.now() - startMs).toBeLessThan(HUNDRED_PATIENCE_MS);
});

test.concurrent("stop answers however long it takes, and says so where a start takes its place", async () => {
  const deaf = { command: ["sh", "-c", "trap '' TERM; : > deaf; while :; do sleep 0.05; done"] };
  const bots = { slow: { ...deaf, stopTimeout: "14s" }, other: { ...deaf, cwd: "elsewhere", stopTimeout: "3s" } };
  await using rig = new Rig({ bots });
  mkdirSync(rig.path("elsewhere"));
  await rig.run();
  for (const place of ["deaf", "elsewhere/deaf"]) await until("it is deaf", () => existsSync(rig.path(place)));
  const slow = rig.cli("stop", "slow");
  const overtaken = rig.cli("stop", "other");
  await rig.botUntil("it is asked to stop", ({ state }) => state === "stopping", undefined, "other");
  expect(await rig.cli("start", "other")).toMatchObject({ code: 0 });
  expect(await overtaken).toMatchObject({ code: 1, err: expect.stringContaining("started again") as unknown });
  expect(await rig.bot("other")).toMatchObject({ state: "running", generation: 2 });
  expect(await slow).toMatchObject({ code: 0, out: expect.stringContaining("slow stopped") as unknown, err: "" });
});
