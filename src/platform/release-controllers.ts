/**
 * Gives back the cgroup v2 controllers that were handed down below a unit's cgroup. While one is handed down, no process can
 * be put into that cgroup itself ("No Internal Process Constraint",
 * https://docs.kernel.org/admin-guide/cgroup-v2.html), and systemd before 254 puts the next main process just there: with a bot
 * still alive below, the unit would fail with 219/CGROUP at each start.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ownFolder } from "./cgroup.ts";
import { readProc } from "./proc.ts";

/** The leaf in which systemd runs the commands of a unit with Delegate=, beside what the unit made itself. */
const CONTROL_LEAF = ".control";
/** Depth of nested cgroups that are looked at; a container runtime inside a bot makes two or three. */
const MAX_DEPTH = 8;

/** The cgroup of the unit whose command we are; `undefined` when we are none of a unit with Delegate=. */
export function unitCgroup(): string | undefined {
  const own = ownFolder(readProc("/proc/self/mountinfo") ?? "", readProc("/proc/self/cgroup") ?? "");
  return own !== undefined && basename(own) === CONTROL_LEAF ? dirname(own) : undefined;
}

/** Takes every controller back, from the leaves up, as the kernel wants it. Returns what failed, in words; empty is done. */
export function releaseControllers(folder: string, depth = MAX_DEPTH): readonly string[] {
  const below = depth === 0 ? [] : childFolders(folder).flatMap((child) => releaseControllers(child, depth - 1));
  const file = join(folder, "cgroup.subtree_control");
  const handedDown = (readProc(file) ?? "").split(/\s+/).filter(Boolean);
  if (handedDown.length === 0) return below;
  try {
    writeFileSync(file, handedDown.map((name) => `-${name}`).join(" "), { flag: "r+" });
    return below;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return [...below, `cannot take ${handedDown.join(", ")} back from ${folder}: ${why}`];
  }
}

function childFolders(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
}
