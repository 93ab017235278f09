/** Ends restores that were broken off, as every command on backups does first, and says so. */
import { startBots } from "../../actions/backup/restore-bots.ts";
import { settleRestores } from "../../actions/backup/restore-journal.ts";
import { systemClock } from "../../platform/clock.ts";
import type { Dirs } from "../runtime/config/load.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import type { CliIo } from "./verb.ts";

/** Bots that such a restore had stopped are started again. Never throws: who may not read the state folder has none to end. */
export async function settleFirst(dirs: Dirs, io: CliIo): Promise<void> {
  try {
    for (const { outcome, detail, stopped } of settleRestores(dirs.stateDir, systemClock)) {
      io.err(detail);
      if (outcome === "busy" || outcome === "failed" || stopped.length === 0) continue;
      // Safe: one restore after the other: they may share a bot.
      // oxlint-disable-next-line no-await-in-loop
      for (const trouble of await startBots(controlSocketPath(dirs.runtimeDir), stopped)) io.err(trouble);
    }
  } catch (error) {
    io.err(`cannot look for restores that were broken off: ${error instanceof Error ? error.message : String(error)}`);
  }
}
