/** That a tree is killed in one call where it is wholly in its cgroup, and left alone where it is not; on real processes. */
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { createBotCgroup, detectCgroup, freezeCgroup, removeCgroup } from "../../src/platform/cgroup.ts";
import { systemClock as clock } from "../../src/platform/clock.ts";
import { killOutright } from "../../src/platform/outright.ts";
import { children, isLive, readStat, type ProcessId } from "../../src/platform/proc.ts";
import { killTree } from "../../src/platform/kill-tree.ts";
import { markedEnvironment, until } from "./until.ts";

const { base } = detectCgroup();
let cgroup = "";
let mark = "";

afterEach(async () => {
  freezeCgroup(cgroup, false);
  await killTree({ environ: [`INVOCATION_ID=${mark}`], cgroup, root: undefined, known: [] }, { clock });
  removeCgroup(cgroup);
});

/** A shell with a child, both in a cgroup of their own. */
async function startPair(): Promise<{ root: ProcessId; child: ProcessId }> {
  mark = randomUUID();
  cgroup = createBotCgroup(base ?? "", `test-${mark}`) ?? "";
  const { pid } = Bun.spawn({
    cmd: ["sh", "-c", "setsid sleep 60 & wait"],
    env: markedEnvironment(mark),
    detached: true,
    stdio: ["ignore", "ignore", "ignore"],
    cgroup,
  });
  const found = await until("the sleep", () => {
    const [first] = children(pid);
    return first !== undefined && readStat(first)?.comm === "sleep" ? first : undefined;
  });
  return { root: idOf(pid), child: idOf(found) };
}

const idOf = (pid: number): ProcessId => ({ pid, startTicks: readStat(pid)?.startTicks ?? 0 });
const lives = ({ pid, startTicks }: ProcessId): boolean => isLive(pid, startTicks);

test.skipIf(base === undefined)("killOutright() kills a tree that is wholly in its cgroup", async () => {
  const { root, child } = await startPair();
  expect(killOutright({ cgroup, root, begunHere: true })).toBe(true);
  await until("the end of both", () => (lives(root) || lives(child) ? undefined : true));
});

test.skipIf(base === undefined)(
  "killTree() gives the moment between freeze and kill: all stand, all live, then all are dead",
  async () => {
    const { root, child } = await startPair();
    const seen: unknown[] = [];
    const whileStanding = (): void => {
      seen.push(readFileSync(join(cgroup, "cgroup.freeze"), "utf8").trim(), lives(root), lives(child));
    };
    const marks = { environ: [`INVOCATION_ID=${mark}`], cgroup, root, known: [] };
    expect(await killTree({ ...marks, begunHere: true }, { clock, whileStanding })).toEqual([]);
    expect(seen).toEqual(["1", true, true]);
    expect([lives(root), lives(child)]).toEqual([false, false]);
    // Nobody lives: there is no such moment.
    expect(await killTree(marks, { clock, whileStanding })).toEqual([]);
    expect(seen).toHaveLength(3);
  },
);

test.skipIf(base === undefined)(
  "killTree() leaves nobody frozen and alive when its process dies between freeze and kill",
  async () => {
    const { root, child } = await startPair();
    const fixture = join(import.meta.dirname, "../fixtures/freeze-and-die.ts");
    const killer = Bun.spawn([process.execPath, fixture, String(root.pid), String(root.startTicks), cgroup], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(await new Response(killer.stdout).text()).toBe("standing\n");
    await killer.exited;
    expect(killer.signalCode).toBe("SIGKILL");
    await until("the end of both", () => (lives(root) || lives(child) ? undefined : true));
  },
);

test.skipIf(base === undefined)("killOutright() kills nobody where a descendant is in another cgroup", async () => {
  const { root, child } = await startPair();
  writeFileSync(join(base ?? "", "cgroup.procs"), String(child.pid));
  expect(killOutright({ cgroup, root, begunHere: true })).toBe(false);
  expect([lives(root), lives(child)]).toEqual([true, true]);
});

test.skipIf(base === undefined)("killOutright() kills nobody of what an earlier supervisor has left", async () => {
  const { root, child } = await startPair();
  expect(killOutright({ cgroup, root })).toBe(false);
  expect([lives(root), lives(child)]).toEqual([true, true]);
});

test.skipIf(base === undefined)("killOutright() kills nobody once the main process is dead", async () => {
  const { root, child } = await startPair();
  process.kill(root.pid, "SIGKILL");
  await until("its end", () => (lives(root) ? undefined : true));
  expect(killOutright({ cgroup, root, begunHere: true })).toBe(false);
  expect(lives(child)).toBe(true);
});
