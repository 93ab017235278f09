/** `supervisor blackbox`: what a bot has recorded of itself, read from its files; needs no daemon. */
import { counted } from "../../core/counted.ts";
import { statSync } from "node:fs";
import { Option, type Command } from "commander";
import { missingEvents, type BlackboxEvent } from "../../core/blackbox.ts";
import { EXIT } from "../../core/exit-code.ts";
import { plainJson } from "../../core/plain-text.ts";
import { readStart, recordedStarts, type RecordedStart, type StartReading } from "../../platform/blackbox-files.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { writeFileAtomic } from "../../platform/files.ts";
import { blackboxLine, instrumentLines } from "../../report/blackbox-text.ts";
import { filesOf } from "../runtime/bot-plan.ts";
import { parseLines, parseRun, parseSince } from "./arguments.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { findPlace, readingFiles, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Time between two looks of `tail -f`, ms. */
const FOLLOW_MS = 250;
const DEFAULT_LINES = 50;

interface Options extends PlaceOptions {
  readonly json?: true;
  readonly run?: number;
  readonly since?: Date;
}

interface TailOptions extends Options {
  readonly follow?: true;
  readonly lines: number;
}

interface GrepOptions extends Options {
  readonly type?: string;
}

class NothingRecordedError extends Error {
  readonly exitCode = EXIT.failed;
  readonly hint = "a bot records by appending to $SUPERVISOR_BLACKBOX_DIR; supervisor logs shows its output";
}

export const command: Verb = {
  name: "blackbox",
  summary: "Shows what a bot has recorded of itself, also after its death.",
  configure: (cmd, io) => {
    reader(cmd.command("tail"), "Shows the last events and the operations in progress, of the last start or of --run.")
      .option("-f, --follow", "go on with what is recorded from now on")
      .option("-n, --lines <n>", "how many of the last events", parseLines, DEFAULT_LINES)
      .action((bot: string, options: TailOptions) => tail(bot, options, io));
    reader(cmd.command("grep"), "Shows the events that match, of all starts that are kept.")
      .argument("<pattern>", "regular expression, looked for in the event's JSON")
      .option("--type <prefix>", "only events whose type begins so, as order.")
      .action((bot: string, pattern: string, options: GrepOptions) => grep(bot, pattern, options, io));
    reader(cmd.command("export"), "Writes all events that are kept as one file of JSON lines.")
      .argument("<file>", "file to write; - is standard output")
      .action((bot: string, file: string, options: Options) => exportTo(bot, file, options, io));
  },
};

function reader(cmd: Command, what: string): Command {
  return withConfig(cmd)
    .description(what)
    .argument("<bot>", "name of the bot in the config")
    .addOption(new Option("--run <n>", "only start number n (its generation)").argParser(parseRun))
    .option("--since <time>", "only from this time: RFC 3339, or an age such as 15m, 2h, 1d", parseSince)
    .option("--json", "one JSON object per line");
}

async function tail(bot: string, options: TailOptions, io: CliIo): Promise<void> {
  const look = await looker(bot, options, io);
  const starts = look();
  const newest = starts.at(-1);
  if (newest === undefined) throw nothing(bot);
  const reading = readStart(newest);
  const { events, page } = reading;
  warn(reading, io);
  const shown = events.filter((event) => isWanted(event, options));
  for (const event of shown.slice(Math.max(0, shown.length - options.lines))) show(event, options, io);
  if (page !== undefined && options.json !== true) for (const line of instrumentLines(page)) io.out(line);
  if (options.follow !== true) return;
  await follow(look, { key: keyOf(newest), count: events.length, sign: signOf(newest) }, options, io);
}

/** How far a start has been shown. */
interface Shown {
  readonly key: string;
  readonly count: number;
  /** Its files with their sizes: what has not changed is not read again. */
  readonly sign: string;
}

/** Shows what comes. A start that is sealed meanwhile is the same one elsewhere; a later one begins a story of its own. */
async function follow(look: Look, from: Shown, options: TailOptions, io: CliIo): Promise<never> {
  let shown = from;
  for (;;) {
    // Safe: each look follows the last.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(systemClock, FOLLOW_MS);
    for (const start of look()) {
      const [key, sign] = [keyOf(start), signOf(start)];
      if (Number(key) < Number(shown.key) || (key === shown.key && sign === shown.sign)) continue;
      const { events } = readStart(start);
      const seen = key === shown.key ? shown.count : 0;
      for (const event of events.slice(seen)) if (isWanted(event, options)) show(event, options, io);
      shown = { key, sign, count: Math.max(seen, events.length) };
    }
  }
}

/** The generation: a start has the same number while it is live and when it is sealed. */
function keyOf({ name }: RecordedStart): string {
  return String(Number.parseInt(name, 10));
}

function signOf({ paths }: RecordedStart): string {
  return paths.map((path) => `${path}:${statSync(path, { throwIfNoEntry: false })?.size ?? 0}`).join();
}

async function grep(bot: string, pattern: string, options: GrepOptions, io: CliIo): Promise<void> {
  const expression = parsePattern(pattern);
  const found = (await allEvents(bot, options, io)).filter(
    (event) => event.type.startsWith(options.type ?? "") && expression.test(plainJson(event)),
  );
  for (const event of found) show(event, options, io);
  // As grep(1).
  if (found.length === 0) io.setExitCode(EXIT.failed);
}

async function exportTo(bot: string, file: string, options: Options, io: CliIo): Promise<void> {
  const events = await allEvents(bot, options, io);
  if (events.length === 0) throw nothing(bot);
  const lines = events.map((event) => plainJson(event));
  if (file === "-") for (const line of lines) io.out(line);
  else {
    writeFileAtomic(file, `${lines.join("\n")}\n`, 0o600);
    io.out(`${events.length} events written to ${file}`);
  }
  const missing = missingEvents(events);
  if (missing > 0) io.err(`${missing} events are missing: they were rotated out, or the disk did not take them`);
}

/** Lists the starts that are wanted, oldest first. */
type Look = () => readonly RecordedStart[];

async function looker(bot: string, options: Options, io: CliIo): Promise<Look> {
  const place = await findPlace(options, io);
  await refuseUnknownBot(bot, place, options, io);
  const { blackbox, sealedBlackbox: sealed } = filesOf(bot, bot, place.dirs);
  return () =>
    readingFiles(`the black box of ${bot}`, blackbox, () =>
      recordedStarts({ blackbox, sealed }).filter(
        (start) => options.run === undefined || keyOf(start) === String(options.run),
      ),
    );
}

async function allEvents(bot: string, options: Options, io: CliIo): Promise<readonly BlackboxEvent[]> {
  const look = await looker(bot, options, io);
  return look().flatMap((start) => {
    const reading = readStart(start);
    warn(reading, io);
    return reading.events.filter((event) => isWanted(event, options));
  });
}

function isWanted({ ts }: BlackboxEvent, { since }: Options): boolean {
  return since === undefined || ts >= since.getTime();
}

function show(event: BlackboxEvent, { json }: Options, io: CliIo): void {
  io.out(json === true ? plainJson(event) : blackboxLine(event));
}

function warn({ damaged }: StartReading, io: CliIo): void {
  if (damaged > 0) io.err(`passed over ${counted(damaged, "line")} that are no events`);
}

function nothing(bot: string): NothingRecordedError {
  return new NothingRecordedError(`cannot show the black box of ${bot}: nothing is recorded`);
}

class PatternError extends Error {
  readonly exitCode = EXIT.usage;
}

function parsePattern(pattern: string): RegExp {
  try {
    return new RegExp(pattern, "u");
  } catch (cause) {
    throw new PatternError(`cannot look for ${pattern}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
