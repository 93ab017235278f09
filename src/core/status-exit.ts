/** The exit code of `supervisor status`: what a script learns without reading. Light on purpose, as every status runs it. */
import { EXIT } from "./exit-code.ts";
import type { BackupStatus, BotStatus, Status } from "./status.ts";

/** States that nobody sleeps through. */
const ALARMING: ReadonlySet<BotStatus["state"]> = new Set(["recovering", "locked", "stuck", "halted"]);

/** What counts of a status. */
interface Judged extends Pick<Status, "bots"> {
  readonly supervisor: Pick<Status["supervisor"], "journal" | "stateFolder" | "listen" | "missing">;
  readonly backups: readonly BackupStatus[];
}

/**
 * 4 for an alarming bot, 0 when every bot that should run is running, ready and healthy, no backup is overdue, the last one of none
 * was found damaged, no preflight has failed, the state folder takes what is written there, the ports of the config are open and all its bots are there, else 1.
 */
export function statusExitCode({ supervisor, bots, backups }: Judged): number {
  if (bots.some((bot) => ALARMING.has(bot.state))) return EXIT.emergency;
  const settled = bots.every((bot) =>
    bot.wanted ? bot.state === "running" && bot.ready && bot.health === "healthy" : bot.state === "stopped",
  );
  // An emergency close that would not work is found on a quiet day, or too late.
  const guarded = bots.every(({ emergency }) => emergency.preflight !== "failed");
  const kept =
    (supervisor.journal ?? supervisor.stateFolder ?? supervisor.listen ?? supervisor.missing ?? null) === null &&
    bots.every(({ emergency }) => (emergency.owed ?? null) === null);
  return settled && guarded && kept && !backups.some(isAmiss) ? EXIT.done : EXIT.failed;
}

function isAmiss({ overdue, lastSuccessAt, verified }: BackupStatus): boolean {
  return overdue || (lastSuccessAt !== null && !verified);
}
