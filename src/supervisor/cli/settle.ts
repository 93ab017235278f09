/** Ends restores that were broken off, as every command on backups does first, and says so. */
import { startBots } from "../../actions/backup/restore-bots.ts";
import { deleteKept, serverWork, settleRestores } from "../../actions/backup/restore-journal.ts";
import { startServerOf } from "../../actions/backup/restore-server.ts";
import { systemClock } from "../../platform/clock.ts";
import { settleOnServer } from "../runtime/backup-run.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import type { CliIo } from "./verb.ts";

/** Bots that such a restore had stopped are started again. Never throws: who may not read the state folder has none to end. */
export async function settleFirst(loaded: LoadedConfig, io: CliIo): Promise<void> {
  const { dirs } = loaded;
  const daemon = { socket: controlSocketPath(dirs.runtimeDir), stateDir: dirs.stateDir, clock: systemClock };
  const start = async (stopped: readonly string[], target: string): Promise<void> => {
    if (stopped.length === 0) return;
    for (const trouble of await startBots(daemon, stopped, target)) io.err(trouble);
  };
  try {
    for (const settled of settleRestores(dirs.stateDir, systemClock)) {
      const { outcome, detail, stopped, target } = settled;
      if (outcome === "server") continue;
      io.err(detail);
      if (outcome === "busy" || outcome === "failed") continue;
      // Safe: one restore after the other: they may share a server.
      // oxlint-disable-next-line no-await-in-loop
      const fault = await startServerOf(settled, systemClock);
      if (fault !== undefined) io.err(fault);
      // Safe: one restore after the other: they may share a bot.
      // oxlint-disable-next-line no-await-in-loop
      await start(stopped, target);
    }
    for (const target of serverWork(dirs.stateDir, systemClock.wallTime())) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      const { settled, failure } = await settleOnServer(loaded, target, { clock: systemClock });
      if (failure !== undefined) io.err(failure);
      if (settled !== undefined) io.err(settled.detail);
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await start(settled?.stopped ?? [], target);
    }
    await deleteKept(dirs.stateDir, systemClock.wallTime());
  } catch (error) {
    io.err(`cannot look for restores that were broken off: ${error instanceof Error ? error.message : String(error)}`);
  }
}
