/** The fence around one bot: every set of marks by which something of it may still live, killed and looked for as one. */
import type { Clock } from "../../platform/clock.ts";
import { Census } from "../../platform/census.ts";
import { killTree } from "../../platform/kill-tree.ts";
import { holdsUnseen, listTree, UNSEEN, type TreeMarks } from "../../platform/tree.ts";
import { KILL_GRACE_MS } from "./bot-plan.ts";

/** The present start of a bot, and whatever earlier supervisors, cgroups or names of it may have left. */
export type Fence = readonly TreeMarks[];

/** Pids that live of any of the sets, as of the census. Throws when processes cannot be listed, which must never read as "nobody". */
export function livingIn(fence: Fence, census: Census = new Census()): readonly number[] {
  return [...new Set(fence.flatMap((marks) => listTree(marks, census).map((member) => member.pid)))];
}

/**
 * Pids that live of `earlier` and do not belong to the start `present`, as of the census. All that is of one bot carries its
 * lasting mark: `present` must have only what names that very start. Throws as `livingIn` does.
 */
export function leftOf(earlier: Fence, present: Fence, census: Census): readonly number[] {
  const ours = new Set(livingIn(present, census));
  return livingIn(earlier, census).filter((pid) => !ours.has(pid));
}

/** The pids as people are told of them: what has none here is named by its cgroup, which is where it can be found and ended. */
export function livingText(pids: readonly number[], fence: Fence): string {
  const seen = pids.filter((pid) => pid !== UNSEEN);
  const unseen = pids.includes(UNSEEN) ? unseenText(fence) : undefined;
  return [...(seen.length === 0 ? [] : [`pid ${seen.join(", ")}`]), ...(unseen === undefined ? [] : [unseen])].join(
    " and ",
  );
}

function unseenText(fence: Fence): string {
  const cgroups = [...new Set(fence.flatMap(({ cgroup }) => (isHeldUnseen(cgroup) ? [cgroup] : [])))];
  if (cgroups.length === 0) return "a process that cannot be looked at";
  return `a process of another PID namespace (container) in cgroup ${cgroups.join(", ")}`;
}

function isHeldUnseen(cgroup: string | undefined): boolean {
  try {
    return holdsUnseen(cgroup);
  } catch {
    return false;
  }
}

/**
 * Kills everything of every set and returns the pids that survived; empty is the proof of death. Never throws. `whileStanding` is
 * called when a set is stopped and before it is killed.
 */
export async function killAll(fence: Fence, clock: Clock, whileStanding?: () => void): Promise<readonly number[]> {
  const survivors = new Set<number>();
  for (const marks of fence) {
    // Safe: one set of marks after the other: each kill may change what the next finds.
    // oxlint-disable-next-line no-await-in-loop
    const killed = await killTree(marks, {
      clock,
      graceMs: KILL_GRACE_MS,
      ...(whileStanding === undefined ? {} : { whileStanding }),
    });
    for (const member of killed) survivors.add(member.pid);
  }
  return [...survivors];
}
