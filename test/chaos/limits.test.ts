/** Limits of a bot, as the kernel of this machine keeps them; what it does not keep is said. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Controller } from "../../src/core/limits.ts";
import { detectCgroup } from "../../src/platform/cgroup.ts";
import { findControllers } from "../../src/platform/controllers.ts";
import { installationOf } from "../../src/supervisor/runtime/installation.ts";
import { STAY } from "./fixture.ts";
import { canHideCgroups, Rig, until, type BotSettings } from "./harness.ts";

/** Where v1 cgroups are made: v2 has controllers for a daemon only in a cgroup of its own, which a test runner has not. */
const { places } = findControllers(detectCgroup());
const v1 = (controller: Controller): string | undefined =>
  places[controller]?.version === "v1" ? places[controller].folder : undefined;
const enforced = (["memory", "cpu", "pids"] as const).every((controller) => v1(controller) !== undefined);

/** tail(1) keeps 160 MiB until its input ends. */
const HOLD_UNTIL_RELEASED =
  "(head -c 167772160 /dev/zero; until [ -e release ]; do sleep 0.1; done) | tail -c 167772160 > /dev/null; exec sleep 600";

/** Two looks of the daemon at the memory of its bots, ms: a kill that is older did not end the bot, and that is what is tested. */
const TWO_LOOKS_MS = 2_000;

const shell = (text: string): string[] => ["sh", "-c", text];

const limited = (memory: string, cpu: string, pids: number): BotSettings => ({
  command: STAY,
  limits: { memory, cpu, pids },
});

function cgroupName(rig: Rig): string {
  return `bot-bot-${installationOf({ stateDir: rig.state("."), runtimeDir: rig.state("run") })}`;
}

/** The v1 cgroups of the rig's bot. */
function cgroupsOf(rig: Rig): readonly string[] {
  const name = cgroupName(rig);
  return (["memory", "cpu", "pids"] as const)
    .map((each) => join(v1(each) ?? "", name))
    .filter((path) => existsSync(path));
}

/** A file of the cgroup of the running start. */
function readLimit(rig: Rig, controller: Controller, file: string): string {
  const name = cgroupName(rig);
  const folder = join(v1(controller) ?? "", name);
  const start = readdirSync(folder, { withFileTypes: true }).find((entry) => entry.isDirectory());
  return readFileSync(join(folder, start?.name ?? "", file), "utf8");
}

describe.runIf(enforced).concurrent("what the kernel enforces", () => {
  test("limits of a living bot are changed by a reload, both ways, and none that would kill it", async () => {
    await using rig = new Rig({ bots: { bot: limited("64MiB", "50%", 20) } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    for (const [memory, bytes, cpu, quota, pids] of [
      ["96MiB", 96, "80%", "80000", 30],
      ["48MiB", 48, "20%", "20000", 10],
    ] as const) {
      rig.configure({ bot: limited(memory, cpu, pids) });
      expect((await rig.cli("reload")).code).toBe(0);
      expect(readLimit(rig, "memory", "memory.limit_in_bytes").trim()).toBe(String(bytes * 1_024 ** 2));
      expect(readLimit(rig, "cpu", "cpu.cfs_quota_us").trim()).toBe(quota);
      expect(readLimit(rig, "pids", "pids.max").trim()).toBe(String(pids));
    }
    rig.configure({ bot: limited("1MiB", "20%", 10) });
    expect((await rig.cli("reload")).code).toBe(0);
    expect(await rig.bot()).toMatchObject({ pid, generation: 1, state: "running" });
  });

  test("limits.memory: a hog is killed by the kernel and its exit says oom, again and again", async () => {
    const bot = { command: shell("exec tail /dev/zero"), limits: { memory: "48MiB" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const seen = await rig.botUntil("it died of memory twice", ({ restarts }) => restarts.total >= 2);
    expect(seen.lastExit).toMatchObject({ cause: "oom", signal: "SIGKILL", detail: "killed for want of memory" });
  });

  test("limits.memory: a hog among the children is counted, and any other SIGKILL is still a signal", async () => {
    const bot = { command: shell("tail /dev/zero; touch survived; exec sleep 600"), limits: { memory: "48MiB" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const seen = await rig.botUntil("the kill is counted", ({ resources }) => (resources?.oomKills ?? 0) > 0);
    expect(seen).toMatchObject({ generation: 1, resources: { memoryLimitBytes: 48 * 1_024 ** 2, oomKills: 1 } });
    const said = "the kernel killed a process of the bot for want of memory";
    await until("a look has seen it", () => rig.journal.some(({ text }) => text === said));
    await Bun.sleep(TWO_LOOKS_MS);
    process.kill(seen.pid ?? Number.NaN, "SIGKILL");
    const next = await rig.botUntil("it runs again", ({ generation }) => generation === 2);
    expect(next.lastExit).toMatchObject({ cause: "signal", signal: "SIGKILL" });
  });

  test("limits.pids: a fork bomb stays below the limit and is ended whole", async () => {
    const bot = { command: shell("while :; do sleep 600 & done"), limits: { pids: 20 } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    await until("the kernel refused a fork", () => {
      try {
        return Number(readLimit(rig, "pids", "pids.events").split(" ")[1]) > 0;
      } catch {
        return false;
      }
    });
    expect((await rig.bot()).resources?.pids ?? 0).toBeLessThanOrEqual(20);
    expect((await rig.cli("stop", "bot")).code).toBe(0);
  });

  test("limits.cpu: a busy bot is made to wait", async () => {
    const bot = { command: shell("while :; do :; done"), limits: { cpu: "20%" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const throttled = (): number => Number(/nr_throttled (\d+)/.exec(readLimit(rig, "cpu", "cpu.stat"))?.[1]);
    await until("it was throttled", () => throttled() > 2);
    expect(await rig.bot()).toMatchObject({ state: "running", generation: 1 });
  });
});

describe.runIf(enforced).concurrent("the cgroups of limits", () => {
  test("limits: cgroups are joined before the first instruction, and gone after a stop", async () => {
    const limits = { memory: "64MiB", cpu: "100%", pids: 50 };
    const bot = { command: shell("cat /proc/self/cgroup > cgroups; exec sleep 600"), limits };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const text = await until("it wrote its cgroups", () => rig.read("cgroups").includes("0::") && rig.read("cgroups"));
    const name = `${cgroupName(rig)}/`;
    for (const controller of ["memory", "cpu", "pids"])
      expect(text.split("\n").find((line) => line.split(":")[1] === controller)).toContain(name);
    expect(cgroupsOf(rig)).toHaveLength(3);
    expect((await rig.cli("stop", "bot")).code).toBe(0);
    expect(cgroupsOf(rig)).toEqual([]);
  });

  test("limits: what a killed daemon left is cleared by the next", async () => {
    const bot = { command: STAY, orphans: "stop", limits: { memory: "64MiB" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    await rig.botIn("running");
    await rig.endDaemon("SIGKILL");
    expect(cgroupsOf(rig)).toHaveLength(1);
    await rig.run();
    const { pid } = await rig.botUntil(
      "it runs anew",
      ({ generation, state }) => generation === 2 && state === "running",
    );
    await until("it is in its cgroup", () => readLimit(rig, "memory", "cgroup.procs").trim() === String(pid));
    await rig.endDaemon("SIGTERM");
    expect(cgroupsOf(rig)).toEqual([]);
  });

  test("limits.memory below what an adopted bot uses is left for its next start, and the bot lives", async () => {
    const bot = { command: shell(HOLD_UNTIL_RELEASED), limits: { memory: "400MiB" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    await until(
      "it holds its memory",
      () => Number(readLimit(rig, "memory", "memory.usage_in_bytes")) > 150 * 1_024 ** 2,
    );
    await rig.endDaemon("SIGKILL");
    rig.configure({ bot: { ...bot, limits: { memory: "64MiB" } } });
    await rig.run();
    expect(await rig.botIn("running")).toMatchObject({ pid, adopted: true });
    expect(rig.read("daemon.err")).toContain("limits.memory 64.0 MiB holds from the next start on");
    expect(readLimit(rig, "memory", "memory.limit_in_bytes").trim()).toBe(String(400 * 1_024 ** 2));
  });

  test("limits.memory holds for an adopted bot, and its end is still told as oom", async () => {
    const bot = {
      command: shell("until [ -e go ]; do sleep 0.1; done; exec tail /dev/zero"),
      limits: { memory: "64MiB" },
    };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    await rig.endDaemon("SIGKILL");
    await rig.run();
    const adopted = await rig.botUntil("its resources are known", ({ resources }) => resources !== null);
    expect(adopted).toMatchObject({ pid, adopted: true, resources: { memoryLimitBytes: 64 * 1_024 ** 2 } });
    rig.write("go", "");
    const next = await rig.botUntil("it was killed", ({ generation }) => generation === 2);
    expect(next.lastExit).toMatchObject({ cause: "oom" });
  });
});

describe.each([
  { where: "with what the machine has", hideCgroups: false },
  { where: "without cgroups", hideCgroups: true },
])("$where", ({ hideCgroups }) => {
  const possible = !hideCgroups || canHideCgroups;

  test.runIf(possible).concurrent("limits.memoryHigh degrades the bot while it lasts, and says so once", async () => {
    const bot = { command: shell(HOLD_UNTIL_RELEASED), limits: { memoryHigh: "120MiB" } };
    await using rig = new Rig({ bots: { bot }, hideCgroups });
    await rig.run();
    await rig.botUntil("the bot is degraded", ({ level }) => level === "degraded");
    expect(rig.read(".supervisor/run/bots/bot.level")).toBe("degraded\n");
    writeFileSync(rig.path("release"), "");
    await rig.botUntil("the bot is normal again", ({ level }) => level === "normal");
    const slow = "memoryHigh does not slow the bot down here";
    expect(rig.journal.filter(({ text }) => text.includes(slow)).map(({ level }) => level)).toEqual(["warn"]);
    for (const verb of [["doctor"], ["config", "check"]]) {
      const { out, err } = await rig.cli(...verb);
      expect(out + err).toContain("does not slow the bot down here");
    }
    const told = rig.journal.filter(({ text }) => text.includes("memoryHigh 120.0 MiB"));
    expect(told.map(({ level }) => level)).toEqual(["alert", "info"]);
  });
});

test.concurrent("limits.openFiles, core and oomScore are seen by the program and its children", async () => {
  const command = shell("sh -c 'cat /proc/self/limits /proc/self/oom_score_adj > seen; touch done'; exec sleep 600");
  const bot = { command, limits: { openFiles: 321, core: "0B", oomScore: 500 } };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  await until("it wrote its limits", () => existsSync(rig.path("done")));
  expect(rig.read("seen")).toMatch(/^Max open files +321 +321 /m);
  expect(rig.read("seen")).toMatch(/^Max core file size +0 +0 /m);
  expect(rig.read("seen")).toMatch(/^500$/m);
});

describe.runIf(canHideCgroups).concurrent("without cgroups", () => {
  const limits = { memory: "1GiB", cpu: "100%", openFiles: 321 };

  test("limits that nobody enforces are said once, and the bot runs", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY, limits } }, hideCgroups: true });
    await rig.run();
    await rig.botIn("running");
    await rig.cli("restart", "bot");
    const warnings = rig.journal.filter(({ level, text }) => level === "warn" && text.includes("is not enforced here"));
    expect(warnings.map(({ text }) => text.split(" ")[0])).toEqual(["limits.memory", "limits.cpu"]);
    expect((await rig.bot()).resources).toMatchObject({ memoryLimitBytes: null, oomKills: 0 });
  });

  test("doctor and config check tell what the daemon has, not the shell that asks; without a daemon they say whose it is", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY, limits } }, hideCgroups: true });
    const alone = await rig.cli("doctor");
    expect(alone.out).toMatch(/^ok {6}daemon .*not asked \(none runs\): .* are this shell's/m);
    const daemon = await rig.run();
    await rig.botIn("running");
    const asked = await rig.cli("doctor");
    expect(asked.out).toContain(`pid ${daemon.pid} answers: cgroup, limits, rlimits and user below are its own`);
    expect(asked.out).toMatch(/^warning cgroup .*none, not usable/m);
    expect(asked.out).toMatch(/^warning limits .*not enforced: limits\.memory: /m);
    const { err } = await rig.cli("config", "check");
    expect(err).toMatch(new RegExp(`limits\\.memory: .*not enforced here.* \\(for the daemon, pid ${daemon.pid}\\)`));
  });

  test("limits.strict halts the bot with the reason before it starts", async () => {
    const bot = { command: shell("touch started; exec sleep 600"), limits: { ...limits, strict: true } };
    await using rig = new Rig({ bots: { bot }, hideCgroups: true });
    await rig.run();
    const halted = await rig.botIn("halted");
    expect(halted.reason).toContain("limits.strict forbids this start: limits.memory is not enforced here: no cgroup2");
    expect(halted.reason).toContain("limits.cpu is not enforced here");
    expect(existsSync(rig.path("started"))).toBe(false);
  });
});

test.concurrent("supervisor config check and doctor name a limit that does not hold here", async () => {
  const bot = { command: STAY, limits: { openFiles: 1_073_741_816 } };
  await using rig = new Rig({ bots: { bot } });
  const checked = await rig.cli("config", "check");
  expect(checked).toMatchObject({ code: 0 });
  expect(checked.err).toMatch(
    /warning: bots\.bot\.limits\.openFiles: is \d+ here and not 1073741816: .* \(seen from this shell; /,
  );
  expect((await rig.cli("doctor")).out).toMatch(/^warning limits .*openFiles: is \d+ here and not 1073741816/m);
});
