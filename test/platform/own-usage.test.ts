import { closeSync, openSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readOwnUsage } from "../../src/platform/own-usage.ts";

test("readOwnUsage() counts CPU time that only rises, and sees a descriptor that is opened", () => {
  const before = readOwnUsage();
  const opened = Array.from({ length: 50 }, () => openSync("/dev/null", "r"));
  const after = readOwnUsage();
  for (const fd of opened) closeSync(fd);
  expect(before.cpuSeconds).toBeGreaterThan(0);
  expect(after.cpuSeconds).toBeGreaterThanOrEqual(before.cpuSeconds);
  // Others of this process open and close some meanwhile.
  expect(after.openFiles).toBeGreaterThan((before.openFiles ?? Number.NaN) + 25);
});

test("readOwnUsage() tells the soft limit of descriptors and the address space as the kernel does", () => {
  const { maxOpenFiles, virtualBytes } = readOwnUsage();
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  expect(maxOpenFiles).toBe(Number(soft));
  const pages = Number(readFileSync("/proc/self/statm", "utf8").split(" ")[0]);
  expect(virtualBytes).toBeGreaterThan(pages * 4_096 * 0.5);
});
