/** What the kernel says of processes, read from /proc (proc(5)); a process is named by its pid and its start time together. */
import { closeSync, constants, openSync, readFileSync, readSync, readdirSync, statSync } from "node:fs";

/** One process for ever: a recycled pid has other start ticks. */
export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks between boot and the start. */
  readonly startTicks: number;
}

export interface ProcessStat extends ProcessId {
  readonly comm: string;
  /** One letter: R, S, D, T, Z, X … */
  readonly state: string;
  readonly ppid: number;
  /** A thread of the kernel: nobody's program, and without an environment. */
  readonly ofKernel: boolean;
  readonly pgrp: number;
  readonly session: number;
  readonly utimeTicks: number;
  readonly stimeTicks: number;
  readonly threads: number;
  readonly rssPages: number;
}

/** Clock ticks a second in /proc (sysconf(_SC_CLK_TCK)): a constant of the Linux user interface on x86-64 and arm64. */
const TICKS_PER_SECOND = 100;
export const MS_PER_TICK = 1_000 / TICKS_PER_SECOND;
/** Bit of the flags in /proc/PID/stat that marks a thread of the kernel (PF_KTHREAD of linux/sched.h). */
const KERNEL_THREAD = 0x00200000;
/** Words of /proc/PID/stat from the ")" that ends the name, field 2, to the start time, field 22. */
const START_FIELDS = 21;
/** An environment is at most the argument limit (2 MiB by default); more is not read. */
const MAX_ENVIRON_BYTES = 4_194_304;

/** Id of this boot of the machine; an identity file of another boot names no living process. `undefined` without /proc. */
export function bootId(): string | undefined {
  knownBootId ??= readProc("/proc/sys/kernel/random/boot_id")?.trim();
  return knownBootId;
}

let knownBootId: string | undefined;

/**
 * State of `pid`, zombies included; `undefined` when there is no such process.
 * Throws when the kernel does not say (no descriptor or memory left): "cannot tell" must never read as "dead".
 */
export function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readKernelFile(`/proc/${pid}/stat`));
  } catch (cause) {
    if (isGone(cause)) return undefined;
    throw new Error(
      `cannot read the state of process ${pid}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
}

/** When `pid` was started, as `readStat` tells it, for less: each start waits for this. Throws as that does. */
export function startTicksOf(pid: number): number | undefined {
  const text = readAtOnce(`/proc/${pid}/stat`);
  const ticks = Number(text?.slice(text.lastIndexOf(")")).split(" ", START_FIELDS)[START_FIELDS - 1]);
  return ticks > 0 ? ticks : readStat(pid)?.startTicks;
}

/** Parses /proc/PID/stat. The name may hold spaces and brackets, so the fields are counted from the last ")". */
export function parseStat(text: string): ProcessStat | undefined {
  const [open, close] = [text.indexOf("("), text.lastIndexOf(")")];
  if (open < 0 || close < open) return undefined;
  const fields = text
    .slice(close + 1)
    .trim()
    .split(" ");
  // `fields[0]` is field 3 of the manual page.
  const field = (number: number): number => Number(fields[number - 3] ?? Number.NaN);
  const stat = {
    pid: Number.parseInt(text, 10),
    comm: text.slice(open + 1, close),
    state: fields[0] ?? "",
    ppid: field(4),
    ofKernel: (field(9) & KERNEL_THREAD) !== 0,
    pgrp: field(5),
    session: field(6),
    utimeTicks: field(14),
    stimeTicks: field(15),
    threads: field(20),
    startTicks: field(22),
    rssPages: field(24),
  };
  return Number.isFinite(stat.pid) && Number.isFinite(stat.rssPages) ? stat : undefined;
}

/** Whether the state letter is of a process that still runs code: zombies (Z) and the dead (X) do not. */
function isLiveState(state: string): boolean {
  return state !== "" && !"ZXx".includes(state);
}

/**
 * Whether any code of the process still runs: the state is that of its first thread, which may have ended before the
 * others; those still count, as the last of them is waited for too.
 */
export function isAlive({ state, threads }: Pick<ProcessStat, "state" | "threads">): boolean {
  return isLiveState(state) || threads > 1;
}

/** Whether this very process still runs. Without `startTicks` any process of that pid counts. */
export function isLive(pid: number, startTicks?: number): boolean {
  const stat = readStat(pid);
  if (stat === undefined || !isAlive(stat)) return false;
  return startTicks === undefined || stat.startTicks === startTicks;
}

/** `NAME=value` strings that `pid` was started with; `undefined` when it is gone or not ours to read. */
export function readEnviron(pid: number): string[] | undefined {
  return readEnvironText(pid)?.split("\0").filter(Boolean);
}

/** The same as one text with a NUL before and after each string, for a cheap search. */
export function readEnvironText(pid: number): string | undefined {
  const text = readProc(`/proc/${pid}/environ`, MAX_ENVIRON_BYTES);
  return text === undefined ? undefined : `\0${text}\0`;
}

/** Pids of all processes that we may see. Throws when they cannot be listed, which must never read as "none". */
export function listPids(): number[] {
  try {
    return numbersIn("/proc");
  } catch (cause) {
    throw new Error(`cannot list processes: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Pids of the direct children of `pid`, zombies included, of all its threads. */
export function children(pid: number): number[] {
  const found: number[] = [];
  for (const thread of listNumbers(`/proc/${pid}/task`)) {
    const text = readProc(`/proc/${pid}/task/${thread}/children`) ?? "";
    for (const word of text.split(" ")) if (word.trim() !== "") found.push(Number(word));
  }
  return found;
}

/** Open descriptors of `pid`; `undefined` when it is gone or not ours to look at. */
export function countOpenFiles(pid: number): number | undefined {
  try {
    // Linux 6.2 and later tell the number as the folder's size, which spares a look at each of them; earlier ones say 0.
    const { size } = statSync(`/proc/${pid}/fd`);
    return size > 0 ? size : readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return undefined;
  }
}

/** Numbers of the signals that `pid` has a handler for: any other would kill it. `undefined` when it is gone. */
export function caughtSignals(pid: number): ReadonlySet<number> | undefined {
  return signalsIn(`/proc/${pid}/status`, "SigCgt");
}

/** The signals of one mask of a `status` file; `undefined` without it. */
function signalsIn(path: string, name: "SigCgt" | "SigBlk"): ReadonlySet<number> | undefined {
  const mask = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(readProc(path) ?? "")?.[1];
  if (mask === undefined) return undefined;
  const bits = BigInt(`0x${mask}`);
  const found = new Set<number>();
  for (let signal = 1; signal <= 64; signal += 1) {
    if ((bits >> BigInt(signal - 1)) & 1n) found.add(signal);
  }
  return found;
}

/**
 * The thread of `pid` that computes: of those on a processor the one that has computed most, if it does not block `signal`.
 * `undefined` when all of them wait.
 */
export function busiestThread(pid: number, signal: number): number | undefined {
  const busy = listNumbers(`/proc/${pid}/task`)
    .flatMap((thread) => parseStat(readProc(`/proc/${pid}/task/${thread}/stat`) ?? "") ?? [])
    .filter(({ state }) => state === "R")
    .toSorted((a, b) => b.utimeTicks - a.utimeTicks)
    .map(({ pid: thread }) => thread);
  return busy.find((thread) => !signalsIn(`/proc/${pid}/task/${thread}/status`, "SigBlk")?.has(signal));
}

/** State letters of the threads of `pid`; empty when it is gone. */
export function threadStates(pid: number): string {
  return listNumbers(`/proc/${pid}/task`)
    .map((thread) => parseStat(readProc(`/proc/${pid}/task/${thread}/stat`) ?? "")?.state ?? "")
    .join("");
}

/** Seconds since `startTicks`, counted with the time the machine slept, as the kernel counts it; `undefined` without /proc. */
export function processAgeSeconds(startTicks: number): number | undefined {
  const uptime = Number.parseFloat(readProc("/proc/uptime") ?? "");
  return Number.isFinite(uptime) ? Math.max(0, uptime - startTicks / TICKS_PER_SECOND) : undefined;
}

/** Whole text of a file below /proc or /sys, at most `maxBytes`; `undefined` when it cannot be read. */
export function readProc(path: string, maxBytes?: number): string | undefined {
  try {
    return maxBytes === undefined ? readKernelFile(path) : readAtMost(path, maxBytes);
  } catch {
    return undefined;
  }
}

/** Where small files are read into: a fresh buffer for each, of the size that a file without one gets, costs more than the reading. */
const scratch = Buffer.allocUnsafe(65_536);

/** Whole text of a file below /proc or /sys, whose size nobody knows before. Throws as open(2) and read(2) fail. */
export function readKernelFile(path: string): string {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    let filled = 0;
    while (filled < scratch.length) {
      const count = readSync(fd, scratch, filled, scratch.length - filled, null);
      if (count === 0) return scratch.toString("utf8", 0, filled);
      filled += count;
    }
  } finally {
    closeSync(fd);
  }
  // Larger than all that is usually read.
  return readFileSync(path, "utf8");
}

/** Text that the kernel tells whole at the first read, as that of a cgroup's `cgroup.events`; `undefined` when it cannot be read. */
export function readAtOnce(path: string): string | undefined {
  try {
    const fd = openSync(path, constants.O_RDONLY);
    try {
      return rereadAtOnce(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** The same of a file that is open, as it is now. */
export function rereadAtOnce(fd: number): string | undefined {
  try {
    return scratch.toString("latin1", 0, readSync(fd, scratch, 0, scratch.length, 0));
  } catch {
    return undefined;
  }
}

function readAtMost(path: string, maxBytes: number): string {
  const fd = openSync(path, "r");
  try {
    const chunks: Buffer[] = [];
    for (let total = 0; total < maxBytes;) {
      const chunk = Buffer.allocUnsafe(16_384);
      const count = readSync(fd, chunk, 0, chunk.length, null);
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      total += count;
    }
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    closeSync(fd);
  }
}

function listNumbers(folder: string): number[] {
  try {
    return numbersIn(folder);
  } catch {
    return [];
  }
}

function numbersIn(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** The process ended between listing and reading it: ENOENT at open, ESRCH at read. */
function isGone(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && (cause.code === "ENOENT" || cause.code === "ESRCH");
}
