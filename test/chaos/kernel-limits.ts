/** What the kernel itself says of the limits of a process: asked of the v1 hierarchies, which a test runner may use beside others. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Controller } from "../../src/core/limits.ts";
import { detectCgroup, ownV1Folder } from "../../src/platform/cgroup.ts";
import { findControllers } from "../../src/platform/controllers.ts";

const FILES = { memory: "memory.limit_in_bytes", cpu: "cpu.cfs_quota_us", pids: "pids.max" } as const;
/** More than any machine has: no limit, bytes. */
const UNLIMITED = 2 ** 62;

const { places } = findControllers(detectCgroup());

/** Every controller is there, in v1: v2 has them for a daemon only in a cgroup of its own. */
export const canLimit = (["memory", "cpu", "pids"] as const).every((each) => places[each]?.version === "v1");

/** Folder of the cgroup in which the process is. */
export function v1CgroupOf(pid: number, controller: Controller): string | undefined {
  return ownV1Folder(textOf("/proc/self/mountinfo"), textOf(`/proc/${pid}/cgroup`), controller);
}

/** Bytes, µs in a tenth of a second, or processes; `undefined`: no limit in the cgroup of the process itself. */
export function limitOf(pid: number, controller: Controller): number | undefined {
  const value = Number(textOf(join(v1CgroupOf(pid, controller) ?? "", FILES[controller])) || Number.NaN);
  return value > 0 && value < UNLIMITED ? value : undefined;
}

/** "" for what cannot be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
