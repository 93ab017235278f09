/**
 * What the kernel tells of a process at once, for the moment between the freeze and the kill of an emergency, which nothing may draw out:
 * only files that it answers without a lock which the process could hold (proc(5)), and no more of them than the time allows.
 */
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { systemClock } from "./clock.ts";
import { MS_PER_TICK, parseStat, readProc, type ProcessId } from "./proc.ts";

/** Longest time for all of it, ms; it is looked at before each file, and one takes some 10 µs. */
const GLANCE_MS = 2;
const FILES = ["status", "stat", "schedstat", "limits", "cgroup", "oom_score"];
const COUNTS = ["cpu.stat", "memory.events", "memory.peak", "memory.current", "memory.max", "pids.events"];
const MAX_THREADS = 32;
const MAX_DESCRIPTORS = 128;
/** A folder with more names than this is not listed: that alone would take the time. */
const MAX_LISTED = 512;

/** Texts by the name that they have in a dump. Never throws; what is not told in time is missing. `budgetMs` is for tests. */
export function glanceAt({ pid, startTicks }: ProcessId, budgetMs = GLANCE_MS): Readonly<Record<string, string>> {
  const endMs = systemClock.monotonicMs() + budgetMs;
  const proc = `/proc/${pid}`;
  // A pid that was given to another process since is none of ours.
  if (parseStat(readProc(`${proc}/stat`) ?? "")?.startTicks !== startTicks) return {};
  const inTime = (): boolean => systemClock.monotonicMs() < endMs;
  const files = FILES.flatMap((name) => {
    const text = inTime() ? readProc(`${proc}/${name}`) : undefined;
    return text === undefined ? [] : [[`proc/${name}`, text] as const];
  });
  const status = files.find(([name]) => name === "proc/status")?.[1] ?? "";
  const listed = (folder: string, size: string, most: number): readonly string[] =>
    inTime() && countIn(status, size) <= MAX_LISTED ? namesIn(`${proc}/${folder}`).slice(0, most) : [];
  const threads = listed("task", "Threads", MAX_THREADS).flatMap((tid) => {
    const stat = inTime() ? parseStat(readProc(`${proc}/task/${tid}/stat`) ?? "") : undefined;
    // Not its state: who is frozen sleeps, whatever he did before.
    return stat === undefined ? [] : [{ tid: stat.pid, comm: stat.comm, cpuMs: MS_PER_TICK * stat.utimeTicks }];
  });
  const fds = listed("fd", "FDSize", MAX_DESCRIPTORS).flatMap((fd) => {
    const target = inTime() ? targetOf(`${proc}/fd/${fd}`) : undefined;
    return target === undefined ? [] : [{ fd: Number(fd), target }];
  });
  const lists = Object.entries({ "threads.json": threads, "fds.json": fds })
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => [name, `${JSON.stringify(list, undefined, 1)}\n`] as const);
  return Object.fromEntries([...files, ...lists]);
}

/** What a cgroup has counted, also of processes that are gone: the end for want of memory, the most that was used. Never throws. */
export function glanceAtCgroup(folder: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    COUNTS.flatMap((name) => {
      const path = `${folder}/${name}`;
      // Most are there only for a bot with limits, and the next start waits: this says so cheaper than an exception.
      const text = existsSync(path) ? readProc(path) : undefined;
      return text === undefined ? [] : [[`cgroup/${name}`, text] as const];
    }),
  );
}

/** A number of `status`; without it there is no knowing, which is too many. */
function countIn(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+)$`, "m").exec(status)?.[1] ?? Infinity);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
