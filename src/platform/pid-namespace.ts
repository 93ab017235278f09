/** Whose pids a number is one of: two processes mean the same by it only within one PID namespace (pid_namespaces(7)). */
import { readlinkSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { listPids } from "./proc.ts";

/** The namespace of the machine itself, from which all processes are seen (PROC_PID_INIT_INO of linux/proc_ns.h). */
const HOST_NAMESPACE = "pid:[4026531836]";

let own: string | undefined;

/** Name of this process's PID namespace, such as `pid:[4026531836]`; "" where /proc does not tell. Never changes. */
export function pidNamespace(): string {
  return (own ??= readOwn());
}

/** Whether pids that a process of `namespace` tells are no pids of ours; one that told none is taken for a neighbour. */
export function isForeignNamespace(namespace: string | undefined): boolean {
  return namespace !== undefined && namespace !== "" && pidNamespace() !== "" && namespace !== pidNamespace();
}

/** Whether all that lives in `namespace` has a pid here: it is ours, or below ours as one of its processes shows. Throws as `listPids`. */
export function seesInto(namespace: string): boolean {
  if (pidNamespace() === HOST_NAMESPACE || pidNamespace() === namespace) return true;
  return listPids().some((pid) => namespaceOf(pid) === namespace);
}

/** Inode of the topmost cgroup above `cgroup` that is in view; the kernel gives none twice. `undefined` where there is no cgroup. */
export function topOfCgroups(cgroup: string): number | undefined {
  let top: number | undefined;
  for (let path = cgroup; path !== dirname(path); path = dirname(path)) {
    // Below what is gone there may be more.
    const isCgroup = statSync(join(path, "cgroup.procs"), { throwIfNoEntry: false }) !== undefined;
    if (isCgroup) top = statSync(path, { throwIfNoEntry: false })?.ino;
    else if (top !== undefined) break;
  }
  return top;
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // It ended meanwhile, or is not ours to look at.
    return undefined;
  }
}

function readOwn(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
