/** What this very process uses, under the names that Prometheus' client libraries give it; read when asked, nothing is kept. */
import { countOpenFiles, readProc } from "./proc.ts";

export interface OwnUsage {
  /** User and system time of all threads since the start. */
  readonly cpuSeconds: number;
  /** `undefined` of this and the next two: the kernel does not tell. */
  readonly virtualBytes: number | undefined;
  readonly openFiles: number | undefined;
  /** The soft limit, which is the one that is met; Infinity: there is none. */
  readonly maxOpenFiles: number | undefined;
}

export function readOwnUsage(): OwnUsage {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1_000_000,
    virtualBytes: vmSize(readProc("/proc/self/status") ?? ""),
    openFiles: countOpenFiles(process.pid),
    maxOpenFiles: softLimit(readProc("/proc/self/limits") ?? ""),
  };
}

/** VmSize of proc_pid_status(5), as bytes. */
function vmSize(status: string): number | undefined {
  const size = /^VmSize:\s+(\d+) kB$/m.exec(status)?.[1];
  return size === undefined ? undefined : Number(size) * 1_024;
}

/** The row of proc_pid_limits(5): its name, the soft limit, the hard one. */
function softLimit(limits: string): number | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === undefined) return undefined;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}
