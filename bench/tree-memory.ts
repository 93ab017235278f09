/** What a supervisor and its helpers weigh together: each page by how many share it, without what they supervise. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Proportional set size of `root` and its descendants, MiB, without those that run the program `without`. */
export function treePssMib(root: number, without: string): number {
  const children = childrenByParent();
  const kib = (pid: number): number => {
    const below = (children.get(pid) ?? []).reduce((sum, child) => sum + kib(child), 0);
    return below + (programOf(pid) === without ? 0 : pssKib(pid));
  };
  return kib(root) / 1_024;
}

function childrenByParent(): ReadonlyMap<number, readonly number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const parent = /^\d+$/.test(name) ? parentOf(Number(name)) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  return children;
}

/** A process may end while it is looked at: it weighs nothing then. */
function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

function programOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

function pssKib(pid: number): number {
  const kib = /^Pss: *(?<kib>\d+) kB$/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? "")?.groups?.["kib"];
  return Number(kib ?? 0);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
