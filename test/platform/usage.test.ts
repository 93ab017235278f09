import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pidusage from "pidusage";
import { afterEach, describe, expect, test } from "vitest";
import { createUsageSampler } from "../../src/platform/usage.ts";
import { readStat } from "../../src/platform/proc.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { until } from "./until.ts";

const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) await end(child);
});

async function end(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

function start(...command: [string, ...string[]]): { pid: number; child: ChildProcess } {
  const child = spawn(command[0], command.slice(1), { stdio: "ignore" });
  children.push(child);
  return { pid: child.pid ?? -1, child };
}

/** A process that has said that its program is loaded, and uses no more memory from then on. */
async function startLoaded(): Promise<number> {
  const child = spawn("sh", ["-c", "echo loaded; read -r line"], { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  await once(child.stdout, "data");
  return child.pid ?? -1;
}

/** Waits until the kernel has charged `pid` with `ticks` more CPU time. */
async function burn(pid: number, ticks: number): Promise<void> {
  const used = (): number => {
    const stat = readStat(pid);
    return stat === undefined ? 0 : stat.utimeTicks + stat.stimeTicks;
  };
  const startTicks = used();
  await until(`${ticks} ticks of CPU time`, () => used() - startTicks >= ticks);
}

describe("createUsageSampler()", () => {
  test("measures the memory that pidusage measures", async () => {
    const pid = await startLoaded();
    expect((await createUsageSampler(systemClock)([pid])).rssBytes).toBe((await pidusage(pid)).memory);
  });

  test("forgets a process that has ended, and none that is only not asked of", async () => {
    const known = new Map();
    const sample = createUsageSampler(systemClock, known);
    const [{ pid, child }, other, third] = [start("sleep", "60"), await startLoaded(), await startLoaded()];
    await sample([pid, other]);
    await end(child);
    await sample([third]);
    expect([...known.keys()]).toEqual([other, third]);
  });

  test("adds up memory and open files of all pids", async () => {
    const sample = createUsageSampler(systemClock);
    const [a, b] = [await startLoaded(), await startLoaded()];
    const [one, both] = [await sample([a]), await sample([a, b])];
    expect([one.pids, both.pids]).toEqual([1, 2]);
    expect(both.rssBytes).toBeGreaterThan(one.rssBytes);
    expect(both.openFiles).toBeGreaterThan(one.openFiles);
    expect(one.rssBytes).toBeGreaterThan(100_000);
  });

  test("leaves out pids that vanished, alone or among others", async () => {
    const sample = createUsageSampler(systemClock);
    const { pid, child } = start("sleep", "60");
    await sample([pid, process.pid]);
    await end(child);
    expect(await sample([pid])).toMatchObject({ rssBytes: 0, cpuPercent: 0, openFiles: 0, uncounted: 0, pids: 0 });
    expect((await sample([pid, process.pid])).pids).toBe(1);
  });

  test("answers zeros for no pid at all", async () => {
    expect(await createUsageSampler(systemClock)([])).toEqual({
      rssBytes: 0,
      cpuPercent: 0,
      cpuSeconds: 0,
      openFiles: 0,
      uncounted: 0,
      pids: 0,
    });
  });

  test("sees a busy process as busy and an idle one as idle", async () => {
    const [busy, idle] = [start("sh", "-c", "while :; do :; done").pid, start("sleep", "60").pid];
    const sampleBusy = createUsageSampler(systemClock);
    const sampleIdle = createUsageSampler(systemClock);
    await Promise.all([sampleBusy([busy]), sampleIdle([idle])]);
    // 110 ticks of one thread take 1.1 s at least: more than the shortest span that a share is computed over.
    await burn(busy, 110);
    const [hot, cold] = await Promise.all([sampleBusy([busy]), sampleIdle([idle])]);
    expect(hot.cpuPercent).toBeGreaterThan(2);
    expect(hot.cpuPercent).toBeLessThan(150);
    expect(cold.cpuPercent).toBeLessThan(2);
  });

  test("keeps no descriptor of a process that is no longer asked for", async () => {
    const { pid } = start("sleep", "60");
    const sample = createUsageSampler(systemClock);
    await Promise.all([sample([pid]), sample([pid]), createUsageSampler(systemClock)([pid])]);
    const held = (): number =>
      readdirSync("/proc/self/fd").filter((fd) => linkOf(`/proc/self/fd/${fd}`) === `/proc/${pid}/stat`).length;
    expect(held()).toBeLessThanOrEqual(1);
    await until("its descriptors are closed", () => held() === 0);
  });
});

describe("cpuSeconds of createUsageSampler()", () => {
  test("adds up the CPU time of processes, and keeps that of those that ended", async () => {
    const sample = createUsageSampler(systemClock);
    const [one, other] = [start("sh", "-c", "while :; do :; done"), start("sh", "-c", "while :; do :; done")];
    await burn(one.pid, 20);
    const first = await sample([one.pid]);
    expect(first.cpuSeconds).toBeGreaterThanOrEqual(0.2);
    await end(one.child);
    await burn(other.pid, 20);
    const second = await sample([other.pid]);
    expect(second.cpuSeconds).toBeGreaterThanOrEqual(first.cpuSeconds + 0.2);
    await end(other.child);
    expect((await sample([])).cpuSeconds).toBe(second.cpuSeconds);
  });

  test("counts the CPU time by the cgroup where there is one, on over its removal and a new one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "usage-"));
    const sample = createUsageSampler(systemClock);
    const after = async (usec: number | undefined): Promise<number> => {
      if (usec === undefined) rmSync(join(folder, "cpu.stat"));
      else writeFileSync(join(folder, "cpu.stat"), `usage_usec ${usec}\nuser_usec 1\n`);
      return (await sample([process.pid], folder)).cpuSeconds;
    };
    const seen: number[] = [];
    // Safe: a reading follows the one before.
    // oxlint-disable-next-line no-await-in-loop
    for (const usec of [2_000_000, 2_500_000, undefined, 250_000, 1_000_000]) seen.push(await after(usec));
    rmSync(folder, { recursive: true });
    expect(seen).toEqual([2, 2.5, 2.5, 2.75, 3.5]);
  });
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
