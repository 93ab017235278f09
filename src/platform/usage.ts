/** Memory, CPU and open files of a set of processes, read through `pidusage` and /proc; proc(5). */
import type Pidusage from "pidusage";
import type { Clock } from "./clock.ts";
import { countOpenFiles, isLive, readStat } from "./proc.ts";

/**
 * How long pidusage keeps a /proc file open after its last use, ms. Short: it reads through the kept descriptor, which goes on
 * naming the old process when the pid is used again. Its `clear()` is not for us, it forgets descriptors without closing them.
 */
const KEEP_OPEN_MS = 1_000;
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
    const readings = await readPids(pids, clock);
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

/** Calls of pidusage, one after another: two at once would open a pid's file twice and lose one of the descriptors. */
let queue: Promise<unknown> = Promise.resolve();

function readPids(pids: readonly number[], clock: Clock): Promise<ReadonlyMap<number, PidReading>> {
  const turn = queue.then(() => readNow(pids, clock));
  queue = turn.catch(() => undefined);
  return turn;
}

async function readNow(pids: readonly number[], clock: Clock): Promise<ReadonlyMap<number, PidReading>> {
  const readings = new Map<number, PidReading>();
  if (pids.length === 0) return readings;
  const found = await readAll([...pids]);
  const atMs = clock.monotonicMs();
  for (const pid of pids) {
    const entry = found[pid];
    if (entry) {
      readings.set(pid, { atMs, rssBytes: entry.memory, cpuMs: entry.ctime, elapsedMs: entry.elapsed });
    } else if (readStat(pid) !== undefined) {
      // pidusage hides the errors of all but a single pid: one that is still there was not measured, it did not vanish.
      throw new Error(`cannot measure process ${pid}: pidusage gave no numbers`);
    }
  }
  return readings;
}

async function readAll(pids: number[]): ReturnType<typeof Pidusage> {
  try {
    // Loaded on first use: with the child processes that it starts to learn the page size it costs 10 MB.
    const { default: pidusage } = await import("pidusage");
    return await pidusage(pids, { maxage: KEEP_OPEN_MS, usePs: false });
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH")) return {};
    throw new Error(
      `cannot measure processes ${pids.join(", ")}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}
