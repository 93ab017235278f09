/** `resources`: the bot's whole process tree stays below its limits of memory, CPU and open files. */
import * as z from "zod";
import { tag } from "../core/tag.ts";
import { later } from "../core/later.ts";
import { cpuPercent, duration, size } from "../core/quantities.ts";
import { formatSize } from "../core/size.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { createUsageSampler, type ResourceUsage } from "../platform/usage.ts";
import { common, defineProbe, type Probe, type ProbeContext } from "./contract.ts";
import { OWN_STALL_MS, withDeadline } from "./deadline.ts";

const schema = later(() =>
  tag(
    z
      .strictObject({
        ...common,
        kind: z.literal("resources").describe("The bot's whole process tree stays below its limits."),
        failureThreshold: common.failureThreshold.default(1),
        maxRss: size().optional().describe("Resident memory of all processes together, for example 1500MiB."),
        maxCpu: cpuPercent().optional().describe("CPU use of all processes together; 100% is one core."),
        maxOpenFiles: z.int().min(1).optional().describe("Open file descriptors of all processes together."),
        for: duration().prefault("60s").describe("How long a limit must be exceeded without a break."),
      })
      .refine(
        (config) => config.maxRss !== undefined || config.maxCpu !== undefined || config.maxOpenFiles !== undefined,
        {
          error: "a resources probe needs at least one of maxRss, maxCpu, maxOpenFiles",
        },
      ),
    "some resource",
  ),
);
type ResourcesConfig = z.output<typeof schema>;

export const resources = defineProbe({ kind: "resources", schema, create: watchResources });

function watchResources(config: ResourcesConfig, context: ProbeContext): Probe {
  const { clock } = context;
  const sample = createUsageSampler(clock);
  const overSinceMs = new Map<string, number>();
  let sampledAtMs: number | undefined;

  const look = async (): Promise<ProbeResult> => {
    const usage = await sample(context.treePids());
    if (usage.pids === 0) return { kind: "unknown", reason: "no process of the bot is left to measure" };
    const nowMs = clock.monotonicMs();
    // Nobody looked for much longer than a period, so nobody knows that the limit was exceeded all the time.
    if (sampledAtMs !== undefined && nowMs - sampledAtMs > 2 * config.period + config.timeout + OWN_STALL_MS)
      overSinceMs.clear();
    sampledAtMs = nowMs;
    const result = judge(excesses(config, usage), overSinceMs, nowMs, config.for);
    const blind = config.maxOpenFiles !== undefined && usage.uncounted > 0;
    if (result.kind === "failure" || !blind) return result;
    return { kind: "unknown", reason: `cannot count the open files of ${usage.uncounted} processes: not permitted` };
  };

  return { run: (signal) => withDeadline({ clock, timeoutMs: config.timeout, signal, late: "unknown" }, look) };
}

/** Limits that `usage` exceeds: name of the limit to its description. */
function excesses(config: ResourcesConfig, usage: ResourceUsage): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (config.maxRss !== undefined && usage.rssBytes > config.maxRss)
    found.set("maxRss", `memory ${formatSize(usage.rssBytes)} is above maxRss ${formatSize(config.maxRss)}`);
  if (config.maxCpu !== undefined && usage.cpuPercent > config.maxCpu)
    found.set("maxCpu", `CPU ${usage.cpuPercent.toFixed(1)}% is above maxCpu ${config.maxCpu}%`);
  if (config.maxOpenFiles !== undefined && usage.openFiles > config.maxOpenFiles)
    found.set("maxOpenFiles", `${usage.openFiles} open files are above maxOpenFiles ${config.maxOpenFiles}`);
  return found;
}

/** Keeps for each limit since when it is exceeded; fails when one has been exceeded for `forMs`. */
function judge(
  over: ReadonlyMap<string, string>,
  overSinceMs: Map<string, number>,
  nowMs: number,
  forMs: number,
): ProbeResult {
  for (const limit of overSinceMs.keys()) if (!over.has(limit)) overSinceMs.delete(limit);
  const reasons: string[] = [];
  for (const [limit, text] of over) {
    const sinceMs = overSinceMs.get(limit) ?? nowMs;
    overSinceMs.set(limit, sinceMs);
    if (nowMs - sinceMs >= forMs) reasons.push(`${text} for ${Math.round((nowMs - sinceMs) / 1_000)} s`);
  }
  return reasons.length === 0 ? { kind: "success" } : { kind: "failure", reason: reasons.join("; ") };
}
