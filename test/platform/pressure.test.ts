/** The machine's clocks and its pressure, as this kernel tells them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readMachineClocks } from "../../src/platform/machine-clocks.ts";
import { memoryPressure, readPressure } from "../../src/platform/pressure.ts";

const line = (kind: string, percent: string): string => `${kind} avg10=${percent} avg60=0.00 avg300=0.00 total=0\n`;

test("readMachineClocks() reads three clocks that belong together", () => {
  const beforeMs = Date.now();
  const reading = readMachineClocks();
  if (reading === undefined) throw new Error("no reading");
  expect(reading.realtimeMs).toBeGreaterThanOrEqual(beforeMs);
  expect(reading.realtimeMs).toBeLessThan(Date.now() + 1);
  expect(reading.boottimeMs).toBeGreaterThanOrEqual(reading.monotonicMs - 1);
  expect(readMachineClocks()?.monotonicMs ?? 0).toBeGreaterThan(reading.monotonicMs);
});

test("readPressure() is the machine's, or the cgroup's where that is greater; memoryPressure() is the cgroup's", () => {
  const cgroup = mkdtempSync(join(tmpdir(), "psi-"));
  try {
    const told = existsSync("/proc/pressure/cpu");
    expect(readPressure(undefined).memoryFullPercent !== undefined).toBe(told);
    writeFileSync(join(cgroup, "memory.pressure"), line("some", "101.00") + line("full", "100.50"));
    writeFileSync(join(cgroup, "cpu.pressure"), line("some", "99.75"));
    expect(readPressure(cgroup)).toMatchObject({ memoryFullPercent: 100.5 });
    expect(readPressure(cgroup).cpuSomePercent).toBeGreaterThanOrEqual(99.75);
    expect(memoryPressure(cgroup)).toBe(100.5);
    expect(memoryPressure(join(cgroup, "gone"))).toBeUndefined();
  } finally {
    rmSync(cgroup, { recursive: true });
  }
});
