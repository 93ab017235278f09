/** `supervisor logs BOT`: the bot's output, read from its file; needs no daemon. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { InvalidArgumentError } from "commander";
import { systemClock } from "../../platform/clock.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { findPlace, readingFiles, withConfig, type PlaceOptions } from "./place.ts";
import { follow, lastLines } from "./tail.ts";
import type { Verb } from "./verb.ts";

/** Most lines shown by `-n`. */
const MAX_LINES = 1_000_000;

interface Options extends PlaceOptions {
  readonly follow?: boolean;
  readonly lines: number;
}

class NoLogError extends Error {
  readonly hint = "the file is made at the bot's first start; supervisor status shows the bots";
}

export const command: Verb = {
  name: "logs",
  summary: "Shows the output of a bot, standard output and standard error as they came.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("<bot>", "name of the bot in the config")
      .option("-f, --follow", "go on with what is written from now on")
      .option("-n, --lines <n>", "how many of the last lines", parseLines, 50)
      .action(async (bot: string, options: Options) => {
        const place = await findPlace(options, io);
        await refuseUnknownBot(bot, place, options, io);
        const path = join(place.dirs.logDir, `${bot}.log`);
        const what = `the output of ${bot}`;
        const text = readingFiles(what, path, () => {
          if (statSync(path, { throwIfNoEntry: false }) === undefined)
            throw new NoLogError(`cannot show ${what}: ${path} does not exist`);
          return lastLines(path, options.lines);
        });
        if (text !== "") io.out(text);
        if (options.follow === true) await follow(path, systemClock, (more) => process.stdout.write(more));
      });
  },
};

export function parseLines(text: string): number {
  const lines = Number(text);
  if (/^\d+$/.test(text) && lines <= MAX_LINES) return lines;
  throw new InvalidArgumentError(`"${text}" is not a number of lines from 0 to ${MAX_LINES}`);
}
