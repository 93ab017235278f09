/** `supervisor reload`: the daemon reads its config again; what it changes is shown, and with --dry-run nothing else is done. */
import { reloadAnswerSchema, type ReloadAnswer } from "../../core/reload.ts";
import { EXIT } from "../../core/exit-code.ts";
import { plainJson } from "../../core/plain-text.ts";
import { reloadText } from "../../report/reload-text.ts";
import { callDaemon } from "./client.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

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
  const answer = reloadAnswerSchema.parse(
    await callDaemon(await findPlace(place, io), "POST", "/v1/reload", { dryRun }),
  );
  io.setExitCode(exitCodeOf(answer));
  if (json) return io.out(plainJson(answer));
  for (const warning of answer.warnings) io.err(warning);
  return io.out(reloadText(answer));
}

function exitCodeOf({ refusal, bots }: ReloadAnswer): number {
  if (refusal !== null) return EXIT.usage;
  return bots.some(({ error }) => error !== null) ? EXIT.failed : EXIT.done;
}
