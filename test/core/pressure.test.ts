/** What the kernel's pressure files say, and when it is heavy. */
import { describe, expect, test } from "vitest";
import { averageOf, heavyPressure, HEAVY, WITNESS_LAG_MS, type Pressure } from "../../src/core/pressure.ts";

const CALM: Pressure = { cpuSomePercent: 3, memoryFullPercent: 0, ioFullPercent: 1 };
const UNTOLD: Pressure = { cpuSomePercent: undefined, memoryFullPercent: undefined, ioFullPercent: undefined };

describe("averageOf()", () => {
  const text =
    "some avg10=12.50 avg60=3.71 avg300=9.54 total=1480045760\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=0\n";

  test.each([
    ["some", text, "some", 12.5],
    ["full", text, "full", 0.25],
    ["a line that is not there", text.split("\n", 1)[0], "full", undefined],
    ["a file that is not there", undefined, "some", undefined],
    ["garbage", "some avg10=", "some", undefined],
  ] as const)("reads %s", (_, content, line, expected) => {
    expect(averageOf(content, line)).toBe(expected);
  });
});

describe("heavyPressure()", () => {
  test.each([
    ["a calm machine", CALM, 0, false, undefined],
    ["a kernel that tells nothing", UNTOLD, 60_000, false, undefined],
    ["memory at its line", { ...CALM, memoryFullPercent: 20 }, 0, false, "short of memory 20% of the time"],
    ["memory below its line", { ...CALM, memoryFullPercent: 19.9 }, 0, false, undefined],
    ["memory that was heavy", { ...CALM, memoryFullPercent: 10 }, 0, true, "short of memory 10% of the time"],
    ["memory that was heavy and has halved", { ...CALM, memoryFullPercent: 9.9 }, 0, true, undefined],
    ["disks", { ...CALM, ioFullPercent: HEAVY.ioFullPercent }, 0, false, "waiting for its disks 40% of the time"],
    ["a busy CPU that makes nobody late", { ...CALM, cpuSomePercent: 100 }, WITNESS_LAG_MS - 1, false, undefined],
    [
      "a CPU that makes us late",
      { ...CALM, cpuSomePercent: 95 },
      WITNESS_LAG_MS,
      false,
      "short of CPU 95% of the time",
    ],
  ])("judges %s", (_, pressure, lagMs, wasHeavy, expected) => {
    expect(heavyPressure(pressure, lagMs, wasHeavy)).toBe(expected);
  });
});
