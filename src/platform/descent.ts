/**
 * The proof that nothing of a bot lives, from two facts that the kernel keeps and that each cover every way to escape the
 * other: nobody is in its cgroup (cgroups(7)), and no orphan of it has come to us (prctl(2), PR_SET_CHILD_SUBREAPER).
 *
 * Whatever a bot forks descends from its main process. A process that loses its parent goes to the next subreaper above:
 * while parts of the tree live, to one inside it, and otherwise to us. So once the main process has been waited for, all
 * that lives of the tree lives below a direct child of ours that we did not start, whatever session, environment or
 * cgroup it has; and a child of ours stays on our list, if only as a zombie, until we ourselves wait for it, which cannot
 * happen while this code runs. A list without such a child is therefore no snapshot that a fork may slip through.
 * A cgroup is left only by a process that may write to another one's cgroup.procs, and the line of descent only by being
 * put into a foreign PID namespace: neither leaves the other.
 */
import { readdirSync } from "node:fs";
import { isUnpopulated } from "./cgroup.ts";
import { lookAtChildren } from "./child-look.ts";
import { isAlive, readEnvironText, readKernelFile, readStat, type ProcessId } from "./proc.ts";
import { botPids, isReaper, ownPids } from "./subreaper.ts";

/** Looks at our children until two in a row agree that only zombies are left. */
const MAX_LOOKS = 4;

/** A tree that one main process of ours has begun. */
export interface Descent {
  /** The main process. */
  readonly root: ProcessId | undefined;
  /** `NAME=value` strings that the commands which we start on the bot's behalf carry. */
  readonly environ: readonly string[];
  readonly cgroup: string | undefined;
}

/** Whether the line of descent proves that nothing of the tree lives. `false` says only that it does not prove it. */
export function isLineEnded({ root, environ }: Descent): boolean {
  // Before the runtime has waited for the main process, its children may be on their way to us.
  if (!isReaper() || root === undefined || ownPids.has(root.pid)) return false;
  try {
    return lookAtChildren() === "none" || onlyDeadStrays(environ);
  } catch {
    // Descriptors or memory are short, or a thread of ours has just ended: other evidence must do.
    return false;
  }
}

/** Whether both facts prove it. Never throws. */
export function isTreeEnded(descent: Descent): boolean {
  return descent.cgroup !== undefined && isUnpopulated(descent.cgroup) && isLineEnded(descent);
}

/** A look that finds dead strays is repeated: what they leave behind came to us at the latest when they died. */
function onlyDeadStrays(environ: readonly string[]): boolean {
  let before: ReadonlySet<number> = new Set();
  for (let look = 0; look < MAX_LOOKS; look += 1) {
    const strays = strayChildren(environ);
    if (strays.every((pid) => before.has(pid))) return true;
    if (strays.some(lives)) return false;
    before = new Set(strays);
  }
  return false;
}

/** Children of ours, zombies included, that are neither a bot's main process nor a command that has nothing to do with this bot. */
function strayChildren(environ: readonly string[]): number[] {
  const marks = environ.map((entry) => `\0${entry}\0`);
  return ourChildren().filter((pid) => {
    if (botPids.has(pid)) return false;
    if (!ownPids.has(pid)) return true;
    const text = readEnvironText(pid);
    return text === undefined || marks.some((mark) => text.includes(mark));
  });
}

/** Unlike a list for display this one is whole or it throws: an unread part must not count as empty. */
function ourChildren(): number[] {
  return readdirSync("/proc/self/task").flatMap((thread) => {
    const text = readKernelFile(`/proc/self/task/${thread}/children`);
    return text.split(" ").filter(Boolean).map(Number);
  });
}

function lives(pid: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && isAlive(stat);
}
