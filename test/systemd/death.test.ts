/** Sudden deaths under a real systemd: of the bot, of the daemon, of both for want of memory, and of the daemon while it stops. */
import { describe, expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { unbootable } from "./bootable.ts";
import { Box, UNIT } from "./box.ts";

/** How systemd names a kill by the kernel for want of memory: `oom-kill` on cgroup v2, `signal` on v1. */
const OUT_OF_MEMORY = /^(oom-kill|signal)$/;

const why = unbootable === undefined ? "" : ` (${unbootable})`;

describe.skipIf(unbootable !== undefined)(`sudden deaths${why}`, () => {
  test("a bot that is killed is started again", async () => {
    await using box = await started();
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await box.do("kill", "-9", String(before.pid));
    const after = await box.botUntil("it runs again", ({ state, pid }) => state === "running" && pid !== before.pid);
    expect(after.restarts.total).toBe(1);
    expect(await box.botPids()).toEqual([after.pid]);
    expect(await box.show("NRestarts")).toBe("0");
  });

  test("a daemon that is killed leaves its bot alive, is started again and adopts it: one bot runs, never two", async () => {
    await using box = await started();
    await box.dropIn("RestartSec=2s");
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await killDaemon(box);
    await box.until("systemd has seen it", async () => (await box.show("SubState")) === "auto-restart");
    expect(await box.botPids()).toEqual([before.pid]);
    expect(await expectOneBot(box)).toMatchObject({ pid: before.pid, adopted: true });
    expect(await box.show("NRestarts")).toBe("1");
  });

  test("an upgrade by signal keeps daemon and bot the same processes, and the unit active", async () => {
    await using box = await started("WatchdogSec=2s");
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    const daemon = await box.mainPid();
    await box.do("systemctl", "kill", "--kill-who=main", "--signal=USR1", UNIT);
    await box.until(
      "the new one is up",
      async () => (await box.log()).includes("upgraded from") && (await active(box)),
    );
    expect(await expectOneBot(box)).toMatchObject({ pid: before.pid, adopted: true, generation: 1 });
    expect(await box.mainPid()).toBe(daemon);
    expect(await box.show("NRestarts")).toBe("0");
    expect(await box.log()).not.toContain("Watchdog timeout");
  });

  test("a daemon that hangs is killed by the watchdog, started again and adopts its bot: one bot runs, never two", async () => {
    await using box = await started("WatchdogSec=2s");
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await box.do("kill", "-STOP", String(await box.mainPid()));
    await box.until("the watchdog has fired", async () => (await box.log()).includes("Watchdog timeout"));
    await box.until("the next daemon is up", async () => (await box.show("NRestarts")) === "1" && (await active(box)));
    expect(await expectOneBot(box)).toMatchObject({ pid: before.pid, adopted: true });
    expect(await box.log()).not.toContain("Bun has crashed");
  });

  test("a daemon that is killed while it stops takes the bot with it all the same: the stop ends everything", async () => {
    await using box = await started();
    await box.botUntil("the bot runs", ({ state }) => state === "running");
    // The daemon is held up by a bot that does not go; nobody else is there to end it once the daemon is dead.
    await box.configure({ stopTimeout: "60s" });
    await box.do("touch", "/opt/bot/deaf");
    await box.do("systemctl", "restart", UNIT);
    await box.botUntil("the deaf bot runs", ({ state }) => state === "running");
    await box.do("systemctl", "stop", "--no-block", UNIT);
    await box.until("it is stopping", async () => (await box.log()).includes("supervisor is stopping"));
    await killDaemon(box);
    await box.until("the unit is down", async () => ["failed", "inactive"].includes(await box.show("ActiveState")));
    expect(await box.botPids()).toEqual([]);
    expect(await box.log()).toContain("the daemon is dead and was to stop: ending pid");
  });

  test("a stop while systemd waits for the restart leaves the bot; a start and a stop end it", async () => {
    await using box = await started("RestartSec=30s");
    const bot = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await killDaemon(box);
    await box.until("systemd waits", async () => (await box.show("SubState")) === "auto-restart");
    await box.do("systemctl", "stop", UNIT);
    expect(await box.botPids()).toEqual([bot.pid]);
    await box.do("systemctl", "start", UNIT);
    await box.do("systemctl", "stop", UNIT);
    expect(await box.botPids()).toEqual([]);
    expect(await box.overlaps()).toBe("");
  });
});

describe.skipIf(unbootable !== undefined)(`no memory${why}`, () => {
  test("a bot that eats the unit's memory dies alone, and is started again", async () => {
    await using box = await started("MemoryMax=200M", "MemorySwapMax=0");
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    const daemon = await box.mainPid();
    await box.do("touch", "/opt/bot/hog");
    const after = await box.botUntil("it runs again", ({ state, pid }) => state === "running" && pid !== before.pid);
    expect(after.lastExit?.signal).toBe("SIGKILL");
    expect(await box.mainPid()).toBe(daemon);
    expect(await box.show("ActiveState")).toBe("active");
  });

  test("a daemon without memory is killed, tried again, and comes up when there is some", async () => {
    await using box = await Box.boot();
    await box.dropIn("MemoryMax=6M", "MemorySwapMax=0");
    await box.exec("systemctl", "start", UNIT);
    await box.until("it was killed", async () => OUT_OF_MEMORY.test(await box.show("Result")));
    await box.dropIn();
    await box.until("it is up", () => active(box));
    await expectOneBot(box);
    expect(Number(await box.show("NRestarts"))).toBeGreaterThan(0);
  });
});

async function started(...settings: readonly string[]): Promise<Box> {
  const box = await Box.boot();
  try {
    if (settings.length > 0) await box.dropIn(...settings);
    await box.do("systemctl", "start", UNIT);
    return box;
  } catch (error) {
    await box[Symbol.asyncDispose]();
    throw error;
  }
}

async function killDaemon(box: Box): Promise<void> {
  await box.do("kill", "-9", String(await box.mainPid()));
}

async function active(box: Box): Promise<boolean> {
  return (await box.show("ActiveState")) === "active";
}

/** Waits for a daemon that has the bot running, and sees that it is the only one and never was another beside it. */
async function expectOneBot(box: Box): Promise<BotStatus> {
  const bot = await box.botUntil("one bot runs", ({ state, health }) => state === "running" && health === "healthy");
  expect(await box.botPids()).toEqual([bot.pid]);
  expect(await box.overlaps()).toBe("");
  return bot;
}
