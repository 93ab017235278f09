/** /proc as read by src/platform/proc.ts, on real processes. */
import { afterEach, expect, test } from "vitest";
import {
  bootId,
  busiestThread,
  caughtSignals,
  children,
  countOpenFiles,
  isLive,
  listPids,
  parseStat,
  processAgeSeconds,
  readEnviron,
  readStat,
  startTicksOf,
} from "../../src/platform/proc.ts";
import { until } from "./until.ts";

const started: Bun.Subprocess[] = [];
const spawn = (cmd: string[], env: Record<string, string> = { PATH: "/usr/bin:/bin" }): Bun.Subprocess => {
  const child = Bun.spawn({ cmd, env, stdio: ["ignore", "ignore", "ignore"] });
  started.push(child);
  return child;
};

afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

test("parseStat() counts fields from the last bracket of a name that imitates the format", () => {
  const rest = Array.from({ length: 41 }, (_, index) => index + 10);
  const text = `77 (a) R 1 (x) S 5 6 7 0 0 ${rest.join(" ")}\n`;
  expect(parseStat(text)).toMatchObject({ pid: 77, comm: "a) R 1 (x", state: "S", ppid: 5, pgrp: 6, session: 7 });
});

test.each([
  [false, "1 (systemd) S 0 1 1 0 -1 4194560"],
  [true, "2 (kthreadd) S 0 0 0 0 -1 2129984"],
  [true, "36 (kworker/R-kblockd) I 2 0 0 0 -1 69238880"],
])("parseStat() says %j to whether this is a thread of the kernel: %j", (ofKernel, start) => {
  const rest = Array.from({ length: 41 }, () => 0);
  expect(parseStat(`${start} ${rest.join(" ")}\n`)?.ofKernel).toBe(ofKernel);
});

test.each(["", "12", "12 (sh", "12 (sh) S 1"])("parseStat() refuses the torn text %j", (text) => {
  expect(parseStat(text)).toBeUndefined();
});

test("readStat() tells the facts of this very process", () => {
  const stat = readStat(process.pid);
  expect(stat).toMatchObject({ pid: process.pid, ppid: process.ppid });
  expect(stat?.rssPages).toBeGreaterThan(0);
  expect(processAgeSeconds(stat?.startTicks ?? 0)).toBeGreaterThanOrEqual(0);
});

test("readStat() is undefined for a pid that nobody has", () => {
  expect(readStat(4_194_303)).toBeUndefined();
});

test("startTicksOf() tells what readStat() does, and nothing of a pid that nobody has", () => {
  expect(startTicksOf(process.pid)).toBe(readStat(process.pid)?.startTicks);
  expect(startTicksOf(4_194_303)).toBeUndefined();
});

test("isLive() counts a zombie as gone", async () => {
  // The shell becomes a program that never waits for its child.
  const parent = spawn(["sh", "-c", "sleep 0 & exec sleep 60"]);
  const zombie = await until("a zombie", () => children(parent.pid).find((pid) => readStat(pid)?.state === "Z"));
  expect(isLive(zombie)).toBe(false);
});

test("isLive() does not take another process for the one that had the pid before", () => {
  const child = spawn(["sleep", "60"]);
  const startTicks = readStat(child.pid)?.startTicks ?? 0;
  expect([isLive(child.pid, startTicks), isLive(child.pid, startTicks - 1)]).toEqual([true, false]);
});

test("readEnviron() gives each string that the process was started with", async () => {
  const child = spawn(["sleep", "60"], { PATH: "/usr/bin:/bin", A: "x=y z", B: "" });
  const environ = await until("the exec", () => readEnviron(child.pid)?.length === 3 && readEnviron(child.pid));
  expect(environ.sort()).toEqual(["A=x=y z", "B=", "PATH=/usr/bin:/bin"]);
});

test("caughtSignals() tells a handler from the default action", async () => {
  const child = spawn(["sh", "-c", "trap : USR1; while :; do sleep 1; done"]);
  const caught = await until("the trap", () => caughtSignals(child.pid)?.has(10) === true && caughtSignals(child.pid));
  expect([caught.has(10), caught.has(12)]).toEqual([true, false]);
});

test("busiestThread() is the thread that computes, if it would take the signal", async () => {
  const LOOP = ["sh", "-c", "while :; do :; done"];
  const [busy, deaf, idle] = [spawn(LOOP), spawn(["env", "--block-signal=QUIT", ...LOOP]), spawn(["sleep", "60"])];
  await until("both compute", () => [busy, deaf].every(({ pid }) => (readStat(pid)?.utimeTicks ?? 0) > 2));
  expect(await until("it is on a processor", () => busiestThread(busy.pid, 3))).toBe(busy.pid);
  expect([busiestThread(deaf.pid, 3), busiestThread(idle.pid, 3)]).toEqual([undefined, undefined]);
});

test("children(), listPids() and countOpenFiles() see a child", () => {
  const child = spawn(["sleep", "60"]);
  expect(children(process.pid)).toContain(child.pid);
  expect(listPids()).toEqual(expect.arrayContaining([child.pid, process.pid]));
  expect(countOpenFiles(child.pid)).toBeGreaterThanOrEqual(3);
  expect(countOpenFiles(4_194_303)).toBeUndefined();
});

test("bootId() is the kernel's uuid of this boot", () => {
  expect(bootId()).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});
