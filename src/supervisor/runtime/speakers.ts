/** Who may speak for a bot: its main process, and whatever is of its process tree when it speaks. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { isLive, readEnviron, readStat, type ProcessId } from "../../platform/proc.ts";

/** Senders remembered, so that a chatty child is looked up once; beyond that they are forgotten and looked up again. */
const MAX_REMEMBERED = 256;
/** Longest chain of parents followed to the bot. */
const MAX_DEPTH = 64;

export class Speakers {
  readonly #main: ProcessId;
  readonly #mark: string;
  readonly #cgroup: string | undefined;
  readonly #admitted = new Map<number, number>();
  #refused = 0;

  constructor(main: ProcessId, mark: string, cgroup: string | undefined) {
    this.#main = main;
    this.#mark = mark;
    this.#cgroup = cgroup;
  }

  /** Messages turned away so far. */
  get refused(): number {
    return this.#refused;
  }

  /** Whether the process `pid`, named by the kernel's credentials, is of the bot. One that is gone already is not. */
  admits(pid: number): boolean {
    if (pid === this.#main.pid) return true;
    if (this.#isKnownOrMember(pid)) return true;
    this.#refused += 1;
    return false;
  }

  /** Where /proc cannot be read (no descriptor left), nobody can be told apart: the message is refused. */
  #isKnownOrMember(pid: number): boolean {
    try {
      const startTicks = this.#admitted.get(pid);
      return (startTicks !== undefined && isLive(pid, startTicks)) || this.#isMember(pid);
    } catch {
      return false;
    }
  }

  #isMember(pid: number): boolean {
    const stat = readStat(pid);
    if (stat === undefined) return false;
    const member = this.#inCgroup(pid) || this.#descends(pid) || (readEnviron(pid)?.includes(this.#mark) ?? false);
    if (!member) return false;
    if (this.#admitted.size >= MAX_REMEMBERED) this.#admitted.clear();
    this.#admitted.set(pid, stat.startTicks);
    return true;
  }

  #inCgroup(pid: number): boolean {
    if (this.#cgroup === undefined) return false;
    try {
      const name = basename(this.#cgroup);
      return readFileSync(`/proc/${pid}/cgroup`, "utf8")
        .split("\n")
        .some((line) => line.startsWith("0::") && line.split("/").includes(name));
    } catch {
      return false;
    }
  }

  #descends(pid: number): boolean {
    let current = pid;
    for (let depth = 0; depth < MAX_DEPTH; depth += 1) {
      const parent = readStat(current)?.ppid;
      if (parent === undefined || parent <= 1) return false;
      if (parent === this.#main.pid) return true;
      current = parent;
    }
    return false;
  }
}
