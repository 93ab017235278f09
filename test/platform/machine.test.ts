/** What the machine says of itself, checked against independent sources where there are any. */
import { totalmem } from "node:os";
import { expect, test } from "vitest";
import { LineSplitter } from "../../src/platform/line-splitter.ts";
import {
  clockSynchronised,
  describeMachine,
  diskFree,
  kernelRelease,
  totalMemoryBytes,
} from "../../src/platform/machine.ts";
import { unixAddress } from "../../src/platform/unix-address.ts";

test("totalMemoryBytes() is what the kernel reports", () => {
  expect(totalMemoryBytes()).toBeGreaterThan(67_108_864);
  expect(totalMemoryBytes() / totalmem()).toBeCloseTo(1, 1);
});

test("diskFree() agrees with df, and is undefined where nothing is", () => {
  const disk = diskFree("/");
  const df = Bun.spawnSync({ cmd: ["df", "-B1", "--output=size", "/"] }).stdout.toString();
  expect(disk?.totalBytes).toBe(Number(df.split("\n")[1]));
  expect(disk?.freeBytes).toBeLessThanOrEqual(disk?.totalBytes ?? 0);
  expect(diskFree("/no/such/path")).toBeUndefined();
});

test("kernelRelease() and clockSynchronised() answer", () => {
  expect(kernelRelease()).toBe(
    Bun.spawnSync({ cmd: ["uname", "-r"] })
      .stdout.toString()
      .trim(),
  );
  expect([true, false, undefined]).toContain(clockSynchronised());
});

test("describeMachine() names system, processor and cores", async () => {
  const machine = await describeMachine();
  expect(machine.os).not.toBe("");
  expect(machine.cpu).not.toBe("");
  expect(machine.cores).toBeGreaterThanOrEqual(1);
  expect(machine.memoryBytes).toBe(totalMemoryBytes());
});

test.each([
  [["a\nb", "c\n", "\nd"], ["a", "bc", "d"], 0],
  [["12345678\n123456789\n1\n"], ["12345678", "1"], 1],
  [["123456", "789", "0\nx"], ["x"], 1],
  [[], [], 0],
])("LineSplitter cuts %j into %j", (chunks, expected, dropped) => {
  const lines: string[] = [];
  const splitter = new LineSplitter(8, (line) => lines.push(line));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk));
  splitter.end();
  expect([lines, splitter.dropped]).toEqual([expected, dropped]);
});

test.each([
  ["/a", [1, 0, 0x2f, 0x61, 0]],
  ["@a", [1, 0, 0, 0x61]],
  ["", undefined],
  ["x".repeat(108), undefined],
])("unixAddress(%j) is the kernel's structure", (path, expected) => {
  const address = unixAddress(path);
  expect(address === undefined ? undefined : [...address]).toEqual(expected);
});
