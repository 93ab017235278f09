/** Limits that come, change or go while no daemon lives: of the bot that is adopted, the kernel holds what status says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { installationOf } from "../../src/supervisor/runtime/installation.ts";
import { STAY } from "./fixture.ts";
import { Rig, until, type BotSettings } from "./harness.ts";
import { canLimit, limitOf, v1CgroupOf } from "./kernel-limits.ts";

/** tail(1) keeps 160 MiB. */
const HOLD = ["sh", "-c", "(head -c 167772160 /dev/zero; exec sleep 600) | tail -c 167772160 > /dev/null"];
const HELD_BYTES = 150 * 1_024 ** 2;
const MIB = 1_024 ** 2;

/** Kills the daemon and starts the next one with other limits; the bot, adopted, as its status is then. */
async function adoptWith(rig: Rig, settings: BotSettings): Promise<BotStatus> {
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: settings });
  await rig.run();
  const adopted = await rig.botUntil(
    "it is adopted",
    ({ resources, state }) => resources !== null && state === "running",
  );
  expect(adopted).toMatchObject({ pid, adopted: true, generation: 1 });
  return adopted;
}

function alertsOf(rig: Rig): readonly string[] {
  return rig.journal.filter(({ level }) => level === "alert").map(({ text }) => text);
}

/** Where the bot's own v1 cgroups are. */
function ownName(rig: Rig): string {
  return `bot-bot-${installationOf({ stateDir: rig.state("."), runtimeDir: rig.state("run") })}`;
}

describe.runIf(canLimit).concurrent("limits of an adopted bot", () => {
  test("that are new hold for its whole tree, and what of memory does not is said, in status too", async () => {
    const command = ["sh", "-c", "setsid sleep 600 & echo $! > child; exec sleep 600"];
    await using rig = new Rig({ bots: { bot: { command } } });
    await rig.run();
    const child = await until("it has a child", () => Number(rig.read("child")) || undefined);
    const bot = await adoptWith(rig, { command, limits: { memory: "64MiB", cpu: "50%", pids: 20 } });
    for (const pid of [bot.pid ?? Number.NaN, child]) {
      expect(limitOf(pid, "memory")).toBe(64 * MIB);
      expect(limitOf(pid, "cpu")).toBe(50_000);
      expect(limitOf(pid, "pids")).toBe(20);
    }
    expect(bot).toMatchObject({ definition: "outdated", resources: { memoryLimitBytes: 64 * MIB } });
    const alert = "limits.memory 64.0 MiB came when the bot ran, and holds for what it has taken since";
    expect(alertsOf(rig).join()).toContain(alert);
    // Also for a daemon that finds the limit as the one before it has set it.
    const again = await adoptWith(rig, { command, limits: { memory: "80MiB", cpu: "50%", pids: 20 } });
    expect(again).toMatchObject({ definition: "outdated", resources: { memoryLimitBytes: 80 * MIB } });
    expect(limitOf(child, "memory")).toBe(80 * MIB);
    const { out } = await rig.cli("reload");
    expect(out).toContain("not in force: memory");
    expect(await rig.bot()).toMatchObject({ generation: 2, definition: "current", adopted: false });
    expect((await rig.cli("stop", "bot")).code).toBe(0);
  });

  test("below what it uses are not set: it lives, status shows none, and an alert says so", async () => {
    await using rig = new Rig({ bots: { bot: { command: HOLD } } });
    await rig.run();
    await rig.botUntil("it holds its memory", ({ resources }) => (resources?.rssBytes ?? 0) > HELD_BYTES);
    const bot = await adoptWith(rig, { command: HOLD, limits: { memory: "64MiB", strict: true } });
    expect(bot).toMatchObject({ definition: "outdated", resources: { memoryLimitBytes: null } });
    expect(limitOf(bot.pid ?? Number.NaN, "memory")).not.toBe(64 * MIB);
    const text = alertsOf(rig).find((each) => each.includes("limits.memory 64.0 MiB holds from the next start on"));
    expect(text).toContain("limits.strict ends no bot that runs");
  });

  test("that are gone hold no more, and their cgroups go with the bot", async () => {
    const limits = { memory: "64MiB", cpu: "50%", pids: 20 };
    await using rig = new Rig({ bots: { bot: { command: STAY, limits } } });
    await rig.run();
    const bot = await adoptWith(rig, { command: STAY });
    const pid = bot.pid ?? Number.NaN;
    expect([limitOf(pid, "memory"), limitOf(pid, "cpu"), limitOf(pid, "pids")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(bot).toMatchObject({ definition: "current", resources: { memoryLimitBytes: null } });
    const cgroup = v1CgroupOf(pid, "memory") ?? "";
    expect(cgroup).toContain(`/${ownName(rig)}/`);
    expect((await rig.cli("stop", "bot")).code).toBe(0);
    expect(() => readFileSync(join(cgroup, "..", "cgroup.procs"))).toThrow("ENOENT");
  });

  test("that are gone leave no cgroup where the bot ended meanwhile", async () => {
    const limits = { memory: "64MiB" };
    await using rig = new Rig({ bots: { bot: { command: STAY, limits } } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    const cgroup = await until("it is in its cgroup", () => {
      const path = v1CgroupOf(pid ?? Number.NaN, "memory") ?? "";
      return path.includes(ownName(rig)) ? path : undefined;
    });
    await rig.endDaemon("SIGKILL");
    process.kill(pid ?? Number.NaN, "SIGKILL");
    rig.configure({ bot: { command: STAY } });
    await rig.run();
    await rig.botUntil("it runs anew", ({ generation, state }) => generation === 2 && state === "running");
    expect(() => readFileSync(join(cgroup, "..", "cgroup.procs"))).toThrow("ENOENT");
  });
});
