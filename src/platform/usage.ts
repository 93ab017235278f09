/** Memory, CPU and open files of a set of processes, read from /proc; proc(5). It starts nothing and keeps nothing open. */
import { readFileSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { countOpenFiles, isLive, MS_PER_TICK, readKernelFile, readStat } from "./proc.ts";

/** Type of the entry with the page size in the auxiliary vector (elf.h). */
const AT_PAGESZ = 6n;
/** The shortest span over which CPU use is computed, ms: the kernel counts in ticks of 10 ms. */
const MIN_CPU_SPAN_MS = 1_000;
/** Tolerance when the age of a process is compared with the time since it was seen, ms. */
const AGE_SLACK_MS = 1_000;
/** How many processes one sampler remembers; beyond, the longest unseen is forgotten and counts as new. */
const MAX_READINGS = 4_096;

export interface ResourceUsage {
  readonly rssBytes: number;
  /** 100 is one core. Over the time since the last sample; at a process's first sample over its whole life, as `ps` shows. */
  readonly cpuPercent: number;
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

/** Measures the given processes together. Rejects when /proc cannot be read; vanished pids are ignored. */
export type UsageSampler = (pids: readonly number[]) => Promise<ResourceUsage>;

/**
 * A sampler with its own memory of CPU times: one per asker, because the CPU use is computed since the same asker's
 * last sample. It keeps no descriptor, timer or child, so it needs no closing.
 */
export function createUsageSampler(clock: Clock): UsageSampler {
  const known = new Map<number, { reading: PidReading; percent: number }>();
  return async (pids) => {
    const readings = readPids(pids, clock);
    const usage = { rssBytes: 0, cpuPercent: 0, openFiles: 0, uncounted: 0, pids: readings.size };
    for (const [pid, reading] of readings) {
      const previous = known.get(pid);
      const next = nextCpu(previous, reading);
      // Deleted first, so that the map stays ordered by last use.
      known.delete(pid);
      known.set(pid, next);
      usage.rssBytes += reading.rssBytes;
      usage.cpuPercent += next.percent;
      const openFiles = countOpenFiles(pid);
      usage.openFiles += openFiles ?? 0;
      if (openFiles === undefined && isLive(pid)) usage.uncounted += 1;
    }
    for (const pid of known.keys()) {
      if (known.size <= MAX_READINGS) break;
      known.delete(pid);
    }
    return usage;
  };
}

/** CPU use from two readings; the earlier one is kept on while the span is too short to compute with. */
function nextCpu(
  previous: { reading: PidReading; percent: number } | undefined,
  reading: PidReading,
): { reading: PidReading; percent: number } {
  const replaced = previous !== undefined && reading.elapsedMs + AGE_SLACK_MS < reading.atMs - previous.reading.atMs;
  if (previous === undefined || replaced) return { reading, percent: share(reading.cpuMs, reading.elapsedMs) };
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
