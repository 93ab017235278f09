/** The shape that start, stop and restart share: one bot, one request, one line of answer. */
import { callDaemon } from "./client.ts";
import { findPlace, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

export interface BotVerb {
  readonly name: "start" | "stop" | "restart";
  readonly summary: string;
  readonly done: (bot: string, state: string) => string;
  /** Instead of `done`, where the bot was so before; absent where it never is. */
  readonly wasSo?: (bot: string, state: string) => string;
}

interface Options extends PlaceOptions {
  readonly json?: boolean;
}

export function botVerb({ name, summary, done, wasSo }: BotVerb): Verb {
  const run = async (bot: string, options: Options, io: CliIo): Promise<void> => {
    const place = await findPlace(options, io);
    const answer = await callDaemon(place, "POST", `/v1/bots/${encodeURIComponent(bot)}/${name}`);
    const text = isSo(answer) ? (wasSo ?? done) : done;
    io.out(options.json === true ? JSON.stringify(answer) : text(bot, stateIn(answer)));
  };
  return {
    name,
    summary,
    acts: true,
    runPlain: ({ word, options }, io) => (word === undefined ? undefined : run(word, options, io)),
    configure: (cmd, io) => {
      withConfig(cmd)
        .argument("<bot>", "name of the bot in the config")
        .option("--json", "one JSON object")
        .action((bot: string, options: Options) => run(bot, options, io));
    },
  };
}

function isSo(answer: unknown): boolean {
  return typeof answer === "object" && answer !== null && "already" in answer && answer.already === true;
}

/** The bot's state in an answer of the daemon. */
function stateIn(answer: unknown): string {
  return typeof answer === "object" && answer !== null && "state" in answer ? String(answer.state) : "unknown";
}
