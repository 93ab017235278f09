/** `supervisor arm BOT --reason TEXT`: a person ends a lockout. */
import { callDaemon } from "./client.ts";
import { stateIn } from "./bot-verb.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import type { Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly reason: string;
  readonly acceptPositions?: boolean;
  readonly json?: boolean;
}

export const command: Verb = {
  name: "arm",
  summary:
    "Ends the lockout of a bot after an emergency. Refused while its positions are not proven closed, unless you accept them.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("<bot>", "name of the bot in the config")
      .requiredOption("--reason <text>", "why it is safe again; goes into the journal")
      .option("--accept-positions", "arm although positions are not proven closed")
      .option("--json", "one JSON object")
      .action(async (bot: string, options: Options) => {
        const place = await findPlace(options, io);
        const { reason, acceptPositions = false } = options;
        const path = `/v1/bots/${encodeURIComponent(bot)}/arm`;
        const answer = await callDaemon(place, "POST", path, { reason, acceptPositions });
        io.out(options.json === true ? JSON.stringify(answer) : `${bot} re-armed; it is ${stateIn(answer)}`);
      });
  },
};
