/**
 * The quick end of a tree that is wholly inside its cgroup: one write kills it, forks under way included (cgroups(7),
 * `cgroup.kill`). Whoever might be outside is first looked for by the slow way of kill-tree.ts.
 */
import { readdirSync } from "node:fs";
import { cgroupPids, freezeCgroup, killCgroup } from "./cgroup.ts";
import { isLive, readKernelFile, type ProcessId } from "./proc.ts";

/** Processes that are looked at; a larger tree has time for the slow way. */
const MAX_PROCESSES = 64;

export interface WholeTree {
  readonly cgroup: string | undefined;
  readonly root: ProcessId | undefined;
  /** As of `TreeMarks`. */
  readonly begunHere?: boolean;
}

/**
 * Kills everything in the cgroup, if the kernel's lists of children say that nobody who descends from the main process is
 * outside. False, with nothing killed, where that cannot be told; the cgroup may then be frozen. It proves nothing: who
 * lives is to be looked for afterwards. `whileStanding` is called right before the kill, when nobody runs; it must not throw.
 */
export function killOutright({ cgroup, root, begunHere }: WholeTree, whileStanding?: () => void): boolean {
  if (begunHere !== true || cgroup === undefined || root === undefined) return false;
  try {
    // From here on nobody inside moves out or forks.
    freezeCgroup(cgroup, true);
    const inside = new Set(cgroupPids(cgroup));
    if (!inside.has(root.pid) || !holdsLine(root.pid, inside)) return false;
    whileStanding?.();
    return killCgroup(cgroup);
  } catch {
    // What cannot be read may be outside.
    return false;
  }
}

/** Whether everybody who descends from `pid` and lives is in `inside`. Throws where a list cannot be read. */
function holdsLine(pid: number, inside: ReadonlySet<number>): boolean {
  const line = [pid];
  for (let i = 0; i < line.length; i += 1) {
    if (i >= MAX_PROCESSES) return false;
    const parent = line[i] ?? 0;
    if (inside.has(parent)) line.push(...childrenOf(parent));
    // The dead are in no list of a cgroup, and have no children.
    else if (isLive(parent)) return false;
  }
  return true;
}

/** Unlike a list for display this one is whole or it throws: an unread part must not count as empty. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readKernelFile(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  );
}
