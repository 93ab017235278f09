/** The exit code of `supervisor status`: what a script learns without reading. Light on purpose, as every status runs it. */
import { EXIT } from "./exit-code.ts";
import type { BackupStatus, BotStatus, Status } from "./status.ts";

/** States that nobody sleeps through. */
const ALARMING: ReadonlySet<BotStatus["state"]> = new Set(["recovering", "locked", "stuck", "halted"]);

/** 4 for an alarming bot, 0 when every bot that should run is running, ready and healthy, no backup is overdue, the last one of none was found damaged, and no preflight has failed, else 1. */
export function statusExitCode({
  bots,
  backups,
}: Pick<Status, "bots"> & { readonly backups: readonly BackupStatus[] }): number {
  if (bots.some((bot) => ALARMING.has(bot.state))) return EXIT.emergency;
  const settled = bots.every((bot) =>
    bot.wanted ? bot.state === "running" && bot.ready && bot.health === "healthy" : bot.state === "stopped",
  );
  // An emergency close that would not work is found on a quiet day, or too late.
  const guarded = bots.every(({ emergency }) => emergency.preflight !== "failed");
  return settled && guarded && !backups.some(isAmiss) ? EXIT.done : EXIT.failed;
}

function isAmiss({ overdue, lastSuccessAt, verified }: BackupStatus): boolean {
  return overdue || (lastSuccessAt !== null && !verified);
}
