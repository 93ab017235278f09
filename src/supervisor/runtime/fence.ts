/** The fence around one bot: every set of marks by which something of it may still live, killed and looked for as one. */
import type { Clock } from "../../platform/clock.ts";
import { Census } from "../../platform/census.ts";
import { killTree } from "../../platform/kill-tree.ts";
import {
  holdsUnseen,
  isProvenGone,
  isSessionOver,
  listLeaderless,
  listTree,
  stillLives,
  UNSEEN,
  type TreeMarks,
} from "../../platform/tree.ts";
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

/**
 * Pids that may be of any of the sets, by nothing but the session that its main process has left: neither to be ended on a guess, nor to be
 * started or closed beside. Throws as `livingIn` does.
 */
export function doubtfulIn(fence: Fence, census?: Census): readonly number[] {
  return [...new Set(doubtsIn(fence, census).map(({ pid }) => pid))];
}

interface Doubt {
  readonly pid: number;
  readonly session: number;
}

function doubtsIn(fence: Fence, census?: Census): readonly Doubt[] {
  const open = fence.filter(({ root, session }) => root !== undefined && session !== "over");
  if (open.length === 0) return [];
  const now = census ?? new Census();
  return open.flatMap((marks) => listLeaderless(marks, now));
}

/** What people are told of those of `pids` that are in doubt, and what they can do; `undefined`: none of them is. */
export function doubtText(pids: readonly number[], fence: Fence): string | undefined {
  const doubts = doubtsOf(fence).filter(({ pid }) => pids.includes(pid));
  if (doubts.length === 0) return undefined;
  const list = [...new Set(doubts.map(({ pid }) => pid))];
  const roots = [...new Set(doubts.map(({ session }) => session))].join(", ");
  const [is, it] = list.length === 1 ? ["is", "it"] : ["are", "they"];
  return `pid ${list.join(", ")}, which ${is} in the session of main process ${roots}, which has ended, may be of the bot, and ${is} not ended on a guess: look (ps -fp ${list.join(",")}); if ${it} ${is} of the bot, kill ${list.join(" ")}; if not, stop the supervisor, remove the identity.json that names pid ${roots}, and start it again`;
}

function doubtsOf(fence: Fence): readonly Doubt[] {
  try {
    return doubtsIn(fence);
  } catch {
    return [];
  }
}

/** The sets, those marked whose session is seen to be over: whoever has its number later is a stranger. Throws as `livingIn` does. */
export function withoutSessions(fence: Fence, census?: Census): Fence {
  let now = census;
  return fence.map((marks) => {
    const { root, session } = marks;
    if (root === undefined || session === "over" || stillLives(root.pid, root.startTicks)) return marks;
    now ??= new Census();
    return isSessionOver(root, now) ? { ...marks, session: "over" } : marks;
  });
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
 * Kills everything of every set and returns the pids that survived, and those that may be of it and cannot be told; empty is the proof of
 * death. Never throws. `whileStanding` is called when a set is stopped and before it is killed.
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
  for (const pid of leftInDoubt(fence)) survivors.add(pid);
  return [...survivors];
}

/** The main process of a set may have ended after the last look for doubt, or its session may be another's by then. */
function leftInDoubt(fence: Fence): readonly number[] {
  try {
    // Where the kernel's books prove the end, nobody waits for a list of all processes.
    return doubtfulIn(fence.filter((marks) => marks.cgroup === undefined || !isProvenGone(marks)));
  } catch {
    return [UNSEEN];
  }
}
