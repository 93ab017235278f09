/** `supervisor logs BOT`: the bot's output, read from its file and the segments rotated out of it; needs no daemon. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Option } from "commander";
import { EXIT } from "../../core/exit-code.ts";
import { offsetSince, parseOutputMarks, rangeOfRun, type OutputMark } from "../../core/output-marks.ts";
import { systemClock } from "../../platform/clock.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { readOutput } from "../../platform/output-stream.ts";
import { viewOutput, type OutputFiles, type OutputView } from "../../platform/output-view.ts";
import { filesOf, type BotFiles } from "../runtime/bot-plan.ts";
import { parseLines, parseRun, parseSince } from "./arguments.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { refuseElsewhere, type Wanted } from "./logs-elsewhere.ts";
import { cannotWrite, readerLeft } from "./output.ts";
import { findPlace, readingFiles, withConfig, type PlaceOptions } from "./place.ts";
import { beginOfLine, follow, lastLines, skipTornLine, type Range } from "./tail.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Lines shown when nothing says what is wanted. */
const DEFAULT_LINES = 50;
/** Run marks are kept to half of this. */
const MAX_RUNS_BYTES = 1_048_576;

interface Options extends PlaceOptions, Wanted {}

class NoLogError extends Error {
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

class NoRunError extends Error {
  readonly hint = "supervisor status BOT shows the number of the current start";
}

export const command: Verb = {
  name: "logs",
  summary: "Shows the output of a bot, standard output and standard error as they came, also what was rotated out.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("<bot>", "name of the bot in the config")
      .option("-f, --follow", "go on with what is written from now on")
      .option(
        "-n, --lines <n>",
        `how many of the last lines; default ${DEFAULT_LINES}, with --since and --run all`,
        parseLines,
      )
      .option(
        "--since <time>",
        "what was written since this time, and up to a minute more: RFC 3339, or an age such as 15m, 2h, 1d",
        parseSince,
      )
      .addOption(
        new Option("--run <n>", "only what start number n wrote (its generation)")
          .argParser(parseRun)
          .conflicts(["follow", "since"]),
      )
      .action((bot: string, options: Options) => logs(bot, options, io));
  },
};

async function logs(bot: string, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  await refuseUnknownBot(bot, place, options, io);
  const { dirs } = place;
  await refuseElsewhere(bot, place, options, io);
  const botFiles = filesOf(bot, bot, dirs);
  const files: OutputFiles = { log: botFiles.log, index: botFiles.outputIndex };
  const what = `the output of ${bot}`;
  const { view, marks } = readingFiles(what, files.log, () => ({
    view: viewOutput(files),
    marks: parseOutputMarks(readTextIfExists(botFiles.runs, MAX_RUNS_BYTES) ?? ""),
  }));
  if (view.inode === undefined)
    sayNoFile(what, { bot, log: files.log, started: marks.some((mark) => "generation" in mark), view, io });
  const show = printer(io);
  const range = options.run === undefined ? rangeOf(view, marks, options) : rangeOfStart(view, marks, options.run);
  if (range === undefined) return show.chunk(lastWords(botFiles, options.run ?? 0));
  const whole = options.since !== undefined || options.run !== undefined;
  const lines = options.lines ?? (whole ? undefined : DEFAULT_LINES);
  const from = lines === undefined ? range.from : await lastLines(files, range, lines);
  const begin = from === range.from ? await wholeLineAt(files, range) : from;
  const onLoss = (why: string): void => io.err(why);
  for await (const { chunk } of readOutput(files, { from: begin, to: range.to, onLoss })) await show.chunk(chunk);
  if (options.follow === true) await follow(files, { from: range.to, clock: systemClock, onChunk: show.chunk, onLoss });
  await show.end();
}

/** What was rotated out before is shown all the same; without any, nothing is left to show. */
function sayNoFile(
  what: string,
  { bot, log, started, view, io }: { bot: string; log: string; started: boolean; view: OutputView; io: CliIo },
): void {
  const removed = `it was removed after a start of the bot, and what the bot writes since is lost; the next start makes it anew: supervisor restart ${bot}`;
  if (view.end > 0) return io.err(`${log} does not exist: ${removed}`);
  const first = "the file is made at the bot's first start; supervisor status shows the bots";
  throw new NoLogError(`cannot show ${what}: ${log} does not exist`, started ? removed : first);
}

/** What is to be shown, and what is there before it. */
interface Wanting extends Range {
  /** First byte that is kept. */
  readonly oldest: number;
  /** `torn`: its front was pruned; `any`: it may begin amid a line; `run`: it begins where a start began. */
  readonly front: "torn" | "any" | "run";
}

/** A mark of time or the end of a segment may be amid a line, which is then shown whole; one that was pruned in part is not. */
async function wholeLineAt(files: OutputFiles, { from, to, oldest, front }: Wanting): Promise<number> {
  if (front === "torn") return skipTornLine(files, { from, to });
  return front === "any" ? beginOfLine(files, { from: oldest, to: from }) : from;
}

function rangeOf(view: OutputView, marks: readonly OutputMark[], { since }: Options): Wanting {
  const wanted = since === undefined ? 0 : offsetSince(marks, view, since.toISOString());
  const oldest = oldestOf(view);
  const from = Math.min(Math.max(wanted, oldest), view.end);
  return { from, to: view.end, oldest, front: wanted < oldest ? "torn" : "any" };
}

/** Where the start's output is; `undefined` when all of it was pruned. */
function rangeOfStart(view: OutputView, marks: readonly OutputMark[], run: number): Wanting | undefined {
  const found = rangeOfRun(marks, run, view);
  if (found === undefined) return undefined;
  const oldest = oldestOf(view);
  const to = Math.min(found.to ?? view.end, view.end);
  if (to <= oldest && to > found.from) return undefined;
  const from = Math.min(Math.max(found.from, oldest), to);
  return { from, to, oldest, front: found.from < oldest ? "torn" : "run" };
}

function oldestOf({ segments, liveStart }: OutputView): number {
  return segments[0]?.start ?? liveStart;
}

/** What was kept of a start whose output is no longer there. */
function lastWords({ exits }: BotFiles, run: number): Buffer {
  try {
    return readFileSync(join(exits, `${run}.log`));
  } catch (error) {
    throw new NoRunError(`cannot show start ${run}: nothing of it is kept`, { cause: error });
  }
}

/** Standard output at the speed of its reader, ended with a newline; a reader that has enough ends the program. */
function printer(io: CliIo): { readonly chunk: (chunk: Buffer) => Promise<void>; readonly end: () => Promise<void> } {
  let last = "\n".codePointAt(0);
  process.stdout.on("error", (error) => {
    if (readerLeft(error)) process.exit(EXIT.done);
    io.err(cannotWrite(error));
    process.exit(EXIT.failed);
  });
  const chunk = (bytes: Buffer): Promise<void> => {
    last = bytes.at(-1) ?? last;
    return new Promise((resolve) => process.stdout.write(bytes, () => resolve()));
  };
  return { chunk, end: async () => (last === "\n".codePointAt(0) ? undefined : chunk(Buffer.from("\n"))) };
}
