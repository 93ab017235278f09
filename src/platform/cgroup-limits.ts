/** Sets the limits of one cgroup of a bot and reads what it uses (https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html). */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Controller, EnforcedLimits } from "../core/limits.ts";
import { readProc } from "./proc.ts";

/** Length of one accounting period of CPU time, µs: the kernel's default. */
const CPU_PERIOD_US = 100_000;
/** CPU time of one period for one percent of a core, µs. */
const US_PER_PERCENT = CPU_PERIOD_US / 100;

/** Memory without and with swap. */
const V1_MEMORY_FILES = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] as const;
/** What v1 shows where memory has no limit: the largest count of pages that it knows, of whatever size, and more than any machine has, bytes. */
const V1_UNLIMITED_BYTES = 2 ** 62;
/** The file of each controller in a v2 cgroup that has it. */
const V2_LIMIT_FILES = { memory: "memory.max", cpu: "cpu.max", pids: "pids.max" } as const satisfies Record<
  Controller,
  string
>;

/** Limits of memory in a cgroup of the memory controller. Swap counts, else a limit is only a slower way to exceed it. */
export function limitMemory(version: "v1" | "v2", cgroup: string, limits: EnforcedLimits): void {
  const { memoryBytes, memoryHighBytes } = limits;
  if (version === "v2") {
    if (memoryHighBytes !== undefined) set(cgroup, "memory.high", memoryHighBytes);
    if (memoryBytes === undefined) return;
    set(cgroup, "memory.max", memoryBytes);
    if (has(cgroup, "memory.swap.max")) set(cgroup, "memory.swap.max", 0);
    // A bot that lost one of its processes is no bot: the kernel kills all of them or none.
    if (has(cgroup, "memory.oom.group")) set(cgroup, "memory.oom.group", 1);
  } else if (memoryBytes !== undefined) {
    const files = V1_MEMORY_FILES.filter((file) => has(cgroup, file));
    // With swap may never be less than without: it is lowered last and raised first.
    const raised = Number(readProc(join(cgroup, V1_MEMORY_FILES[0]))) < memoryBytes;
    for (const file of raised ? files.toReversed() : files) set(cgroup, file, memoryBytes);
  }
}

/** Limit of CPU time; `percent` of one core. */
export function limitCpu(version: "v1" | "v2", cgroup: string, percent: number): void {
  const quotaUs = percent * US_PER_PERCENT;
  if (version === "v2") return set(cgroup, "cpu.max", `${quotaUs} ${CPU_PERIOD_US}`);
  set(cgroup, "cpu.cfs_period_us", CPU_PERIOD_US);
  return set(cgroup, "cpu.cfs_quota_us", quotaUs);
}

/** Limit of processes and threads. */
export function limitPids(cgroup: string, pids: number): void {
  set(cgroup, "pids.max", pids);
}

/** Whether the v2 cgroup has the controller: it was handed down to it. */
export function hasController(cgroup: string, controller: Controller): boolean {
  return has(cgroup, V2_LIMIT_FILES[controller]);
}

/** The limit of memory that the kernel keeps in the cgroup, bytes; `undefined` where it keeps none. */
export function memoryLimit(version: "v1" | "v2", cgroup: string): number | undefined {
  const bytes = Number(readProc(join(cgroup, version === "v2" ? "memory.max" : V1_MEMORY_FILES[0])) ?? Number.NaN);
  return bytes < V1_UNLIMITED_BYTES ? bytes : undefined;
}

/** Takes away the limits of the controller that are set in the cgroup and are not among the `wanted`. */
export function liftLimits(controller: Controller, version: "v1" | "v2", cgroup: string, wanted: EnforcedLimits): void {
  const lift = (file: string, value: number | string): void => {
    if (has(cgroup, file)) set(cgroup, file, value);
  };
  const unlimited = version === "v2" ? "max" : -1;
  switch (controller) {
    case "memory":
      if (version === "v2" && wanted.memoryHighBytes === undefined) lift("memory.high", unlimited);
      if (wanted.memoryBytes !== undefined) return undefined;
      if (version === "v2") lift("memory.oom.group", 0);
      // With swap may never be less than without.
      for (const file of version === "v2" ? ["memory.swap.max", "memory.max"] : V1_MEMORY_FILES.toReversed())
        lift(file, unlimited);
      return undefined;
    case "cpu":
      if (wanted.cpuPercent !== undefined) return undefined;
      return version === "v2" ? lift("cpu.max", unlimited) : lift("cpu.cfs_quota_us", unlimited);
    case "pids":
      return wanted.pids === undefined ? lift("pids.max", "max") : undefined;
  }
}

/** Kills in the cgroup for want of memory since it was made; 0 where nobody counts them. */
export function countOomKills(version: "v1" | "v2", cgroup: string): number {
  const text = readProc(join(cgroup, version === "v2" ? "memory.events" : "memory.oom_control"));
  return numberOf(text, "oom_kill") ?? 0;
}

/**
 * Whether the kernel has killed the cgroup whole for want of memory since it was made. Never on v1, and never before Linux 5.17,
 * which does not tell.
 */
export function wasKilledWhole(version: "v1" | "v2", cgroup: string): boolean {
  // Its own events: a container within the bot may be killed whole by itself.
  return version === "v2" && (numberOf(readProc(join(cgroup, "memory.events.local")), "oom_group_kill") ?? 0) > 0;
}

/**
 * Memory that the cgroup needs, bytes: what it is charged for without file pages that the kernel drops at will (the
 * working set of Kubernetes). `undefined` when it cannot be read.
 */
export function usedMemory(version: "v1" | "v2", cgroup: string): number | undefined {
  const v2 = version === "v2";
  const charged = Number(readProc(join(cgroup, v2 ? "memory.current" : "memory.usage_in_bytes")) ?? Number.NaN);
  const idle = numberOf(readProc(join(cgroup, "memory.stat")), v2 ? "inactive_file" : "total_inactive_file");
  return Number.isFinite(charged) && idle !== undefined ? Math.max(0, charged - idle) : undefined;
}

/** Memory of processes without a cgroup: the sum of what each has in memory, shared pages counted for each, bytes. */
export function residentMemory(pids: readonly number[]): number {
  const kilobytes = pids.map((pid) => numberOf(readProc(`/proc/${pid}/status`), "VmRSS:") ?? 0);
  return kilobytes.reduce((sum, each) => sum + each, 0) * 1_024;
}

/** The number after `name` in lines of "name number". */
function numberOf(text: string | undefined, name: string): number | undefined {
  const line = text?.split("\n").find((each) => each.startsWith(name) && /^\s/.test(each.slice(name.length)));
  const value = line === undefined ? Number.NaN : Number.parseInt(line.slice(name.length), 10);
  return Number.isFinite(value) ? value : undefined;
}

function has(cgroup: string, file: string): boolean {
  return existsSync(join(cgroup, file));
}

/** Control files exist or not; opening with O_CREAT would hide the second. */
function set(cgroup: string, file: string, value: number | string): void {
  try {
    writeFileSync(join(cgroup, file), String(value), { flag: "r+" });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`cannot limit the bot by ${join(cgroup, file)}: ${why}`, { cause });
  }
}
