/** Who belongs to a bot, and that none of them survives: with a cgroup and without, on real processes. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cgroupPids, createBotCgroup, detectCgroup, removeCgroup } from "../../src/platform/cgroup.ts";
import { systemClock as clock } from "../../src/platform/clock.ts";
import { children, isLive, listPids, readStat } from "../../src/platform/proc.ts";
import type { ProcessId } from "../../src/platform/proc.ts";
import { killTree } from "../../src/platform/kill-tree.ts";
import { isSessionOver, listLeaderless, listMarked, listTree } from "../../src/platform/tree.ts";
import type { TreeMarks } from "../../src/platform/tree.ts";
import { FIXTURES, markedEnvironment, until } from "./until.ts";

const support = detectCgroup();
let folder = "";
let mark = "";
let cgroup: string | undefined;
const strays: ProcessId[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tree-"));
  mark = randomUUID();
});
afterEach(async () => {
  await killTree({ environ: [`INVOCATION_ID=${mark}`], cgroup, root: undefined, known: strays.splice(0) }, { clock });
  if (cgroup !== undefined && !removeCgroup(cgroup)) throw new Error(`cannot remove ${cgroup}`);
  cgroup = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function start(cmd: string[], fenced = false): ProcessId {
  if (fenced && support.base !== undefined) cgroup = createBotCgroup(support.base, `test-${mark}`);
  const child = Bun.spawn({
    cmd,
    env: markedEnvironment(mark),
    detached: true,
    stdio: ["ignore", "ignore", "ignore"],
    ...(cgroup === undefined ? {} : { cgroup }),
  });
  const { pid, startTicks } = readStat(child.pid) ?? { pid: child.pid, startTicks: 0 };
  strays.push({ pid, startTicks });
  return { pid, startTicks };
}

const marksOf = (root: ProcessId | undefined, more: Partial<TreeMarks> = {}): TreeMarks => ({
  environ: [`INVOCATION_ID=${mark}`],
  cgroup,
  root,
  known: [],
  ...more,
});
const names = (members: readonly { comm: string }[]): string[] => members.map((member) => member.comm).sort();
const pidIn = (path: string): Promise<number> =>
  until(`a pid in ${path}`, () => {
    try {
      return Number(readFileSync(path, "utf8"));
    } catch {
      return undefined;
    }
  });

describe.each([["without a cgroup", false] as const, ["with a cgroup", true] as const])("%s", (_, fenced) => {
  test.skipIf(fenced && support.base === undefined)("killTree() kills a setsid grandchild", async () => {
    const root = start(["sh", "-c", "setsid sleep 60 & sleep 60"], fenced);
    await until("both sleeps", () => listTree(marksOf(root)).filter((member) => member.comm === "sleep").length === 2);
    expect(names(listTree(marksOf(root)))).toEqual(["sh", "sleep", "sleep"]);
    expect(await killTree(marksOf(root), { clock })).toEqual([]);
    expect(listMarked([`INVOCATION_ID=${mark}`], cgroup)).toEqual([]);
  });

  test.skipIf(fenced && support.base === undefined)("killTree() wins against a forker", async () => {
    const root = start(["sh", join(FIXTURES, "forker.sh")], fenced);
    await until("some forks", () => listTree(marksOf(root)).length > 20);
    expect(await killTree(marksOf(root), { clock, graceMs: 5_000 })).toEqual([]);
    expect(listMarked([`INVOCATION_ID=${mark}`], cgroup)).toEqual([]);
  });

  test.skipIf(fenced && support.base === undefined)("killTree() kills what ignores SIGTERM", async () => {
    const root = start(["sh", join(FIXTURES, "ignore-term.sh"), join(folder, "pid")], fenced);
    await pidIn(join(folder, "pid"));
    process.kill(root.pid, "SIGTERM");
    expect(isLive(root.pid, root.startTicks)).toBe(true);
    expect(await killTree(marksOf(root), { clock })).toEqual([]);
  });

  test.skipIf(fenced && support.base === undefined)("killTree() kills a stopped tree whose root is dead", async () => {
    const root = start(["sh", "-c", "setsid sleep 60 & sleep 60 & exit 0"], fenced);
    await until("the root's end", () => !isLive(root.pid, root.startTicks));
    const left = await until("the orphans", () => {
      const members = listTree(marksOf(root)).filter((member) => member.comm === "sleep");
      return members.length === 2 && members;
    });
    for (const { pid } of left) process.kill(pid, "SIGSTOP");
    expect(await killTree(marksOf(root), { clock })).toEqual([]);
    expect(left.filter(({ pid, startTicks }) => isLive(pid, startTicks))).toEqual([]);
  });
});

test.skipIf(support.base === undefined)(
  "listTree() finds by the cgroup what cleared its environment and lost its parent",
  async () => {
    const root = start(["sh", join(FIXTURES, "escape.sh"), join(folder, "pid")], true);
    const escaped = await pidIn(join(folder, "pid"));
    await until("the orphan", () => readStat(escaped)?.ppid !== root.pid);
    expect(listTree({ ...marksOf(root), environ: [] }).map((member) => member.pid)).toContain(escaped);
    expect(cgroupPids(cgroup ?? "")).toContain(escaped);
    expect(await killTree(marksOf(root), { clock })).toEqual([]);
    expect(isLive(escaped)).toBe(false);
  },
);

test("listTree() keeps one that escaped from every mark but was seen before", async () => {
  const root = start(["sh", join(FIXTURES, "escape.sh"), join(folder, "pid")]);
  const escaped = await pidIn(join(folder, "pid"));
  const stat = await until("the escape", () => {
    const found = readStat(escaped);
    return found?.comm === "sleep" && found;
  });
  strays.push(stat);
  expect(listTree(marksOf(root)).map((member) => member.pid)).not.toContain(escaped);
  const seen = marksOf(root, { known: [stat] });
  expect(listTree(seen).map((member) => member.pid)).toContain(escaped);
  expect(await killTree(seen, { clock })).toEqual([]);
  expect(isLive(escaped)).toBe(false);
});

test("listTree() takes what a dead leader left in its session for the bot's only where the leader's end was watched", async () => {
  const left = join(folder, "left");
  const root = start(["env", "-i", "sh", "-c", `sleep 60 & echo $! > ${left}`]);
  const orphan = await pidIn(left);
  strays.push(await until("the orphan", () => readStat(orphan)));
  await until("the leader's end", () => !isLive(root.pid, root.startTicks) && readStat(orphan)?.ppid === 1);
  const pids = (more: Partial<TreeMarks>): number[] => listTree(marksOf(root, more)).map(({ pid }) => pid);
  expect(pids({})).toEqual([orphan]);
  // The leader may have been somebody else, who had the pid of a bot that had ended.
  expect(pids({ session: "unwatched" })).toEqual([]);
  // So it is neither ours nor nobody.
  const doubtful = (more: Partial<TreeMarks>): number[] => listLeaderless(marksOf(root, more)).map(({ pid }) => pid);
  expect(doubtful({ session: "unwatched" })).toEqual([orphan]);
  expect(doubtful({})).toEqual([]);
  expect([pids({ session: "over" }), doubtful({ session: "over" })]).toEqual([[], []]);
  expect(doubtful({ session: "unwatched", known: strays })).toEqual([]);
  const { startTicks = 0 } = readStat(orphan) ?? {};
  expect(listLeaderless(marksOf({ ...root, startTicks: startTicks + 1 }, { session: "unwatched" }))).toEqual([]);
});

test("listLeaderless() names also where its end was watched whom nothing tells for a member: its parent has left the session", async () => {
  const left = join(folder, "left");
  const away = join(folder, "away");
  // The parent is in a session of its own by then, without a mark, and lives.
  const inner = `sleep 60 & echo $! > ${left}; exec setsid sh -c 'echo $$ > ${away}; exec sleep 60'`;
  const root = start(["sh", "-c", `env -i sh -c "$0" & exec sleep 60`, inner]);
  const orphan = await pidIn(left);
  const parent = await pidIn(away);
  for (const pid of [orphan, parent]) strays.push(await until("it lives", () => readStat(pid)));
  expect(listTree(marksOf(root)).map(({ pid }) => pid)).toContain(orphan);
  expect(listLeaderless(marksOf(root))).toEqual([]);
  process.kill(root.pid, "SIGKILL");
  await until("the root's end", () => !isLive(root.pid, root.startTicks));
  expect(listTree(marksOf(root))).toEqual([]);
  expect(listLeaderless(marksOf(root)).map(({ pid }) => pid)).toEqual([orphan]);
});

test("listTree() takes the session of a member that leads it for the bot's, also who has lost its parent, while the leader lives", async () => {
  const left = join(folder, "left");
  const root = start(["sh", "-c", `(env -i sleep 60 & echo $! > ${left}); exec sleep 60`]);
  const orphan = await pidIn(left);
  await until("both are past their exec", () => [root.pid, orphan].every((pid) => readStat(pid)?.comm === "sleep"));
  strays.push(await until("it has lost its parent", () => readStat(orphan)));
  // By the mark alone: no identity tells the main process.
  expect(new Set(listTree(marksOf(undefined)).map(({ pid }) => pid))).toEqual(new Set([root.pid, orphan]));
  expect(await killTree(marksOf(undefined), { clock })).toEqual([]);
  expect(isLive(orphan)).toBe(false);
});

test("isSessionOver() says so once nobody is left of it, and not before", async () => {
  const left = join(folder, "left");
  const root = start(["env", "-i", "sh", "-c", `sleep 60 & echo $! > ${left}; exec sleep 60`]);
  const orphan = await pidIn(left);
  const stat = await until("the orphan", () => readStat(orphan));
  strays.push(stat);
  expect(isSessionOver(root)).toBe(false);
  process.kill(root.pid, "SIGKILL");
  await until("the leader's end", () => !isLive(root.pid, root.startTicks));
  expect(isSessionOver(root)).toBe(false);
  process.kill(orphan, "SIGKILL");
  await until("the orphan's end", () => !isLive(orphan, stat.startTicks));
  expect(isSessionOver(root)).toBe(true);
  // Who has the number now is in it, and nobody of the one that was there before.
  const other = start(["sleep", "60"]);
  expect([isSessionOver(other), isSessionOver({ ...other, startTicks: other.startTicks - 1 })]).toEqual([false, true]);
});

test("listTree() does not count zombies", async () => {
  const root = start(["sh", "-c", "sleep 0 & exec sleep 60"]);
  const zombie = await until("a zombie", () => children(root.pid).find((pid) => readStat(pid)?.state === "Z"));
  const members = listTree(marksOf(root, { known: [readStat(zombie) ?? root] }));
  expect(members.map((member) => member.pid)).toEqual([root.pid]);
});

test("killTree() does not touch a process whose pid is known with another start time", async () => {
  const bystander = Bun.spawn({ cmd: ["sleep", "60"], env: {}, detached: true, stdio: ["ignore", "ignore", "ignore"] });
  const stat = readStat(bystander.pid);
  const recycled = { pid: bystander.pid, startTicks: (stat?.startTicks ?? 0) - 1 };
  expect(await killTree({ environ: [], cgroup: undefined, root: recycled, known: [recycled] }, { clock })).toEqual([]);
  expect(isLive(bystander.pid, stat?.startTicks)).toBe(true);
  bystander.kill("SIGKILL");
  await bystander.exited;
});

test("listTree() never names us, our ancestors or PID 1, whatever the marks say", () => {
  const everyone = listPids().flatMap((pid) => readStat(pid) ?? []);
  const spared = [process.pid, process.ppid, 1];
  const known = everyone.filter((stat) => spared.includes(stat.pid));
  const members = listTree({ environ: [], cgroup: undefined, root: readStat(process.pid), known });
  expect(members.map((member) => member.pid).filter((pid) => spared.includes(pid))).toEqual([]);
});

test("killTree() returns at once and empty when nobody is left", async () => {
  const startMs = performance.now();
  expect(await killTree(marksOf({ pid: 4_194_303, startTicks: 1 }), { clock })).toEqual([]);
  expect(performance.now() - startMs).toBeLessThan(1_000);
});
