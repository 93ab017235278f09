/** What a bot may use at most: the limits of the config, which of them this machine can enforce, and when memory counts as high. */
import * as z from "zod";
import { later } from "./later.ts";
import { cpuPercent, duration, size } from "./quantities.ts";
import { tag } from "./tag.ts";
import { formatSize } from "./size.ts";

/** Nothing runs in less, and a kernel that is given less kills the start. */
const MIN_MEMORY_BYTES = 1_024 ** 2;
/** Share of `memoryHigh` that memory must fall below before it no longer counts as high: 5 % of hysteresis. */
const CALM_RATIO = 0.95;

const memorySize = () =>
  tag(
    size().refine((bytes) => bytes >= MIN_MEMORY_BYTES, {
      error: "is too little for any program; make it at least 1MiB",
    }),
    "memory size",
  );

export const limitsSchema = later(() =>
  z.strictObject({
    memory: memorySize()
      .optional()
      .describe("Memory of the whole tree, swap included; the kernel kills what goes beyond it."),
    memoryHigh: memorySize()
      .optional()
      .describe(
        "Memory above which the bot is told to degrade, before memory kills; with cgroup v2 the kernel also slows it down.",
      ),
    cpu: cpuPercent().optional().describe("CPU time of the whole tree; the kernel makes it wait beyond that."),
    pids: z.int().min(1).max(4_194_304).optional().describe("Processes and threads of the whole tree."),
    openFiles: z.int().min(3).max(1_073_741_816).optional().describe("Open files of each process."),
    core: size().optional().describe("Largest core dump of a crashed process; 0B: none."),
    oomScore: z
      .int()
      .min(-1_000)
      .max(1_000)
      .optional()
      .describe("Whom the kernel kills first when the machine is short of memory: 1000 first, -1000 never."),
    onMemoryHigh: z
      .enum(["degrade", "restart"])
      .default("degrade")
      .describe(
        "What follows when memory is high or about to reach its limit: only the level degraded, or also a polite restart at a quiet moment.",
      ),
    quietTimeout: duration()
      .prefault("5m")
      .describe("Longest wait for a quiet moment (X_IN_FLIGHT=0) before that restart."),
    memoryHorizon: duration()
      .prefault("15m")
      .describe("Memory that grows counts as high when it would reach its limit within this time; 0s: never."),
    strict: z.boolean().default(false).describe("Do not start the bot when one of its limits cannot be enforced here."),
  }),
);
export type Limits = z.output<typeof limitsSchema>;
/** What the supervisor does about limits, and no limit itself; not part of what is started. */
const POLICY_KEYS = ["onMemoryHigh", "quietTimeout", "memoryHorizon"] as const;
type LimitKey = Exclude<keyof Limits, "strict" | (typeof POLICY_KEYS)[number]>;

/** The parts of cgroups that limits are made of. */
export const CONTROLLERS = ["memory", "cpu", "pids"] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** What the machine lets us enforce. */
export interface LimitPowers {
  /** `v2`, `hybrid` or `none`, as in the status. */
  readonly mode: "v2" | "hybrid" | "none";
  /** Why a controller cannot be used; one that is not named here can. */
  readonly obstacles: Readonly<Partial<Record<Controller, string>>>;
  /** The kernel slows down what is above `memoryHigh`: the memory controller is one of v2. */
  readonly slowsMemory: boolean;
  /** The most open files a child can be allowed. */
  readonly maxOpenFiles: number;
  /** The largest core size a child can be allowed, bytes; Infinity without a bound. */
  readonly maxCoreBytes: number;
  /** The lowest OOM score a child can be given. */
  readonly minOomScore: number;
}

/** The limits as they are applied; a field that is absent is not applied. */
export interface EnforcedLimits {
  readonly memoryBytes?: number;
  readonly memoryHighBytes?: number;
  /** Percent of one core. */
  readonly cpuPercent?: number;
  readonly pids?: number;
  readonly openFiles?: number;
  readonly coreBytes?: number;
  readonly oomScore?: number;
}

/** A limit of the config that is not kept here as it is written. */
export interface LimitGap {
  readonly key: LimitKey;
  readonly message: string;
  /** The supervisor keeps it by itself, with less effect than the kernel: no reason to forbid a start. */
  readonly watched?: true;
}

/** What is applied of `limits` on a machine with `powers`, and what is not. `memoryHigh` is at least watched by the supervisor. */
export function planLimits(limits: Limits, powers: LimitPowers): { enforced: EnforcedLimits; gaps: LimitGap[] } {
  const gaps: LimitGap[] = [];
  const { memory, memoryHigh, cpu, pids, openFiles, core, oomScore } = limits;
  const has = (key: Controller, wanted: number | undefined): wanted is number => {
    const obstacle = powers.obstacles[key];
    if (wanted !== undefined && obstacle !== undefined)
      gaps.push({ key, message: `is not enforced here: ${obstacle}` });
    return wanted !== undefined && obstacle === undefined;
  };
  const enforced = {
    ...(has("memory", memory) ? { memoryBytes: memory } : {}),
    ...(memoryHigh === undefined ? {} : { memoryHighBytes: memoryHigh }),
    ...(has("cpu", cpu) ? { cpuPercent: cpu } : {}),
    ...(has("pids", pids) ? { pids } : {}),
    ...(openFiles === undefined ? {} : { openFiles: Math.min(openFiles, powers.maxOpenFiles) }),
    ...(core === undefined ? {} : { coreBytes: Math.min(core, powers.maxCoreBytes) }),
    ...(oomScore === undefined ? {} : { oomScore: Math.max(oomScore, powers.minOomScore) }),
  };
  gaps.push(...rightsGaps(limits, powers));
  if (memoryHigh !== undefined && !powers.slowsMemory)
    gaps.push({
      key: "memoryHigh",
      message:
        "does not slow the bot down here, for want of the memory controller of cgroup v2: the supervisor watches it, and tells the bot to degrade",
      watched: true,
    });
  return { enforced, gaps };
}

/** A machine that keeps every limit. */
const ALL_POWERS: LimitPowers = {
  mode: "v2",
  obstacles: {},
  slowsMemory: true,
  maxOpenFiles: Number.POSITIVE_INFINITY,
  maxCoreBytes: Number.POSITIVE_INFINITY,
  minOomScore: -1_000,
};

/** What the config wants, whether or not the machine has it. */
export function wantedOf(limits: Limits | undefined): EnforcedLimits {
  return limits === undefined ? {} : planLimits(limits, ALL_POWERS).enforced;
}

/** Limits that only a capability could raise so far. */
function rightsGaps({ openFiles, core, oomScore }: Limits, powers: LimitPowers): LimitGap[] {
  const gaps: LimitGap[] = [];
  const { maxOpenFiles, maxCoreBytes, minOomScore } = powers;
  if (openFiles !== undefined && openFiles > maxOpenFiles)
    gaps.push({
      key: "openFiles",
      message: `is ${maxOpenFiles} here and not ${openFiles}: the supervisor may give no more; raise its own hard limit (LimitNOFILE= in its unit)`,
    });
  if (core !== undefined && core > maxCoreBytes)
    gaps.push({
      key: "core",
      message: `is ${formatSize(maxCoreBytes)} here and not ${formatSize(core)}: the supervisor may give no more; raise its own hard limit (LimitCORE= in its unit)`,
    });
  if (oomScore !== undefined && oomScore < minOomScore)
    gaps.push({
      key: "oomScore",
      message: `is ${minOomScore} here and not ${oomScore}: a lower one needs CAP_SYS_RESOURCE`,
    });
  return gaps;
}

/** Whether memory counts as high now; once it does, it must fall 5 % below the line to be calm again. */
export function isMemoryHigh(wasHigh: boolean, usedBytes: number, highBytes: number): boolean {
  return usedBytes > (wasHigh ? highBytes * CALM_RATIO : highBytes);
}

/** The controllers that `limits` need a cgroup of: `memoryHigh` is measured there too. */
export function controllersOf(limits: Limits | undefined): readonly Controller[] {
  if (limits === undefined) return [];
  const { memory, memoryHigh, cpu, pids } = limits;
  const wanted = { memory: memory ?? memoryHigh, cpu, pids };
  return CONTROLLERS.filter((controller) => wanted[controller] !== undefined);
}
