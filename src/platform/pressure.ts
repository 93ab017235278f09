/** Reads pressure stall information: the machine's from /proc/pressure, a cgroup's from its own files (cgroup v2, with or without controllers). */
import { join } from "node:path";
import { averageOf, type Pressure } from "../core/pressure.ts";
import { readProc } from "./proc.ts";

/**
 * Pressure of the machine, or of `cgroup` where that is greater: in a container the machine may be idle while we are not
 * let run. Each field is `undefined` where neither is told.
 */
export function readPressure(cgroup: string | undefined): Pressure {
  const read = (resource: "cpu" | "memory" | "io", line: "some" | "full"): number | undefined => {
    const own = cgroup === undefined ? undefined : readProc(join(cgroup, `${resource}.pressure`));
    const found = [averageOf(readProc(`/proc/pressure/${resource}`), line), averageOf(own, line)];
    const known = found.filter((value) => value !== undefined);
    return known.length === 0 ? undefined : Math.max(...known);
  };
  return {
    cpuSomePercent: read("cpu", "some"),
    memoryFullPercent: read("memory", "full"),
    ioFullPercent: read("io", "full"),
  };
}

/** Percent of the last ten seconds in which everything in `cgroup` waited for memory; `undefined` where it is not told. */
export function memoryPressure(cgroup: string): number | undefined {
  return averageOf(readProc(join(cgroup, "memory.pressure")), "full");
}
