/** Where our own cgroup is, by the texts of real machines, and what can be done with one here. */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../src/platform/clock.ts";
import {
  cgroupPids,
  createBotCgroup,
  detectCgroup,
  freezeCgroup,
  killCgroup,
  ownFolder,
  removeCgroup,
  isUnpopulated,
  keepEvents,
  releaseEvents,
} from "../../src/platform/cgroup.ts";
import { readStat } from "../../src/platform/proc.ts";
import { until } from "./until.ts";

const UNIFIED = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
const HYBRID = [
  "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
  "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
  "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
].join("\n");
const CONTAINER = "50 40 0:27 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw";

test.each([
  [UNIFIED, "0::/system.slice/tradingbot.service\n", "/sys/fs/cgroup/system.slice/tradingbot.service"],
  [UNIFIED, "0::/\n", "/sys/fs/cgroup"],
  [HYBRID, "4:memory:/x\n1:cpu:/\n0::/\n", "/sys/fs/cgroup/unified"],
  [HYBRID.replace("/unified", "/uni\\040fied"), "0::/a b\n", "/sys/fs/cgroup/uni fied/a b"],
  [CONTAINER, "0::/docker/ab/app\n", "/sys/fs/cgroup/app"],
  [CONTAINER, "0::/elsewhere\n", undefined],
  [UNIFIED, "0::/../outside\n", undefined],
  [UNIFIED, "4:memory:/x\n", undefined],
  ["", "0::/\n", undefined],
])("ownFolder() of row %#", (mountinfo, cgroup, expected) => {
  expect(ownFolder(mountinfo, cgroup)).toBe(expected);
});

test("detectCgroup() answers with a reason and leaves no trial cgroup behind", () => {
  const support = detectCgroup();
  expect(["v2", "hybrid", "none"]).toContain(support.mode);
  expect(support.reason).not.toBe("");
  expect(support.base === undefined).toBe(support.mode === "none");
  expect(existsSync(join(support.base ?? "/nowhere", `tradingbot-probe-${process.pid}`))).toBe(false);
});

test.skipIf(detectCgroup().base === undefined)(
  "a cgroup freezes, kills, is reused after a crash and removed with what is below",
  async () => {
    const base = detectCgroup().base ?? "";
    const path = createBotCgroup(base, `test-${randomUUID()}`) ?? "";
    const child = Bun.spawn({ cmd: ["sleep", "60"], cgroup: path, stdio: ["ignore", "ignore", "ignore"] });
    try {
      expect(cgroupPids(path)).toEqual([child.pid]);
      expect(removeCgroup(path)).toBe(false);
      expect(freezeCgroup(path, true)).toBe(true);
      expect(killCgroup(path)).toBe(true);
      await until("the kill", () => readStat(child.pid)?.state !== "S");
      expect(await child.exited).toBe(137);
      // Still frozen and marked as killed, as a daemon that was killed on this line leaves it: the next bot must run all the same.
      expect(createBotCgroup(base, path.slice(base.length + 1))).toBe(path);
      const next = Bun.spawn({ cmd: ["true"], cgroup: path, stdio: ["ignore", "ignore", "ignore"] });
      expect(await next.exited).toBe(0);
      mkdirSync(join(path, "a", "b"), { recursive: true });
    } finally {
      child.kill("SIGKILL");
      const gone = systemClock.monotonicMs() + 2_000;
      while (!removeCgroup(path) && systemClock.monotonicMs() < gone) await Bun.sleep(5);
    }
    expect(existsSync(path)).toBe(false);
    expect([cgroupPids(path), removeCgroup(path), killCgroup(path)]).toEqual([[], true, false]);
  },
);

const { base } = detectCgroup();

test.skipIf(base === undefined)(
  "isUnpopulated() with a kept descriptor tells of each process, and of the cgroup that has the name now",
  async () => {
    const path = createBotCgroup(base ?? "", `tradingbot-kept-${process.pid}`) ?? "";
    const inside = () => Bun.spawn({ cmd: ["sleep", "60"], cgroup: path, stdio: ["ignore", "ignore", "ignore"] });
    const seen: boolean[] = [];
    try {
      keepEvents(path);
      seen.push(isUnpopulated(path));
      const first = inside();
      seen.push(isUnpopulated(path));
      first.kill("SIGKILL");
      await first.exited;
      seen.push(isUnpopulated(path));
      removeCgroup(path);
      seen.push(isUnpopulated(path));
      createBotCgroup(base ?? "", `tradingbot-kept-${process.pid}`);
      keepEvents(path);
      removeCgroup(path);
      createBotCgroup(base ?? "", `tradingbot-kept-${process.pid}`);
      const second = inside();
      seen.push(isUnpopulated(path));
      second.kill("SIGKILL");
      await second.exited;
      seen.push(isUnpopulated(path));
    } finally {
      releaseEvents(path);
      removeCgroup(path);
    }
    expect(seen).toEqual([true, false, true, false, false, true]);
  },
);
