/** All living processes at one time, read from /proc once for many questions. */
import type { Clock } from "./clock.ts";
import { isAlive, listPids, readEnvironText, readStat, type ProcessStat } from "./proc.ts";

/** Re-reads of /proc for processes that were born during the look. */
const MAX_RESCANS = 5;

/**
 * All living processes at one time, read once for many questions. What is asked of it later is answered as of then: good
 * for a daemon's start with many bots, as whatever was born since has a parent in it.
 */
export class Census {
  readonly stats: ReadonlyMap<number, ProcessStat> = scan();
  readonly #environ = new Map<number, string | undefined>();
  readonly #withVariable = new Map<string, readonly number[]>();
  readonly #byValue = new Map<string, ReadonlyMap<string, readonly number[]>>();
  #ancestors: ReadonlySet<number> | undefined;

  /** The environment of one of them, as `readEnvironText` gives it. */
  environ(pid: number): string | undefined {
    if (!this.#environ.has(pid)) this.#environ.set(pid, readEnvironText(pid));
    return this.#environ.get(pid);
  }

  /** This process, PID 1 and everybody between: killing one of them would take us along. */
  get ancestors(): ReadonlySet<number> {
    this.#ancestors ??= ancestors();
    return this.#ancestors;
  }

  /** Those whose environment has a variable of this name; looked for once for each name. */
  withVariable(name: string): readonly number[] {
    const known = this.#withVariable.get(name);
    if (known !== undefined) return known;
    const start = `\0${name}=`;
    const found: number[] = [];
    for (const { pid, ofKernel } of this.stats.values())
      if (!ofKernel && this.environ(pid)?.includes(start) === true) found.push(pid);
    this.#withVariable.set(name, found);
    return found;
  }

  /** Those whose environment has this `NAME=value`; the environments are searched once for each name, however many values are asked for. */
  withEntry(entry: string): readonly number[] {
    const [name = ""] = entry.split("=", 1);
    let byValue = this.#byValue.get(name);
    if (byValue === undefined) this.#byValue.set(name, (byValue = this.#valuesOf(name)));
    return byValue.get(entry) ?? [];
  }

  #valuesOf(name: string): ReadonlyMap<string, readonly number[]> {
    const found = new Map<string, number[]>();
    const start = `\0${name}=`;
    for (const pid of this.withVariable(name)) {
      const text = this.environ(pid) ?? "";
      // A process may have been given a name twice.
      for (let at = text.indexOf(start); at >= 0; at = text.indexOf(start, at + 1)) {
        const entry = text.slice(at + 1, text.indexOf("\0", at + 1));
        found.set(entry, [...(found.get(entry) ?? []), pid]);
      }
    }
    return found;
  }
}

/** Held weakly: it is of no use for longer than a start takes. */
let latest: { readonly census: WeakRef<Census>; readonly atMs: number } | undefined;

/** A census that is at most `maxAgeMs` old: many bots that are started together share one. */
export function recentCensus(clock: Clock, maxAgeMs: number): Census {
  const nowMs = clock.monotonicMs();
  const ageMs = latest === undefined ? Number.NaN : nowMs - latest.atMs;
  const recent = ageMs >= 0 && ageMs <= maxAgeMs ? latest?.census.deref() : undefined;
  if (recent !== undefined) return recent;
  const census = new Census();
  latest = { census: new WeakRef(census), atMs: nowMs };
  return census;
}

/** All processes by pid. Read again while new ones appear, so that a forker does not slip through between two reads. */
function scan(): Map<number, ProcessStat> {
  const stats = new Map<number, ProcessStat>();
  const read = new Set<number>();
  for (let pass = 0; pass < MAX_RESCANS; pass += 1) {
    const fresh = listPids().filter((pid) => !read.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      read.add(pid);
      const stat = readStat(pid);
      if (stat !== undefined && isAlive(stat)) stats.set(pid, stat);
    }
  }
  return stats;
}

function ancestors(): Set<number> {
  const found = new Set<number>([0, 1]);
  for (let pid = process.pid; !found.has(pid);) {
    found.add(pid);
    pid = readStat(pid)?.ppid ?? 1;
  }
  return found;
}
