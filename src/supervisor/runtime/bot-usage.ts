/** What a bot's processes use, for everybody who asks: read from /proc no more often than once a second. */
import type { BotStatus } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { createUsageSampler, type ResourceUsage } from "../../platform/usage.ts";
import type { BotLimits } from "./bot-limits.ts";
import type { Generation } from "./generation.ts";

/** For that long a reading is given again, ms: reading a hundred bots takes longer than all else that `status` does. */
const FRESH_MS = 1_000;

/** The start whose processes are read. */
type Start = Pick<Generation, "treePids" | "botCgroup">;
type Limits = Pick<BotLimits, "memoryBytes" | "oomKills">;
type UsageStatus = Pick<BotStatus, "resources" | "cpuSeconds">;

export class BotUsage {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #sample: ReturnType<typeof createUsageSampler>;
  #last: { readonly of: Start; readonly atMs: number; readonly usage: Promise<ResourceUsage> } | undefined;

  constructor(clock: Clock, limits: Limits) {
    this.#clock = clock;
    this.#limits = limits;
    this.#sample = createUsageSampler(clock);
  }

  /** Of the living start, at most a second old; of none, `resources` are null and the CPU time is that of all starts. Never rejects. */
  async status(generation: Start | undefined): Promise<UsageStatus> {
    try {
      const { rssBytes, cpuPercent, cpuSeconds, openFiles, pids } = await this.#read(generation);
      const { memoryBytes: memoryLimitBytes, oomKills } = this.#limits;
      const resources = { rssBytes, cpuPercent, pids, openFiles, memoryLimitBytes, oomKills };
      return { resources: generation === undefined ? null : resources, cpuSeconds };
    } catch {
      // The processes ended while they were read, or may not be read: there is nothing to show.
      this.#last = undefined;
      return { resources: null, cpuSeconds: null };
    }
  }

  async #read(generation: Start | undefined): Promise<ResourceUsage> {
    if (generation === undefined) return this.#sample([]);
    const nowMs = this.#clock.monotonicMs();
    const last = this.#last;
    if (last?.of === generation && nowMs - last.atMs < FRESH_MS) return last.usage;
    const usage = this.#sample(generation.treePids(), generation.botCgroup);
    this.#last = { of: generation, atMs: nowMs, usage };
    return usage;
  }
}
