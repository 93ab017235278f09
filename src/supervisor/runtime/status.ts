/** Puts the status object together. */
import type { Status } from "../../core/status.ts";
import { statusExitCode } from "../../core/status-exit.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Bot } from "./bot.ts";
import { botStatus } from "./bot-status.ts";

export interface StatusInput {
  readonly clock: Clock;
  readonly version: string;
  /** Path of the config file. */
  readonly config: string;
  readonly bots: readonly Bot[];
  readonly cgroup: Status["supervisor"]["cgroup"];
  readonly journalDropped: number;
  readonly startedAt: Date;
  readonly startedAtMs: number;
}

export async function supervisorStatus(input: StatusInput): Promise<Status> {
  const { clock, version, config, cgroup, journalDropped, startedAt, startedAtMs } = input;
  const bots = await Promise.all(input.bots.map((bot) => botStatus(bot, clock)));
  return {
    version: 1,
    supervisor: {
      version,
      pid: process.pid,
      startedAt: startedAt.toISOString(),
      uptimeSeconds: (clock.monotonicMs() - startedAtMs) / 1_000,
      config,
      health: statusExitCode(bots) === 0 && journalDropped === 0 ? "ok" : "degraded",
      role: "active",
      cgroup,
      rssBytes: process.memoryUsage.rss(),
      journalDropped,
      asOf: clock.wallTime().toISOString(),
    },
    bots,
    backups: [],
    alerts: { firing: 0, queued: 0 },
  };
}
