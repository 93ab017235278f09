/** What is read of a process in the moment before its kill, and that it is no more than the time allows. */
import { expect, test } from "vitest";
import { glanceAt } from "../../src/platform/glance.ts";
import { readStat, type ProcessId } from "../../src/platform/proc.ts";

const PATIENT_MS = 10_000;
const idOf = (pid: number): ProcessId => ({ pid, startTicks: readStat(pid)?.startTicks ?? 0 });

test("glanceAt() tells memory, threads and files of a living process", () => {
  const child = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"] });
  const texts = glanceAt(idOf(child.pid), PATIENT_MS);
  child.kill();
  expect(texts["proc/status"]).toContain("VmRSS:");
  expect(JSON.parse(texts["threads.json"] ?? "")).toContainEqual(expect.objectContaining({ tid: child.pid }));
  expect(JSON.parse(texts["fds.json"] ?? "")).toContainEqual({ fd: 0, target: expect.any(String) });
});

test("glanceAt() reads nothing once the time is over, and nothing of who is gone", () => {
  expect(glanceAt(idOf(process.pid), 0)).toEqual({});
  expect(glanceAt({ pid: process.pid, startTicks: 1 }, PATIENT_MS)).toEqual({});
});
