/** One account, one bot: whatever is moved, copied or started from elsewhere meanwhile. */
import { cpSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isLive, readStat } from "../../src/platform/proc.ts";
import { readLockoutFile } from "../../src/supervisor/runtime/lockout-file.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";

test.concurrent("a shell without the unit's folders neither doubles the bot nor closes beside it", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot }, config: { stateDir: "unit", runtimeDir: "unit-run", logDir: "log" } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  // The same config as the shell sees it: without the folders that systemd would have given.
  rig.configure({ bot });
  const closed = await rig.cli("emergency", "close", "bot", "--yes");
  expect(closed.code).not.toBe(0);
  expect(closed.err).toContain(`pid ${pid}`);
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toContain(`pid ${pid}`);
  expect(isLive(pid ?? 0)).toBe(true);
  expect(paper.state().positions).toHaveLength(2);
  rig.configure({ bot }, { stateDir: "unit", runtimeDir: "unit-run", logDir: "log" });
});

test.concurrent("a state folder that is moved away from under a living supervisor makes no room for a second one", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  renameSync(rig.state("."), rig.path("moved"));
  const run = await rig.cli("run");
  expect(run.err).toContain("its state folder was moved or removed meanwhile");
  expect(run.code).toBe(2);
  expect(isLive(pid ?? 0)).toBe(true);
});

/** Longest time from the word that the folder was moved to its new sockets, ms; they are looked for every 10 s anyhow. */
const REOPEN_MS = 3_000;

test.concurrent("a supervisor whose state folder is moved away says so, begins another one and keeps the lockout in it", async () => {
  await using paper = await startPaper();
  const locked = { command: STAY, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot: { command: STAY }, locked } });
  await rig.run();
  expect((await rig.cli("emergency", "close", "locked", "--yes")).code).toBe(0);
  const { pid } = await rig.botIn("running");
  renameSync(rig.state("."), rig.path("moved"));
  const { supervisor } = await until("it says so", async () => {
    const status = await rig.status().catch(() => undefined);
    return typeof status?.supervisor.stateFolder === "string" ? status : undefined;
  });
  expect(supervisor).toMatchObject({
    health: "degraded",
    stateFolder: expect.stringContaining("was moved or removed"),
  });
  expect(rig.journal.some(({ level, text }) => level === "alert" && text === supervisor.stateFolder)).toBe(true);
  const told = (what: string): number =>
    Date.parse(rig.journal.find(({ text }) => (text ?? "").includes(what))?.at ?? "");
  expect(told("the control socket was removed or replaced") - told("was moved or removed")).toBeLessThan(REOPEN_MS);
  expect((await rig.cli("status")).out).toContain("was moved or removed");
  expect((await rig.cli("run")).err).toContain("has it");
  expect((await rig.bot()).pid).toBe(pid);
  await rig.endDaemon("SIGTERM");
  await rig.run();
  expect(await rig.bot("locked")).toMatchObject({ state: "locked", emergency: { state: "flat" } });
  expect((await rig.status()).supervisor.stateFolder).toBeNull();
});

const hasClient = Bun.which("systemd-notify") !== null;

test
  .runIf(hasClient)
  .concurrent(
    "a supervisor whose state folder is put back is reached and heard through the sockets in it",
    async () => {
      const beat = ["sh", "-c", "while :; do systemd-notify STATUS=$(date +%s%N); sleep 0.2; done"];
      await using rig = new Rig({ bots: { bot: { command: beat } } });
      await rig.run();
      const { pid } = await rig.botUntil("the bot is heard", ({ heartbeat }) => heartbeat.status !== null);
      renameSync(rig.state("."), rig.path("moved"));
      await until("another one is begun", () => rig.read("daemon.err").includes("another one is begun there"));
      await until("it is reached there", () => rig.status().catch(() => undefined));
      renameSync(rig.state("."), rig.path("second"));
      renameSync(rig.path("moved"), rig.state("."));
      await until("the folder is back", () => rig.read("daemon.err").includes("is back"));
      const { heartbeat } = await until("it is reached again", () => rig.bot().catch(() => undefined));
      await rig.botUntil("the bot is heard again", (bot) => bot.heartbeat.status !== heartbeat.status);
      expect((await rig.cli("stop", "bot")).code).toBe(0);
      expect(isLive(pid ?? 0)).toBe(false);
    },
  );

/** Runs `other` on the path of `rig`'s state folder, which is moved away. Its supervisor looks each second and would be first: it stands meanwhile. */
async function runInPlace(rig: Rig, other: Rig): Promise<void> {
  const { pid } = rig.daemon;
  process.kill(pid, "SIGSTOP");
  try {
    await until("the first one stands", () => readStat(pid)?.state === "T");
    renameSync(rig.state("."), rig.path("moved"));
    await other.run();
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

test.concurrent("a supervisor whose state folder another one has by now says so and writes nothing there", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY, autostart: false } } });
  await rig.run();
  await using other = new Rig({
    bots: { bot: { command: STAY, autostart: false } },
    config: { stateDir: rig.state("."), runtimeDir: "run" },
  });
  await runInPlace(rig, other);
  await until("the first one says so", () => rig.read("daemon.err").includes("has the state folder"));
  expect(rig.read("daemon.err")).toContain(`the supervisor with pid ${other.daemon.pid} has the state folder`);
  expect((await other.cli("start", "bot")).code).toBe(0);
  // A new version could not take the folder and would end.
  process.kill(rig.daemon.pid, "SIGUSR1");
  await until("it refuses to be upgraded", () => rig.read("daemon.err").includes("not upgraded: "));
  expect(rig.read("daemon.err")).toContain("another supervisor has the state folder");
  await until("the other one keeps its status", () => rig.read(".supervisor/status.json").includes('"running"'));
  expect(JSON.parse(rig.read(".supervisor/status.json"))).toMatchObject({ supervisor: { pid: other.daemon.pid } });
  expect((await other.status()).supervisor.stateFolder).toBeNull();
});

test.concurrent("a supervisor whose state folder another one has starts and arms no bot, and keeps its lockout out of it", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, autostart: false, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot }, config: { runtimeDir: "own" } });
  await rig.run();
  await using other = new Rig({ bots: { bot }, config: { stateDir: rig.state("."), runtimeDir: "run" } });
  await runInPlace(rig, other);
  await until("the first one says so", () => rig.read("daemon.err").includes("has the state folder"));
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  for (const refused of [["start", "bot"], ["restart", "bot"], ["arm", "bot", "--reason", "none"], ["reload"]]) {
    const { code, err } = await rig.cli(...refused);
    expect(err).toContain("another supervisor has the state folder of this one");
    expect(code).toBe(1);
  }
  const written = (): boolean[] =>
    ["lock.json", "identity.json"].map((file) => existsSync(rig.state(`bots/bot/${file}`)));
  expect(written()).toEqual([false, false]);
  expect(readLockoutFile(rig.state("bots/bot/lock.slot")).kind).toBe("absent");
  expect(existsSync(rig.path("own/bots/bot.lock.json"))).toBe(true);
  // Nobody else has it any more: what was owed is written.
  await other.endDaemon("SIGTERM");
  await until("the lockout is in the state folder", () => written()[0]);
  expect((await rig.cli("arm", "bot", "--reason", "looked at it")).code).toBe(0);
  expect(written()).toEqual([false, false]);
});

test.concurrent("of two supervisors that were started on the same path neither ends the other's bot", async () => {
  await using paper = await startPaper();
  await using rig = new Rig();
  const bots = { bot: { command: STAY, cwd: rig.folder, autostart: false, emergency: emergencyAt(paper.url) } };
  rig.configure(bots, { runtimeDir: "own" });
  await rig.run();
  await using other = new Rig({ bots, config: { stateDir: rig.state("."), runtimeDir: "run" } });
  await runInPlace(rig, other);
  await until("the first one says so", () => rig.read("daemon.err").includes("has the state folder"));
  expect((await other.cli("start", "bot")).code).toBe(0);
  const { pid } = await other.bot();
  const closed = await rig.cli("emergency", "close", "bot", "--yes");
  expect(closed.code).toBe(12);
  expect(closed.err + closed.out).toContain(`pid ${pid} is this bot`);
  expect(await other.bot()).toMatchObject({ pid, state: "running", generation: 1 });
  expect(paper.state().positions).toHaveLength(2);
});

test.concurrent("a copy of an installation neither adopts nor doubles the bot, nor closes its account; moved, it goes on", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await using other = new Rig();
  const copy = other.path("copy");
  cpSync(rig.folder, copy, { recursive: true, filter: (path) => !path.endsWith(".sock") && !path.endsWith(".notify") });
  const config = join(copy, "supervisor.yaml");
  const run = await other.cli("run", "--config", config);
  expect(run).toMatchObject({ code: 2 });
  expect(run.err).toContain(`it is a copy of ${rig.state(".")}, which is still there`);
  expect(await other.cli("emergency", "close", "bot", "--yes", "--config", config)).toMatchObject({ code: 12 });
  // Without the mark it is another installation, as far as it knows; the living bot tells whose it is.
  rmSync(join(copy, ".supervisor", "installation.json"));
  const again = await other.cli("run", "--config", config);
  expect(again).toMatchObject({ code: 2 });
  expect(again.err).toContain(`pid ${pid} is this bot, started by a supervisor with another state folder`);
  const told = await other.cli("events", "--config", config);
  expect(told.out).toContain(
    `‼ supervisor  supervisor is stopping: it could not start: cannot supervise bot: pid ${pid}`,
  );
  expect(isLive(pid ?? 0)).toBe(true);
  expect(paper.state().positions).toHaveLength(2);
  await rig.endDaemon("SIGTERM");
  renameSync(rig.state("."), rig.path("moved"));
  rig.configure({ bot }, { stateDir: "moved", runtimeDir: "moved/run" });
  await rig.run();
  await rig.botIn("running");
});

test.concurrent.each([
  ["runtimeDir", { stateDir: ".supervisor", runtimeDir: "run" }],
  ["the state folder", { stateDir: "moved", runtimeDir: "moved/run" }],
] as const)("a bot that outlived its supervisor is ended and started anew once %s is another one", async (_, dirs) => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  if (dirs.stateDir === "moved") renameSync(rig.state("."), rig.path("moved"));
  rig.configure({ bot: { command: STAY } }, dirs);
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ generation: 2, adopted: false });
  expect(isLive(pid ?? 0)).toBe(false);
});

test.concurrent("a bot whose supervisor is dead is refused with its pid by a supervisor that knows nothing of it", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: STAY } }, { stateDir: "empty", runtimeDir: "empty/run" });
  const run = await rig.cli("run");
  expect(run).toMatchObject({ code: 2 });
  expect(run.err).toContain(
    `pid ${pid} is this bot, started by a supervisor that gave it ${rig.state("run/bots/bot.sock")}`,
  );
  expect(run.err).toContain(`kill ${pid}`);
  expect(isLive(pid ?? 0)).toBe(true);
  rig.configure({ bot: { command: STAY } }, { stateDir: ".supervisor", runtimeDir: ".supervisor/run" });
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ pid, adopted: true });
});

test.concurrent("a copy that no longer names the bot under its name neither ends it nor starts another one on its account", async () => {
  await using rig = new Rig({ bots: { old: { command: STAY, account: "main" } } });
  await rig.run();
  const old = await until("the old bot runs", async () => (await rig.bot("old")).pid ?? undefined);
  await using other = new Rig();
  cpSync(rig.state("."), other.state("."), { recursive: true, filter: (path) => !/\.(sock|notify)$/.test(path) });
  rmSync(other.state("installation.json"));
  const renamed = { command: STAY, account: "main", emergency: emergencyAt("http://127.0.0.1:9") };
  other.configure({ bot: renamed });
  const run = await other.cli("run");
  expect(run).toMatchObject({ code: 2 });
  expect(run.err).toContain(`pid ${old} is old, a bot of the same account, started by a supervisor with another`);
  expect(await other.cli("emergency", "close", "bot", "--yes")).toMatchObject({ code: 12 });
  expect(isLive(old)).toBe(true);
  other.configure({ bot: { command: STAY, account: "another" } });
  await other.run();
  await other.botIn("running");
  expect(other.read("daemon.err")).toContain(`pid ${old} is bot old, which another supervisor runs: it is left alone`);
  await other.endDaemon("SIGTERM");
  expect(await rig.bot("old")).toMatchObject({ pid: old, state: "running", generation: 1 });
});

test.concurrent("a copy that was started while its original's disk was away is refused once that is back, and the original runs", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  const [original, away, copy] = [rig.state("."), rig.path("away"), rig.path("copy")];
  cpSync(original, copy, { recursive: true });
  renameSync(original, away);
  const bots = { bot: { command: STAY } };
  rig.configure(bots, { stateDir: "copy", runtimeDir: "copy/run" });
  await rig.run();
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  await rig.endDaemon("SIGTERM");
  renameSync(away, original);
  const refused = await rig.cli("run");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.err).toContain(`cannot run on ${copy}: it is a copy of ${original}, which is there again`);
  rig.configure(bots, { stateDir: ".supervisor", runtimeDir: ".supervisor/run" });
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  // What the refusal says is to be done where the copy is to go on.
  rmSync(join(original, "installation.json"));
  rig.configure(bots, { stateDir: "copy", runtimeDir: "copy/run" });
  await rig.run();
});

test.concurrent("an emergency file that is there at the start closes before any bot is started", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  writeFileSync(rig.state("run/emergency"), "", { mode: 0o600 });
  await rig.run();
  expect(await rig.botIn("locked")).toMatchObject({ generation: 1, emergency: { state: "flat" } });
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  expect(existsSync(rig.state("run/emergency"))).toBe(false);
});

test.concurrent("a supervisor that is stopped during the fence leaves a closed account behind", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botIn("running");
  process.kill(rig.daemon.pid, "SIGUSR2");
  expect(await rig.endDaemon("SIGTERM")).toBe(0);
  await until("the account is flat", () => paper.state().flat);
});

test.concurrent("nothing is started any more once the supervisor is stopping", async () => {
  await using rig = new Rig({
    bots: {
      bot: { command: STAY, autostart: false },
      slow: {
        command: ["sh", "-c", "trap '' TERM; : > deaf; until [ -e end ]; do sleep 0.05; done"],
        stopTimeout: "15s",
      },
    },
  });
  await rig.run();
  await until("the slow bot hears no SIGTERM", () => existsSync(rig.path("deaf")));
  const ended = rig.endDaemon("SIGTERM");
  await until("the slow bot is stopping", async () => (await rig.bot("slow")).state === "stopping");
  const start = await rig.cli("start", "bot");
  expect(start.code).not.toBe(0);
  expect(start.err).toContain("the supervisor is stopping");
  rig.write("end", "");
  expect(await ended).toBe(0);
});

test.concurrent("an interrupted close goes on although a key of another bot is missing, and nothing is started", async () => {
  await using paper = await startPaper();
  const emergency = emergencyAt(paper.url);
  const other = { command: STAY, emergency: emergencyAt(paper.url, { apiKeyFile: "other.key" }) };
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency }, other }, config: {} });
  rig.write("other.key", "key-of-another-account");
  await rig.run();
  await rig.botIn("running");
  await paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 2_500, times: 2 });
  const closing = rig.cli("emergency", "close", "bot", "--yes");
  await rig.botIn("recovering");
  await rig.endDaemon("SIGKILL");
  await closing;
  rmSync(rig.path("other.key"));
  await rig.run();
  await rig.botIn("locked", 60_000);
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  expect(await rig.bot("other")).toMatchObject({ state: "running", adopted: true, generation: 1 });
});

test.concurrent("a supervisor that was out of descriptors for a while looks at everything again afterwards", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botIn("running");
  const { pid } = rig.daemon;
  const limit = (soft: string): void => {
    Bun.spawnSync(["prlimit", "--pid", String(pid), `--nofile=${soft}:`]);
  };
  const hard = /^Max open files\s+\d+\s+(\d+)/m.exec(await Bun.file(`/proc/${pid}/limits`).text())?.[1] ?? "1024";
  limit("5");
  await until(
    "an internal error or a failed look is said",
    () => rig.read("daemon.err").includes("EMFILE"),
    15_000,
  ).catch(() => false);
  limit(hard);
  writeFileSync(rig.state("run/emergency"), "", { mode: 0o600 });
  await rig.botIn("locked", 30_000);
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
});
