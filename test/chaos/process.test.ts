/** Bots that are hard to end, hard to start, or look closely at how they are treated. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { isLive } from "../../src/platform/proc.ts";
import { script, STAY } from "./fixture.ts";
import { canHideCgroups, Rig, until } from "./harness.ts";

/** The pid that a fixture writes to the file of this name. */
function pidIn(rig: Rig, name: string): Promise<number> {
  return until(`the fixture writes ${name}`, () => Number(rig.read(name)) || undefined);
}

test.concurrent("supervisor stop kills a bot that ignores SIGTERM when its stopTimeout is over", async () => {
  const bot = { command: script("ignore-term.sh", "pid"), stopTimeout: "700ms" };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  const pid = await pidIn(rig, "pid");
  const stop = await rig.cli("stop", "bot");
  expect(stop).toMatchObject({ code: 0, out: "bot stopped\n", err: "" });
  expect(stop.ms).toBeGreaterThan(700);
  expect(isLive(pid)).toBe(false);
  expect(await rig.bot()).toMatchObject({ state: "stopped", lastExit: { cause: "stopped", signal: "SIGKILL" } });
  expect(rig.journal.some(({ text }) => text.includes("stopTimeout is over"))).toBe(true);
});

describe.each([
  { where: "with what the machine has", hideCgroups: false },
  { where: "without cgroups", hideCgroups: true },
])("$where", ({ hideCgroups }) => {
  const possible = !hideCgroups || canHideCgroups;

  test.runIf(possible).concurrent("supervisor stop ends a grandchild in a session of its own", async () => {
    await using rig = new Rig({ bots: { bot: { command: script("setsid-child.sh", "pid") } }, hideCgroups });
    await rig.run();
    const pid = await pidIn(rig, "pid");
    expect((await rig.cli("stop", "bot")).code).toBe(0);
    expect(isLive(pid)).toBe(false);
  });

  test
    .runIf(possible)
    .concurrent("supervisor run ends a grandchild in a session of its own before the next start", async () => {
      await using rig = new Rig({ bots: { bot: { command: script("setsid-child.sh", "pid") } }, hideCgroups });
      await rig.run();
      const pid = await pidIn(rig, "pid");
      process.kill((await rig.bot()).pid ?? Number.NaN, "SIGKILL");
      await rig.botUntil("the bot runs again", (bot) => bot.generation === 2);
      expect(isLive(pid)).toBe(false);
    });

  test
    .runIf(possible)
    .concurrent(
      "supervisor stop ends a grandchild that was stopped by SIGSTOP, in time, and so does the next start",
      async () => {
        const bot = { command: script("setsid-child.sh", "pid") };
        await using rig = new Rig({ bots: { bot }, hideCgroups });
        await rig.run();
        const first = await pidIn(rig, "pid");
        process.kill(first, "SIGSTOP");
        process.kill((await rig.bot()).pid ?? Number.NaN, "SIGKILL");
        await rig.botUntil("the bot runs again", ({ generation, state }) => generation === 2 && state === "running");
        expect(isLive(first)).toBe(false);
        const second = await until("the next one is there", () =>
          [Number(rig.read("pid"))].find((pid) => pid > 0 && pid !== first),
        );
        process.kill(second, "SIGSTOP");
        const stop = await rig.cli("stop", "bot");
        expect(stop).toMatchObject({ code: 0, err: "" });
        expect(stop.ms).toBeLessThan(10_000);
        expect(isLive(second)).toBe(false);
      },
    );

  test
    .runIf(possible)
    .concurrent("supervisor stop ends a grandchild that left session, parent and environment", async () => {
      await using rig = new Rig({ bots: { bot: { command: script("escape.sh", "pid") } }, hideCgroups });
      await rig.run();
      const pid = await pidIn(rig, "pid");
      expect((await rig.cli("stop", "bot")).code).toBe(0);
      expect(isLive(pid)).toBe(false);
    });

  test.runIf(possible).concurrent("supervisor run ends a grandchild that left all when its bot crashes", async () => {
    await using rig = new Rig({ bots: { bot: { command: script("escape.sh", "pid") } }, hideCgroups });
    await rig.run();
    const pid = await pidIn(rig, "pid");
    process.kill((await rig.bot()).pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("the bot runs again", (bot) => bot.generation === 2);
    expect(isLive(pid)).toBe(false);
  });

  test.runIf(possible).concurrent("supervisor run ends the daemon that a bot forked before it exited", async () => {
    const bot = { command: script("fork-and-exit.sh", "pid"), restart: { policy: "on-failure" } };
    await using rig = new Rig({ bots: { bot }, hideCgroups });
    await rig.run();
    const down = await rig.botIn("stopped");
    expect(down).toMatchObject({ generation: 1, lastExit: { cause: "exited", code: 0 } });
    expect(isLive(await pidIn(rig, "pid"))).toBe(false);
  });
});

test.concurrent.each([
  {
    what: "a command that does not exist",
    command: ["no-such-program", "--serve"],
    reason: 'cannot start "no-such-program": not found in PATH (',
  },
  { what: "a path that does not exist", command: ["./bot.sh"], reason: "cannot start ./bot.sh: no such file" },
  {
    what: "a file that is not executable",
    command: ["./paper.key"],
    reason: "cannot start ./paper.key: permission denied",
  },
])("supervisor run halts $what at once and says why", async ({ command, reason }) => {
  await using rig = new Rig({ bots: { bot: { command }, other: { command: STAY } } });
  await rig.run();
  const halted = await rig.botIn("halted");
  expect(halted).toMatchObject({
    generation: 1,
    pid: null,
    restarts: { total: 0 },
    lastExit: { cause: "spawnFailed" },
  });
  expect(halted.reason).toContain(reason);
  const status = await rig.cli("status");
  expect(status.code).toBe(4);
  expect(status.out).toContain(`bot: ${reason}`);
  // The other bot is none of its business.
  const other = await until("the other bot runs", async () => {
    const bot = await rig.bot("other");
    return bot.state === "running" ? bot : undefined;
  });
  process.kill(other.pid ?? Number.NaN, "SIGKILL");
  await until("the other bot runs again", async () => (await rig.bot("other")).generation === 2);
  expect(await rig.bot()).toMatchObject({ state: "halted", generation: 1 });
  const start = await rig.cli("start", "bot");
  expect(start.code).toBe(1);
  expect(start.err).toContain(reason);
});

/** A hook that writes its name, why it runs, and whether new orders are forbidden by then. */
const hook = (name: string): string[] => [
  "sh",
  "-c",
  `echo "${name} $SUPERVISOR_REASON $([ -e "$SUPERVISOR_NO_NEW_ORDERS" ] && echo forbidden)" >> told`,
];

test.concurrent("supervisor stop runs preStop, forbids new orders, signals, and runs postStop, in this order", async () => {
  const bot = { command: script("note-stop.sh", "told"), preStop: hook("preStop"), postStop: hook("postStop") };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  await until("the bot is ready", () => rig.read("told") === "ready\n");
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  expect(rig.read("told").split("\n")).toEqual([
    "ready",
    "preStop stopped forbidden",
    "forbidden",
    "postStop stopped forbidden",
    "",
  ]);
  expect((await rig.cli("start", "bot")).code).toBe(0);
  await until("the bot is ready again", () => rig.read("told").endsWith("ready\n"));
  expect(rig.read("told")).not.toContain("forbidden at start");
});

test.concurrent("supervisor run gives a bot what the config names, PATH, HOME, LANG and the contract's variables, and nothing else", async () => {
  const bot = {
    command: ["env"],
    env: { MODE: "paper" },
    envFile: "bot.env",
    probes: [{ kind: "heartbeat", timeout: "60s" }],
    restart: { policy: "on-failure" },
  };
  await using rig = new Rig({
    env: { BINANCE_SECRET: "do-not-tell", NOTIFY_SOCKET: "/run/no-such.sock", LD_DEBUG: "" },
  });
  rig.write("bot.env", "REGION=eu\n");
  rig.configure({ bot });
  await rig.run();
  await rig.botIn("stopped");
  const given = Object.fromEntries(
    rig.log
      .split("\n")
      .filter(Boolean)
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const run = rig.state("run/bots");
  expect(given).toEqual({
    PATH: process.env["PATH"],
    HOME: rig.folder,
    LANG: "C.UTF-8",
    MODE: "paper",
    REGION: "eu",
    NOTIFY_SOCKET: `${run}/bot.notify`,
    WATCHDOG_USEC: "60000000",
    SUPERVISOR_SOCKET: `${run}/bot.sock`,
    SUPERVISOR_ACCOUNT: `bot@${run}`,
    SUPERVISOR_BOT: "bot",
    SUPERVISOR_GENERATION: "1",
    INVOCATION_ID: expect.stringMatching(/^[0-9a-f]{32}$/),
    SUPERVISOR_LEVEL_FILE: `${run}/bot.level`,
    SUPERVISOR_BLACKBOX_DIR: rig.state("bots/bot/blackbox"),
    SUPERVISOR_STATE_DIR: rig.state("bots/bot/state"),
    SUPERVISOR_NO_NEW_ORDERS: `${run}/bot.no-new-orders`,
    SUPERVISOR_CLOSES: rig.state("bots/bot/closes.json"),
  });
  expect(readFileSync(`${run}/bot.level`, "utf8")).toBe("normal\n");
  expect(existsSync(given["SUPERVISOR_BLACKBOX_DIR"] ?? "")).toBe(true);
});

const up = (since: number) => (bot: BotStatus) => bot.state === "running" && bot.generation > since;

test.concurrent("a bot that leaves nobody behind is restarted in one event, one with a child left is swept first", async () => {
  const restart = { base: "0s", cap: "0s", jitter: 0, period: "0s" };
  const parent = ["sh", "-c", "sleep 1000 & exec sleep 1000"];
  await using rig = new Rig({ bots: { alone: { command: STAY, restart }, parent: { command: parent, restart } } });
  await rig.run();
  const kill = async (name: string): Promise<readonly string[]> => {
    const { pid, generation } = await rig.botUntil("it runs", up(0), undefined, name);
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await rig.botUntil("it runs again", up(generation), undefined, name);
    return rig.journal.flatMap((entry) => (entry.kind === "decision" && entry.bot === name ? [entry.text] : []));
  };
  const atOnce = /^running → starting: killed by SIGKILL; restart \d+ at once; nothing of the last start lives$/;
  // Nothing is proven before the daemon's second look for what an earlier one may have left.
  await until("a restart is one event", async () => (await kill("alone")).some((text) => atOnce.test(text)));
  const told = await kill("parent");
  expect(told.filter((text) => text.startsWith("running → starting"))).toEqual([]);
  expect(told.some((text) => text.startsWith("running → stopping: killed by SIGKILL"))).toBe(true);
});
