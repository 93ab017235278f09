/** Whose pids a number is one of: two processes mean the same by it only within one PID namespace (pid_namespaces(7)). */
import { readlinkSync } from "node:fs";

let own: string | undefined;

/** Name of this process's PID namespace, such as `pid:[4026531836]`; "" where /proc does not tell. Never changes. */
export function pidNamespace(): string {
  return (own ??= readOwn());
}

/** Whether pids that a process of `namespace` tells are no pids of ours; one that told none is taken for a neighbour. */
export function isForeignNamespace(namespace: string | undefined): boolean {
  return namespace !== undefined && namespace !== "" && pidNamespace() !== "" && namespace !== pidNamespace();
}

function readOwn(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
