/** Which limits hold on which machine, by table; and when memory counts as high. */
import { describe, expect, test } from "vitest";
import { controllersOf, isMemoryHigh, limitsSchema, planLimits, type LimitPowers } from "../../src/core/limits.ts";

const ALL: LimitPowers = {
  mode: "v2",
  obstacles: {},
  slowsMemory: true,
  maxOpenFiles: 20_000,
  maxCoreBytes: Number.POSITIVE_INFINITY,
  minOomScore: 0,
};
const NONE: LimitPowers = {
  ...ALL,
  mode: "none",
  slowsMemory: false,
  obstacles: { memory: "no cgroups", cpu: "no cgroups", pids: "no cgroups" },
};
const MIB = 1_024 ** 2;

describe("planLimits()", () => {
  test.each([
    ["nothing asked", {}, NONE, {}, []],
    [
      "everything on a machine that can",
      { memory: "2GiB", memoryHigh: "1GiB", cpu: "150%", pids: 9, openFiles: 99, core: "0B", oomScore: 500 },
      ALL,
      {
        memoryBytes: 2_048 * MIB,
        memoryHighBytes: 1_024 * MIB,
        cpuPercent: 150,
        pids: 9,
        openFiles: 99,
        coreBytes: 0,
        oomScore: 500,
      },
      [],
    ],
    [
      "cgroup limits without cgroups",
      { memory: "2GiB", memoryHigh: "1GiB", cpu: "150%", pids: 9, openFiles: 99 },
      NONE,
      { memoryHighBytes: 1_024 * MIB, openFiles: 99 },
      [
        "memory is not enforced here: no cgroups",
        "cpu is not enforced here: no cgroups",
        "pids is not enforced here: no cgroups",
        "memoryHigh does not slow the bot down here, for want of the memory controller of cgroup v2: the supervisor watches it, and tells the bot to degrade",
      ],
    ],
    [
      "one controller missing",
      { memory: "2GiB", pids: 9 },
      { ...ALL, mode: "hybrid", obstacles: { pids: "the kernel has no pids.max" } },
      { memoryBytes: 2_048 * MIB },
      ["pids is not enforced here: the kernel has no pids.max"],
    ],
    [
      "more than the supervisor may give",
      { openFiles: 65_536, core: "2MiB", oomScore: -500 },
      { ...ALL, maxCoreBytes: MIB },
      { openFiles: 20_000, coreBytes: MIB, oomScore: 0 },
      [
        "openFiles is 20000 here and not 65536: the supervisor may give no more; raise its own hard limit (LimitNOFILE= in its unit)",
        "core is 1.0 MiB here and not 2.0 MiB: the supervisor may give no more; raise its own hard limit (LimitCORE= in its unit)",
        "oomScore is 0 here and not -500: a lower one needs CAP_SYS_RESOURCE",
      ],
    ],
  ] as const)("with %s", (_name, limits, powers, enforced, gaps) => {
    const plan = planLimits(limitsSchema.parse(limits), powers);
    expect(plan.enforced).toEqual(enforced);
    expect(plan.gaps.map(({ key, message }) => `${key} ${message}`)).toEqual(gaps);
  });
});

test.each([
  [false, 100, false],
  [false, 101, true],
  [true, 96, true],
  [true, 95, false],
])("isMemoryHigh() after %s with %d of 100 is %s", (was, used, expected) => {
  expect(isMemoryHigh(was, used, 100)).toBe(expected);
});

test.each([
  [{}, []],
  [{ memoryHigh: "1GiB" }, ["memory"]],
  [{ openFiles: 10, core: "0B", oomScore: 1 }, []],
  [{ memory: "1GiB", cpu: "50%", pids: 3 }, ["memory", "cpu", "pids"]],
])("controllersOf() of %j", (limits, expected) => {
  expect(controllersOf(limitsSchema.parse(limits))).toEqual(expected);
});

test("controllersOf() without limits needs no cgroup", () => {
  expect(controllersOf(undefined)).toEqual([]);
});
