/** Limits as the kernel keeps them: rows of /proc, the step before the exec, and cgroups where the machine has them. */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CONTROLLERS } from "../../src/core/limits.ts";
import { detectCgroup, ownV1Folder, removeCgroup } from "../../src/platform/cgroup.ts";
import {
  countOomKills,
  limitCpu,
  limitMemory,
  limitPids,
  residentMemory,
  usedMemory,
  wasKilledWhole,
} from "../../src/platform/cgroup-limits.ts";
import { findControllers } from "../../src/platform/controllers.ts";
import { hardLimit, limitPrefix, processPowers } from "../../src/platform/process-limits.ts";
import { until } from "./until.ts";

test("wasKilledWhole() goes by the kernel's count for this cgroup on v2, and is false where nobody counts", () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-killed-"));
  try {
    const told = (text: string): boolean => {
      writeFileSync(join(folder, "memory.events.local"), text);
      return wasKilledWhole("v2", folder);
    };
    expect(wasKilledWhole("v2", folder)).toBe(false);
    expect(told("low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n")).toBe(false);
    expect(told("oom 2\noom_kill 2\noom_group_kill 0\n")).toBe(false);
    expect(told("oom 2\noom_kill 2\noom_group_kill 1\n")).toBe(true);
    expect(wasKilledWhole("v1", folder)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const HYBRID = [
  "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
  "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
  "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
].join("\n");
const CGROUPS = "4:memory:/jobs/7\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/own\n";

test.each([
  ["memory", "/sys/fs/cgroup/memory/jobs/7"],
  ["cpu", "/sys/fs/cgroup/cpu,cpuacct"],
  ["pids", undefined],
  ["name=systemd", undefined],
])("ownV1Folder() of %s", (controller, expected) => {
  expect(ownV1Folder(HYBRID, CGROUPS, controller)).toBe(expected);
});

const LIMITS = [
  "Limit                     Soft Limit           Hard Limit           Units     ",
  "Max core file size        0                    unlimited            bytes     ",
  "Max open files            1024                 20000                files     ",
].join("\n");

test.each([
  ["Max open files", 20_000],
  ["Max core file size", Number.POSITIVE_INFINITY],
  ["Max nothing", Number.POSITIVE_INFINITY],
])("hardLimit() of %s", (row, expected) => {
  expect(hardLimit(LIMITS, row)).toBe(expected);
});

/** Runs a command with limits and nothing but `env`. */
const run = (limits: Parameters<typeof limitPrefix>[0], env: Record<string, string>, ...command: string[]) => {
  const { exitCode, stdout } = Bun.spawnSync({
    cmd: [...limitPrefix(limits, [], env), ...command],
    env,
    stderr: "ignore",
  });
  return { exitCode, out: stdout.toString() };
};

describe("limitPrefix()", () => {
  test("is empty when there is nothing to set", () => {
    expect(limitPrefix({ memoryBytes: 1, cpuPercent: 1, pids: 1 }, [], {})).toEqual([]);
  });

  test("sets soft and hard limits and the OOM score before the program runs", () => {
    const { out } = run(
      { openFiles: 77, coreBytes: 0, oomScore: 500 },
      { PATH: "/usr/bin:/bin" },
      "cat",
      "/proc/self/limits",
      "/proc/self/oom_score_adj",
    );
    expect(out).toMatch(/^Max open files +77 +77 /m);
    expect(out).toMatch(/^Max core file size +0 +0 /m);
    expect(out).toMatch(/^500$/m);
  });

  test("leaves arguments and environment as they are", () => {
    const env = { PATH: "/usr/bin:/bin", PWD: "/tmp", X: "a b" };
    expect(run({ openFiles: 77 }, env, "printf", "%s|", "a b", "$X", "").out).toBe("a b|$X||");
    const given = readEnv(run({ openFiles: 77 }, { PATH: "/usr/bin:/bin", X: "a b" }, "env").out);
    expect(given).toMatchObject({ PATH: "/usr/bin:/bin", X: "a b" });
    expect(given).not.toHaveProperty("PWD");
  });

  test("ends with the code of the step that failed, and the program does not run", () => {
    const most = processPowers().maxOpenFiles;
    expect(run({ openFiles: most + 1 }, {}, "/bin/echo", "ran")).toEqual({ exitCode: 205, out: "" });
    const lost = limitPrefix({}, ["/nowhere/cgroup.procs"], {});
    const { exitCode, stdout } = Bun.spawnSync({ cmd: [...lost, "/bin/echo", "ran"], stderr: "ignore" });
    expect({ exitCode, out: stdout.toString() }).toEqual({ exitCode: 219, out: "" });
  });
});

function readEnv(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.split(/=(.*)/s).slice(0, 2)),
  );
}

test("residentMemory() counts what processes hold", () => {
  expect(residentMemory([process.pid])).toBeGreaterThan(1_024 ** 2);
  expect(residentMemory([])).toBe(0);
});

const { places, obstacles } = findControllers(detectCgroup());

test("findControllers() has a place or an obstacle for each controller and leaves nothing behind", () => {
  for (const controller of CONTROLLERS)
    expect(places[controller] === undefined).toBe(obstacles[controller] !== undefined);
  const probes = Object.values(places).map(({ folder }) => join(folder, `tradingbot-probe-${process.pid}`));
  expect(probes.filter((path) => existsSync(path))).toEqual([]);
});

/** v1 only: on v2 a cgroup of ours has controllers after the supervisor has moved, which a test must not do to its runner. */
const [memory, cpu, pids] = [places.memory, places.cpu, places.pids].map((place) =>
  place?.version === "v1" ? place.folder : undefined,
);

/** A cgroup below `folder`, removed at the end. */
function scratch(folder: string): AsyncDisposable & { readonly path: string } {
  const path = join(folder, `test-${randomUUID()}`);
  mkdirSync(path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      // What a shell leaves behind may still be on its way out.
      await until("an empty cgroup", () => removeCgroup(path));
    },
  };
}

const started = (cgroup: string, script: string) =>
  Bun.spawnSync({ cmd: [...limitPrefix({}, [join(cgroup, "cgroup.procs")], {}), "sh", "-c", script], stderr: "pipe" });

test.skipIf(memory === undefined)(
  "limitMemory() lets the kernel kill a hog, and countOomKills() counts it",
  async () => {
    await using cgroup = scratch(memory ?? "");
    limitMemory("v1", cgroup.path, { memoryBytes: 32 * 1_024 ** 2 });
    expect(countOomKills("v1", cgroup.path)).toBe(0);
    expect(usedMemory("v1", cgroup.path)).toBeLessThan(1_024 ** 2);
    expect(started(cgroup.path, "exec tail /dev/zero").signalCode).toBe("SIGKILL");
    expect(countOomKills("v1", cgroup.path)).toBe(1);
  },
);

test.skipIf(cpu === undefined)("limitCpu() makes a busy process wait", async () => {
  await using cgroup = scratch(cpu ?? "");
  limitCpu("v1", cgroup.path, 10);
  started(cgroup.path, "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done");
  expect(
    Number(/^nr_throttled (\d+)$/m.exec(readFileSync(join(cgroup.path, "cpu.stat"), "utf8"))?.[1]),
  ).toBeGreaterThan(0);
});

test.skipIf(pids === undefined)("limitPids() refuses the fork beyond the limit", async () => {
  await using cgroup = scratch(pids ?? "");
  limitPids(cgroup.path, 2);
  const { exitCode, stderr } = started(cgroup.path, "(sleep 0; true); true | cat");
  expect(exitCode).not.toBe(0);
  expect(stderr.toString()).toContain("fork");
});
