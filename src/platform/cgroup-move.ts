/** Where a living process is in the hierarchies of the controllers, and how a whole tree is moved into another cgroup (cgroups(7)). */
import { existsSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Controller } from "../core/limits.ts";
import { cgroupPids, ownV1Folder } from "./cgroup.ts";
import { readProc } from "./proc.ts";

/**
 * Name of the cgroup below a start's own for limits of memory that came when it already ran: what it had by then is charged elsewhere,
 * and the name tells the next supervisor so.
 */
export const LATE = "late";

/** A tree that has forked in all of these rounds is not got hold of. */
const MAX_ROUNDS = 20;

/**
 * Folder of the v1 cgroup that a supervisor, wherever it sat, has made for the start in which `pid` is, or of the late one in it;
 * `undefined` when it is in none. The bot may have made others below it.
 */
export function v1CgroupOfStart(pid: number, invocationId: string, controller: Controller): string | undefined {
  const own = ownV1Folder(readProc("/proc/self/mountinfo") ?? "", readProc(`/proc/${pid}/cgroup`) ?? "", controller);
  const parts = own?.split("/") ?? [];
  const at = parts.indexOf(invocationId);
  const length = parts[at + 1] === LATE ? at + 2 : at + 1;
  return parts[at - 1]?.startsWith("bot-") === true ? parts.slice(0, length).join("/") : undefined;
}

export function isLate(cgroup: string): boolean {
  return basename(cgroup) === LATE;
}

/** The v1 cgroup of all starts of a bot, by that of one. */
export function botFolderOf(cgroup: string): string {
  return dirname(isLate(cgroup) ? dirname(cgroup) : cgroup);
}

/** The v1 cgroup of a start that has ended, which has `path`, or the late one in it; `undefined` when it had none. */
export function pastCgroup(path: string): string | undefined {
  return [join(path, LATE), path].find((each) => existsSync(each));
}

/**
 * Moves all of `pids` into the cgroup, asking for them anew until none is outside: what is forked meanwhile begins where
 * its parent is. Says why that failed; `undefined`: the whole tree is in. Throws when the cgroup cannot be read.
 */
export function moveInto(cgroup: string, pids: () => readonly number[]): string | undefined {
  const gone = new Set<number>();
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const inside = new Set(cgroupPids(cgroup));
    // 0 is one of another PID namespace; written, it would mean ourselves.
    const outside = pids().filter((pid) => pid > 0 && !inside.has(pid) && !gone.has(pid));
    if (outside.length === 0) return undefined;
    for (const pid of outside) {
      const failure = move(pid, cgroup);
      if (failure === "gone") gone.add(pid);
      else if (failure !== undefined) return `cannot move pid ${pid} into ${cgroup}: ${failure}`;
    }
  }
  return `cannot move the bot into ${cgroup}: it starts processes faster than they are found`;
}

function move(pid: number, cgroup: string): string | undefined {
  try {
    writeFileSync(join(cgroup, "cgroup.procs"), String(pid), { flag: "r+" });
    return undefined;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return "gone";
    return cause instanceof Error ? cause.message : String(cause);
  }
}
