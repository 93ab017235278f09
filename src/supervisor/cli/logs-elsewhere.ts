/** Where to look for the output of a bot that the supervisor itself does not keep (`output.to`): the command that shows it. */
import { EXIT } from "../../core/exit-code.ts";
import { journalIdentifier, OUTPUT_TARGETS } from "../../core/output-log.ts";
import { parseRunMarks } from "../../core/output-marks.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { filesOf, type BotFiles } from "../runtime/bot-plan.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import type { Place, PlaceOptions } from "./place.ts";
import type { CliIo } from "./verb.ts";

/** Larger configs and run marks are not looked into. */
const MAX_FILE_BYTES = 1_048_576;
const DEFAULT_LINES = 50;

/** What of the output is asked for. */
export interface Wanted {
  readonly follow?: boolean;
  readonly lines?: number;
  readonly since?: Date;
  readonly run?: number;
}

class ElsewhereError extends Error {
  readonly exitCode = EXIT.failed;
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** Throws, with exit code 1 and the way to it, when the config sends the bot's output elsewhere; a config that cannot be read does not. */
export async function refuseElsewhere(
  bot: string,
  place: Place,
  options: PlaceOptions & Wanted,
  io: CliIo,
): Promise<void> {
  // Most configs say nothing of it, and need no parse.
  if (!/journal|inherit|\\/.test(readTextIfExists(place.file, MAX_FILE_BYTES) ?? "")) return;
  const files = filesOf(bot, bot, place.dirs);
  const to = await targetOf(bot, options, io);
  if (to === "file") return;
  const earlier = `what went to the file before, or for want of a journal, is in ${files.log}`;
  if (to === "inherit")
    throw new ElsewhereError(
      `cannot show the output of ${bot}: it goes where the supervisor's own output goes (output.to: inherit)`,
      `docker logs, kubectl logs, or journalctl -u tradingbot.service, as the supervisor was started; ${earlier}`,
    );
  throw new ElsewhereError(
    `cannot show the output of ${bot}: it goes to systemd's journal (output.to: journal)`,
    `${journalCommand(bot, files, options)}; ${earlier}`,
  );
}

async function targetOf(bot: string, options: PlaceOptions, io: CliIo): Promise<(typeof OUTPUT_TARGETS)[number]> {
  const { readSource } = await import("../runtime/config/read.ts");
  const { valueAt } = await import("../runtime/config/value-at.ts");
  try {
    const { root } = readSource({ file: options.config, env: io.env, cwd: io.cwd }).source;
    const to = valueAt(root, ["bots", bot, "output", "to"]);
    return OUTPUT_TARGETS.find((target) => target === to) ?? "file";
  } catch (error) {
    if (error instanceof ConfigError) return "file";
    throw error;
  }
}

/** The same question to journalctl(1). A start is told by its time: journald keeps no number of it. */
function journalCommand(bot: string, files: BotFiles, { follow, lines, since, run }: Wanted): string {
  const words = ["journalctl", "-t", journalIdentifier(bot)];
  if (follow === true) words.push("-f");
  const whole = since !== undefined || run !== undefined;
  const count = lines ?? (whole ? undefined : DEFAULT_LINES);
  if (count !== undefined) words.push("-n", String(count));
  if (since !== undefined) words.push(`--since=${seconds(since.toISOString())}`);
  if (run !== undefined) words.push(...spanOf(files, run));
  return words.join(" ");
}

function spanOf({ runs }: BotFiles, run: number): readonly string[] {
  const marks = parseRunMarks(readTextIfExists(runs, MAX_FILE_BYTES) ?? "");
  const at = marks.findLastIndex((mark) => mark.generation === run);
  const [from, to] = [marks[at]?.at, marks[at + 1]?.at];
  if (at === -1 || from === undefined) return [];
  return [`--since=${seconds(from)}`, ...(to === undefined ? [] : [`--until=${seconds(to)}`])];
}

/** journalctl reads local time, and seconds since the epoch after an "@". */
function seconds(at: string): string {
  return `@${(Date.parse(at) / 1_000).toFixed(3)}`;
}
