/** What /proc says of a living process and its threads (proc(5)), from the harmless to what may block on the process itself. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { descriptorsOf, socketsByInode, type Socket } from "../../platform/proc-net.ts";
import { readProc } from "../../platform/proc.ts";
import type { DumpFolder } from "./folder.ts";

/** Files that the kernel answers without a lock of the process. */
const QUIET = [
  "status",
  "stat",
  "wchan",
  "sched",
  "schedstat",
  "limits",
  "cgroup",
  "oom_score",
  "oom_score_adj",
  "syscall",
  "stack",
  "io",
];
/** Files that take the lock of the process's memory map: with a process that is stuck in it they hang, so they come last. */
const LOCKING = ["maps", "smaps_rollup"];
const MAX_THREADS = 256;
const CGROUP_FILES = [
  "memory.current",
  "memory.peak",
  "memory.high",
  "memory.max",
  "memory.events",
  "memory.stat",
  "cpu.stat",
  "cpu.pressure",
  "memory.pressure",
  "io.pressure",
  "pids.current",
  "pids.max",
  "cgroup.events",
  "cgroup.procs",
];
const HOST_FILES = [
  "loadavg",
  "meminfo",
  "uptime",
  "version",
  "pressure/cpu",
  "pressure/memory",
  "pressure/io",
  "sys/kernel/core_pattern",
];

export function addProcess(folder: DumpFolder, pid: number): void {
  const proc = `/proc/${pid}`;
  for (const name of QUIET) folder.add(`proc/${name}`, () => readQuietly(join(proc, name)));
  folder.add("proc/cmdline", () => readProc(join(proc, "cmdline"))?.replaceAll("\0", " "));
  for (const name of ["exe", "cwd"]) folder.add(`proc/${name}`, () => readlinkSync(join(proc, name)));
  addThreads(folder, proc);
  addDescriptors(folder, pid);
}

/** What may hang: each is noted before the next is tried. */
export function addMaps(folder: DumpFolder, pid: number): void {
  for (const name of LOCKING) folder.add(`proc/${name}`, () => readQuietly(`/proc/${pid}/${name}`));
}

export function addCgroup(folder: DumpFolder, cgroup: string): void {
  for (const name of CGROUP_FILES) folder.add(`cgroup/${name}`, () => readProc(join(cgroup, name)));
}

export function addHost(folder: DumpFolder): void {
  for (const name of HOST_FILES) folder.add(`host/${name.replaceAll("/", ".")}`, () => readProc(`/proc/${name}`));
}

function addThreads(folder: DumpFolder, proc: string): void {
  folder.add("threads.json", () => {
    const threads = readdirSync(join(proc, "task")).slice(0, MAX_THREADS);
    return `${JSON.stringify(
      threads.map((tid) => thread(join(proc, "task", tid), tid)),
      undefined,
      1,
    )}\n`;
  });
}

function thread(path: string, tid: string): object {
  const stat = readProc(join(path, "stat"));
  const state = stat?.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  return {
    tid: Number(tid),
    comm: readProc(join(path, "comm"))?.trim(),
    state,
    wchan: readProc(join(path, "wchan")),
    syscall: readQuietly(join(path, "syscall"))?.trim(),
    // Root only.
    stack: readQuietly(join(path, "stack"))?.trim(),
  };
}

function addDescriptors(folder: DumpFolder, pid: number): void {
  folder.add("fds.json", () => {
    const sockets = socketsByInode(pid);
    const fds = descriptorsOf(pid).map(({ fd, target, inode }) => {
      const socket = inode === undefined ? undefined : sockets.get(inode);
      return { fd, target, ...(socket === undefined ? {} : { socket: socketText(socket) }) };
    });
    return `${JSON.stringify(fds, undefined, 1)}\n`;
  });
}

/** For example `tcp 127.0.0.1:40000 → 127.0.0.1:9001 ESTABLISHED`. */
function socketText({ kind, local, remote, state }: Socket): string {
  return `${kind} ${local} → ${remote} ${state}`.trim();
}

/** `undefined` for what this user, or this kernel, does not show. Throws for anything else. */
function readQuietly(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EACCES" || code === "EPERM" || code === "ENOENT" || code === "ESRCH" || code === "EINVAL")
      return undefined;
    throw error;
  }
}
