/** Memory, CPU and open files of a set of processes, read from /proc; proc(5). It starts nothing and keeps nothing open. */
import { readFileSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { countOpenFiles, isLive, MS_PER_TICK, readKernelFile, readProc, readStat } from "./proc.ts";

/** Type of the entry with the page size in the auxiliary vector (elf.h). */
const AT_PAGESZ = 6n;
/** The shortest span over which CPU use is computed, ms: the kernel counts in ticks of 10 ms. */
const MIN_CPU_SPAN_MS = 1_000;
/** Tolerance when the age of a process is compared with the time since it was seen, ms. */
const AGE_SLACK_MS = 1_000;
/** How many living processes one sampler remembers; beyond, the longest unseen is forgotten and counts as new. */
const MAX_READINGS = 4_096;

export interface ResourceUsage {
  readonly rssBytes: number;
  /** 100 is one core. Over the time since the last sample; at a process's first sample over its whole life, as `ps` shows. */
  readonly cpuPercent: number;
  /**
   * CPU time of all that this sampler has ever measured, as far as it was seen; never falls. By a cgroup also that of children that
   * came and went; without one, what a process used between its last sample and its end is missing.
   */
  readonly cpuSeconds: number;
  readonly openFiles: number;
  /** Processes that still run and whose open files may not be counted (another user's); `openFiles` lacks theirs. */
  readonly uncounted: number;
  /** Processes that were measured; those that vanished meanwhile are left out. */
  readonly pids: number;
}

interface PidReading {
  readonly atMs: number;
  readonly rssBytes: number;
  /** CPU time since the process started, ms. */
  readonly cpuMs: number;
  /** Age of the process, ms. */
  readonly elapsedMs: number;
}

/**
 * Measures the given processes together; their CPU time by `cgroup`, the v2 one that all of them and nobody else are in, where
 * there is one. Rejects when /proc cannot be read; vanished pids are ignored.
 */
export type UsageSampler = (pids: readonly number[], cgroup?: string) => Promise<ResourceUsage>;

/**
 * A sampler with its own memory of CPU times: one per asker, because the CPU use is computed since the same asker's
 * last sample, `known`. It keeps no descriptor, timer or child, so it needs no closing.
 */
export function createUsageSampler(clock: Clock, known = new Map<number, Known>()): UsageSampler {
  const byCgroup = createCgroupCounter();
  let byPidMs = 0;
  return async (pids, cgroup) => {
    const readings = readPids(pids, clock);
    const usage = { rssBytes: 0, cpuPercent: 0, cpuSeconds: 0, openFiles: 0, uncounted: 0, pids: readings.size };
    const cgroupMs = byCgroup(cgroup);
    for (const [pid, reading] of readings) {
      const previous = known.get(pid);
      const next = nextCpu(previous, reading);
      if (cgroupMs === undefined) byPidMs += addedCpuMs(previous, reading);
      // Deleted first, so that the map stays ordered by last use.
      known.delete(pid);
      known.set(pid, { ...next, countedMs: reading.cpuMs });
      usage.rssBytes += reading.rssBytes;
      usage.cpuPercent += next.percent;
      const openFiles = countOpenFiles(pid);
      usage.openFiles += openFiles ?? 0;
      if (openFiles === undefined && isLive(pid)) usage.uncounted += 1;
    }
    for (const pid of known.keys())
      if (known.size > MAX_READINGS || (!readings.has(pid) && isGone(pid))) known.delete(pid);
    usage.cpuSeconds = (byPidMs + (cgroupMs ?? 0)) / 1_000;
    return usage;
  };
}

/** What is remembered of a process. */
interface Known {
  /** From here on the CPU use is computed. */
  readonly reading: PidReading;
  readonly percent: number;
  /** Its CPU time at the last sample of all, ms. */
  readonly countedMs: number;
}

/** A process that is only not among those asked of may be again, and must not be counted anew then; false where it cannot be told. */
function isGone(pid: number): boolean {
  try {
    return readStat(pid) === undefined;
  } catch {
    return false;
  }
}

/** CPU time that a process used since it was seen last, ms; at first sight all of it. */
function addedCpuMs(previous: Known | undefined, reading: PidReading): number {
  return previous === undefined || isReplaced(previous, reading)
    ? reading.cpuMs
    : Math.max(0, reading.cpuMs - previous.countedMs);
}

/** The pid was given to another process since. */
function isReplaced(previous: Pick<Known, "reading">, reading: PidReading): boolean {
  return reading.elapsedMs + AGE_SLACK_MS < reading.atMs - previous.reading.atMs;
}

/**
 * Adds up the CPU time of one cgroup, ms, also when it is removed and made again, as between two starts: it counts from 0 then.
 * `undefined` while none was ever read; one that cannot be read now adds nothing.
 */
function createCgroupCounter(): (folder: string | undefined) => number | undefined {
  let totalMs: number | undefined;
  let lastMs = 0;
  return (folder) => {
    const text = folder === undefined ? undefined : readProc(`${folder}/cpu.stat`);
    // Every v2 cgroup counts it, also without the cpu controller (cgroup-v2.rst).
    const found = /^usage_usec (\d+)$/m.exec(text ?? "")?.[1];
    if (found === undefined) return totalMs;
    const nowMs = Number(found) / 1_000;
    totalMs = (totalMs ?? 0) + (nowMs < lastMs ? nowMs : nowMs - lastMs);
    lastMs = nowMs;
    return totalMs;
  };
}

/** CPU use from two readings; the earlier one is kept on while the span is too short to compute with. */
function nextCpu(
  previous: Pick<Known, "reading" | "percent"> | undefined,
  reading: PidReading,
): Pick<Known, "reading" | "percent"> {
  if (previous === undefined || isReplaced(previous, reading))
    return { reading, percent: share(reading.cpuMs, reading.elapsedMs) };
  const spanMs = reading.elapsedMs - previous.reading.elapsedMs;
  if (spanMs < MIN_CPU_SPAN_MS) return previous;
  return { reading, percent: share(reading.cpuMs - previous.reading.cpuMs, spanMs) };
}

function share(cpuMs: number, spanMs: number): number {
  return (Math.max(0, cpuMs) / Math.max(spanMs, MIN_CPU_SPAN_MS)) * 100;
}

/** Those of the pids that live. Throws when the kernel does not say of one. */
function readPids(pids: readonly number[], clock: Clock): ReadonlyMap<number, PidReading> {
  const readings = new Map<number, PidReading>();
  if (pids.length === 0) return readings;
  const atMs = clock.monotonicMs();
  const uptimeMs = uptimeAt(atMs);
  for (const pid of pids) {
    const stat = readStat(pid);
    if (stat === undefined) continue;
    readings.set(pid, {
      atMs,
      rssBytes: stat.rssPages * pageBytes(),
      cpuMs: (stat.utimeTicks + stat.stimeTicks) * MS_PER_TICK,
      elapsedMs: Math.max(0, uptimeMs - stat.startTicks * MS_PER_TICK),
    });
  }
  return readings;
}

/** Time for which the machine's uptime is counted on by our own clock, ms: the status of many bots asks for it many times at once. */
const UPTIME_REUSE_MS = 50;
let lastUptime: { readonly atMs: number; readonly uptimeMs: number } | undefined;

/** Uptime of the machine at monotonic `atMs`, in the same count as the start times of processes. */
function uptimeAt(atMs: number): number {
  const ageMs = lastUptime === undefined ? Number.NaN : atMs - lastUptime.atMs;
  if (lastUptime !== undefined && ageMs >= 0 && ageMs < UPTIME_REUSE_MS) return lastUptime.uptimeMs + ageMs;
  lastUptime = { atMs, uptimeMs: Number.parseFloat(readKernelFile("/proc/uptime")) * 1_000 };
  return lastUptime.uptimeMs;
}

let knownPageBytes: number | undefined;

/** Size of a memory page: 4 KiB, or up to 64 KiB on arm64; the kernel tells each program at its start (getauxval(3)). */
export function pageBytes(): number {
  knownPageBytes ??= readPageBytes();
  return knownPageBytes;
}

function readPageBytes(): number {
  const words = new BigUint64Array(new Uint8Array(readFileSync("/proc/self/auxv")).buffer);
  for (let i = 0; i + 1 < words.length; i += 2) if (words[i] === AT_PAGESZ) return Number(words[i + 1]);
  throw new Error("cannot measure processes: /proc/self/auxv names no page size");
}
