/** `supervisor reload`: the daemon reads its config again; what it changes is shown, and with --dry-run nothing else is done. */
import { realpathSync } from "node:fs";
import * as z from "zod";
import { reloadAnswerSchema, type ReloadAnswer } from "../../core/reload.ts";
import { EXIT } from "../../core/exit-code.ts";
import { plainJson } from "../../core/plain-text.ts";
import { reloadText } from "../../report/reload-text.ts";
import { callDaemon, DaemonError } from "./client.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** All that is read of the status here. */
const configOfDaemon = z.object({ supervisor: z.object({ config: z.string() }) });

export const command: Verb = {
  name: "reload",
  summary:
    "Makes the running daemon read its config again. Only bots whose definition changed restart; a file with mistakes changes nothing.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--dry-run", "show what would change, and change nothing")
      .option("--json", "one JSON object")
      .action((options: Options) => reload(options, io));
  },
};

/** Asks the daemon, which reads its own file in its own environment: what it answers is what it does. */
export async function reload({ dryRun = false, json = false, ...place }: Options, io: CliIo): Promise<void> {
  const found = await findPlace(place, io);
  if (place.config !== undefined) await refuseOtherFile(found);
  const answer = reloadAnswerSchema.parse(await callDaemon(found, "POST", "/v1/reload", { dryRun }));
  io.setExitCode(exitCodeOf(answer));
  if (json) return io.out(plainJson(answer));
  for (const warning of answer.warnings) io.err(warning);
  return io.out(completeCommands(reloadText(answer), place.config));
}

/** Throws when the file that a person named is not the one that the daemon reads: nothing would come of what is in it. */
async function refuseOtherFile(place: Place): Promise<void> {
  const { supervisor } = configOfDaemon.parse(await callDaemon(place, "GET", "/v1/status"));
  if (realPath(supervisor.config) === realPath(place.file)) return;
  throw new DaemonError(
    {
      code: "otherConfig",
      message: `cannot reload ${place.file}: the running supervisor reads ${supervisor.config}; nothing was changed`,
      hint: `change that file, or leave out --config; to run with ${place.file}, stop the supervisor and start it with that one`,
    },
    EXIT.usage,
  );
}

/** Also where the file itself is gone, its path counts. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function exitCodeOf({ refusal, bots }: ReloadAnswer): number {
  if (refusal !== null) return EXIT.usage;
  return bots.some(({ error }) => error !== null) ? EXIT.failed : EXIT.done;
}
