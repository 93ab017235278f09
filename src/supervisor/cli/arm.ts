/** `supervisor arm BOT --reason TEXT`: a person ends a lockout. */
import { EXIT } from "../../core/exit-code.ts";
import { plainJson, plainText } from "../../core/plain-text.ts";
import { armAnswerSchema } from "../runtime/api.ts";
import { callDaemon } from "./client.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly reason: string;
  readonly acceptPositions?: boolean;
  readonly json?: boolean;
}

class NoReasonError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "write why the account is safe again: it goes into the journal";

  constructor() {
    super("cannot arm: --reason is empty");
  }
}

export const command: Verb = {
  name: "arm",
  summary:
    "Ends the lockout of a bot after an emergency, or the level minimal after a restore. Refused while its positions are not proven closed, unless you accept them.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("<bot>", "name of the bot in the config")
      .requiredOption("--reason <text>", "why it is safe again; goes into the journal")
      .option("--accept-positions", "arm although positions are not proven closed")
      .option("--json", "one JSON object")
      .action(async (bot: string, options: Options) => {
        const place = await findPlace(options, io);
        const { reason, acceptPositions = false } = options;
        if (reason.trim() === "") throw new NoReasonError();
        const path = `/v1/bots/${encodeURIComponent(bot)}/arm`;
        showArmed(await callDaemon(place, "POST", path, { reason, acceptPositions }), options, io);
      });
  },
};

/** The lockout has ended in any case; what may have failed is the start that follows, if the bot is wanted. */
function showArmed(answer: unknown, { json = false, config }: Options, io: CliIo): void {
  const { bot, state, started, reason, reconciled = false } = armAnswerSchema.parse(answer);
  const failed = !reconciled && !started && (reason !== undefined || state !== "stopped");
  if (failed) io.setExitCode(EXIT.failed);
  if (json) return io.out(plainJson(answer));
  // Somebody has stopped it meanwhile, and it stays so.
  const start = state === "stopped" ? completeCommands(`; to start it: supervisor start ${bot}`, config) : "";
  const done = reconciled ? "agrees with its account again after its restore" : "re-armed";
  if (!failed) return io.out(`${bot} ${done}; it is ${state}${start}`);
  const why = reason === undefined ? "" : `: ${plainText(reason)}`;
  io.err(`${bot} re-armed, but it is not running: it is ${state}${why}`);
  return io.err(`hint: see: supervisor events --bot ${bot}`);
}
