/** Puts the status object together, and leaves it on disk. */
import { chownSync } from "node:fs";
import type { BackupStatus, Status } from "../../core/status.ts";
import { statusExitCode } from "../../core/status-exit.ts";
import type { Clock } from "../../platform/clock.ts";
import { replaceFile } from "../../platform/files.ts";
import { pidNamespace } from "../../platform/pid-namespace.ts";
import { lookupGroup } from "../../platform/user.ts";
import type { Bot } from "./bot.ts";
import { botStatus } from "./bot-status.ts";
import type { LoadedConfig } from "./config/load.ts";
import { statusFile } from "./installation.ts";
import type { Journal } from "./journal.ts";

export interface StatusInput {
  readonly clock: Clock;
  readonly version: string;
  /** Path of the config file. */
  readonly config: string;
  readonly bots: readonly Bot[];
  readonly backups: readonly BackupStatus[];
  readonly drill?: Status["drill"];
  readonly cgroup: Status["supervisor"]["cgroup"];
  readonly journal: Pick<Journal, "dropped" | "trouble">;
  /** What happened to the state folder under the daemon; null: nothing. */
  readonly stateFolder?: string | null;
  /** Why an address of `http` or `metrics` is not listened on now; null: all are. */
  readonly listen?: string | null;
  /** Which bots of the config a reload could not take in, and why; null: none. */
  readonly missing?: string | null;
  readonly startedAt: Date;
  readonly startedAtMs: number;
  /** `undefined`: nobody watches the machine. */
  readonly machine?: Status["supervisor"]["machine"];
  readonly maintenance?: Status["supervisor"]["maintenance"];
}

export async function supervisorStatus(input: StatusInput): Promise<Status> {
  const { clock, version, config, cgroup, journal, startedAt, startedAtMs, machine, maintenance = null } = input;
  const { stateFolder = null, listen = null, missing = null } = input;
  const bots = await Promise.all(input.bots.map((bot) => botStatus(bot, clock)));
  const supervisor = { journal: journal.trouble, stateFolder, listen, missing };
  return {
    version: 1,
    supervisor: {
      version,
      pid: process.pid,
      pidNamespace: pidNamespace(),
      startedAt: startedAt.toISOString(),
      uptimeSeconds: (clock.monotonicMs() - startedAtMs) / 1_000,
      config,
      health:
        statusExitCode({ supervisor, bots, backups: input.backups }) === 0 && journal.dropped === 0 ? "ok" : "degraded",
      role: "active",
      cgroup,
      rssBytes: process.memoryUsage.rss(),
      journalDropped: journal.dropped,
      ...supervisor,
      asOf: clock.wallTime().toISOString(),
      maintenance,
      ...(machine === undefined ? {} : { machine }),
    },
    bots,
    backups: [...input.backups],
    ...(input.drill === undefined ? {} : { drill: input.drill }),
    alerts: { firing: 0, queued: 0 },
  };
}

/** Leaves the last known state for when no daemon answers; who may ask the daemon may also read it. Throws when it cannot be written. */
export function writeStatus({ dirs, config }: LoadedConfig, status: Status): void {
  const path = statusFile(dirs.stateDir);
  // Not forced to the disk: after a power cut it would be old anyway.
  replaceFile(path, `${JSON.stringify(status)}\n`, 0o640);
  const { group } = config.control;
  const gid = group === undefined ? undefined : lookupGroup(group);
  if (gid !== undefined) chownSync(path, -1, gid);
}
