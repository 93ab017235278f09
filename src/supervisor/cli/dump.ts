/** `supervisor dump`: makes a dump of a living bot, and shows, checks and thins out those that there are. */
import { constants, copyFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import {
  flawsOf,
  openDump,
  pruneDumps,
  storedDumps,
  type DumpFile,
  type OpenedDump,
} from "../../actions/dump/store.ts";
import { EXIT } from "../../core/exit-code.ts";
import { parseReading } from "../../core/instrument-page.ts";
import { parseSample } from "../../core/samples.ts";
import { guessText } from "../../core/nearest.ts";
import { formatSize } from "../../core/size.ts";
import { instrumentLines } from "../../report/blackbox-text.ts";
import { layOut, painter } from "../../report/text-table.ts";
import { dumpReport } from "../../report/dump-text.ts";
import { filesOf } from "../runtime/bot-plan.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { callDaemon } from "./client.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { findPlace, readingFiles, withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: true;
}

interface PruneOptions extends Options {
  readonly dryRun?: true;
}

class NoDumpError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "supervisor dump list shows those that there are";
}

class ExportError extends Error {
  readonly exitCode = EXIT.failed;
}

export const command: Verb = {
  name: "dump",
  summary: "Makes, shows, checks and thins out crash dumps. One is made by itself when a bot hangs or dies.",
  acts: true,
  configure: (cmd, io) => {
    sub(cmd, "now", "Dumps a living bot, which goes on.")
      .argument("<bot>", "name of the bot in the config")
      .action((bot: string, options: Options) => now(bot, options, io));
    sub(cmd, "list", "Shows the dumps that there are, the oldest first.")
      .argument("[bot]", "only of this bot")
      .action((bot: string | undefined, options: Options) => list(bot, options, io));
    sub(cmd, "show", "Shows a dump as an incident report.")
      .argument("<dump>", "id, file, or name of a bot for its last one")
      .action((dump: string, options: Options) => show(dump, options, io));
    sub(cmd, "verify", "Tells whether a dump is whole.")
      .argument("<dump>", "id, file, or name of a bot for its last one")
      .action((dump: string, options: Options) => verify(dump, options, io));
    sub(cmd, "export", "Copies a dump to where you want it.")
      .argument("<dump>", "id, file, or name of a bot for its last one")
      .argument("<file>", "file to write; one that exists is not replaced")
      .action((dump: string, file: string, options: Options) => exportTo(dump, file, options, io));
    sub(cmd, "prune", "Removes what dump.keep, maxTotal and maxAge of the config do not keep.")
      .argument("[bot]", "only of this bot")
      .option("--dry-run", "remove nothing; say of each dump why it stays or goes")
      .action((bot: string | undefined, options: PruneOptions) => prune(bot, options, io));
  },
};

function sub(cmd: Command, name: string, what: string): Command {
  return withConfig(cmd.command(name)).description(what).option("--json", "one JSON object");
}

async function now(bot: string, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const answer = await callDaemon(place, "POST", `/v1/bots/${encodeURIComponent(bot)}/dump`);
  const file = typeof answer === "object" && answer !== null ? String(Reflect.get(answer, "file")) : "";
  io.out(options.json === true ? JSON.stringify(answer) : `${bot} is dumped to ${file}`);
}

async function list(bot: string | undefined, options: Options, io: CliIo): Promise<void> {
  const { dumps } = await find(bot, options, io);
  if (options.json === true) return io.out(JSON.stringify({ dumps: dumps.map(described) }));
  if (dumps.length === 0) return io.out("no dumps");
  const rows = dumps.map(({ name: { id, bot: of, at, reason, signature }, bytes }) => {
    // Its name tells the second.
    const when = new Date(at).toISOString().replace(".000Z", "Z");
    return [[id], [when], [of], [reason], [signature], [formatSize(bytes)]] as const;
  });
  const header = ["DUMP", "MADE", "BOT", "REASON", "KIND", "SIZE"];
  return io.out(layOut({ header, rows, dispensable: ["SIZE", "KIND"] }, io.columns, painter(io.colour)));
}

async function show(dump: string, options: Options, io: CliIo): Promise<void> {
  const opened = await open(dump, options, io);
  const { manifest, entries } = opened;
  if (options.json === true) return io.out(JSON.stringify(manifest));
  const text = (path: string): string | undefined => entries.get(path)?.toString("utf8");
  const page = parseReading(text("blackbox/instruments.json") ?? "");
  const samples = (text("samples.ndjson") ?? "").split("\n").flatMap((line) => parseSample(line) ?? []);
  const instruments = page === undefined ? [] : instrumentLines(page);
  for (const line of dumpReport({ manifest, text, instruments, samples })) io.out(line);
  return undefined;
}

async function verify(dump: string, options: Options, io: CliIo): Promise<void> {
  const opened = await open(dump, options, io);
  const flaws = flawsOf(opened);
  const { id, entries } = opened.manifest;
  if (options.json === true) io.out(JSON.stringify({ id, ok: flaws.length === 0, flaws }));
  else if (flaws.length === 0) io.out(`dump ${id} is whole: ${entries.length} entries`);
  else for (const flaw of flaws) io.err(flaw);
  if (flaws.length > 0) io.setExitCode(EXIT.failed);
}

async function exportTo(dump: string, file: string, options: Options, io: CliIo): Promise<void> {
  const { folder, dumps } = await find(undefined, options, io);
  const { file: name } = choose(dump, dumps);
  copyDump(join(folder, name), resolve(io.cwd, file));
  io.out(
    options.json === true
      ? JSON.stringify({ file })
      : `${name} is copied to ${file}; it has no known secrets, but look before you give it away`,
  );
}

/** Never over a file that is there. */
function copyDump(from: string, to: string): void {
  try {
    copyFileSync(from, to, constants.COPYFILE_EXCL);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const why =
      code === "EEXIST"
        ? "the file exists; name another"
        : code === "ENOENT"
          ? "there is no such folder"
          : String(error);
    throw new ExportError(`cannot copy the dump to ${to}: ${why}`, { cause: error });
  }
}

async function prune(bot: string | undefined, options: PruneOptions, io: CliIo): Promise<void> {
  const { folder, dumps } = await find(bot, options, io);
  const { config } = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  const { dryRun = false } = options;
  const names = [...new Set(dumps.map(({ name }) => name.bot))];
  // Dumps of a bot that the config does not name any more are nobody's to judge.
  const verdicts = names.flatMap((name) => {
    const policy = config.bots[name]?.dump;
    return policy === undefined ? [] : pruneDumps(folder, name, policy, { dryRun });
  });
  if (options.json === true)
    return io.out(
      JSON.stringify({ dumps: verdicts.map(({ dump, why, remove }) => ({ ...described(dump), remove, why })) }),
    );
  for (const { dump, why, remove } of verdicts)
    if (dryRun || remove) io.out(`${remove ? (dryRun ? "would remove" : "removed") : "keeps"} ${dump.file}: ${why}`);
  if (verdicts.every(({ remove }) => !remove)) io.out("nothing to remove");
  return undefined;
}

async function find(
  bot: string | undefined,
  options: Options,
  io: CliIo,
): Promise<{ readonly folder: string; readonly dumps: readonly DumpFile[] }> {
  const place = await findPlace(options, io);
  if (bot !== undefined) await refuseUnknownBot(bot, place, options, io);
  const folder = filesOf("", "", place.dirs).dumps;
  const dumps = readingFiles("the dumps", folder, () => storedDumps(folder));
  return { folder, dumps: dumps.filter(({ name }) => bot === undefined || name.bot === bot) };
}

async function open(dump: string, options: Options, io: CliIo): Promise<OpenedDump> {
  if (dump.includes("/")) return openDump(dump);
  const { folder, dumps } = await find(undefined, options, io);
  return openDump(join(folder, choose(dump, dumps).file));
}

/** By id or file name; of a bot its last one. */
function choose(wanted: string, dumps: readonly DumpFile[]): DumpFile {
  const found = dumps.findLast(({ file, name }) => file === wanted || name.id === wanted || name.bot === wanted);
  if (found === undefined)
    throw new NoDumpError(
      `cannot find dump ${wanted}: no dump has this id or file name, and no bot of this name has one${guessText(
        wanted,
        dumps.flatMap(({ name }) => [name.bot, name.id]),
      )}`,
    );
  return found;
}

function described({ file, name, bytes }: DumpFile): object {
  const { id, bot, at, reason, signature } = name;
  return { id, file, bot, at: new Date(at).toISOString(), reason, signature, bytes };
}
