/** `supervisor state`: whether a bot's state is whole, what it holds, and what of it can be saved; needs no daemon. */
import { counted } from "../../core/counted.ts";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Argument, InvalidArgumentError, Option, type Command } from "commander";
import { LEVELS } from "../../core/degradation.ts";
import { EXIT } from "../../core/exit-code.ts";
import type { Level } from "../../core/gate.ts";
import { plainJson, plainText } from "../../core/plain-text.ts";
import { formatSize } from "../../core/size.ts";
import { startWorker } from "../../platform/worker.ts";
import { filesOf } from "../runtime/bot-plan.ts";
import { refuseUnknownBot } from "./known-bots.ts";
import { findPlace, readingFiles, withConfig, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import { stateAnswerSchema, type StateAnswer, type StateJob } from "./state-job.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: true;
}

interface SalvageOptions extends Options {
  readonly to: string;
  readonly backup: readonly string[];
}

interface RekeyOptions extends Options {
  readonly keyFile?: string;
}

interface LevelOptions extends Options {
  readonly reason: string;
}

/** A state of some gigabytes is read in minutes. */
const DEADLINE_MS = 1_800_000;

class StateError extends Error {
  readonly exitCode = EXIT.failed;
}

export const command: Verb = {
  name: "state",
  summary: "Shows, checks and salvages the state that a bot keeps with the SDK, sets its level, renews its encryption.",
  configure: (cmd, io) => {
    sub(cmd, "show", "Shows what it holds: positions, orders, level, breakers; of values only how many.").action(
      (bot: string, options: Options) => show(bot, options, io),
    );
    sub(
      cmd,
      "doctor",
      "Tells whether it is whole, and what there is to recover it from; exits 1 when a person should look.",
    ).action((bot: string, options: Options) => doctor(bot, options, io));
    sub(cmd, "salvage", "Makes a new state from everything that can be proven; the old one is not changed.")
      .requiredOption("--to <folder>", "into this empty folder")
      .addOption(
        new Option("--backup <file>", "also from this copy of its database; may be repeated")
          .argParser(collect)
          .default([], "none"),
      )
      .action((bot: string, options: SalvageOptions) => salvage(bot, options, io));
    sub(cmd, "level", "Sets the level that a stopped bot begins with, also out of an emergency.")
      .addArgument(new Argument("<level>", "what it may do then").choices(LEVELS))
      .requiredOption("--reason <text>", "why; the bot shows it")
      .action((bot: string, level: Level, options: LevelOptions) => setLevel(bot, level, options, io));
    sub(
      cmd,
      "rekey",
      "Encrypts a stopped bot's secret values with the first key of its key file; then the older keys may go.",
    )
      .option("--key-file <file>", "keys, one a line, the new one first; default: state-key in $CREDENTIALS_DIRECTORY")
      .action((bot: string, options: RekeyOptions) => rekey(bot, options, io));
  },
};

function sub(cmd: Command, name: string, what: string): Command {
  return withConfig(cmd.command(name))
    .description(what)
    .argument("<bot>", "name of the bot in the config, or the folder of a state (with a slash)")
    .option("--json", "one JSON object");
}

function collect(file: string, before: readonly string[]): readonly string[] {
  if (file === "") throw new InvalidArgumentError("a file has a name");
  return [...before, file];
}

async function folderOf(bot: string, options: Options, io: CliIo): Promise<string> {
  if (bot.includes("/")) return readable(resolve(io.cwd, bot));
  const place = await findPlace(options, io);
  await refuseUnknownBot(bot, place, options, io);
  return readable(filesOf(bot, bot, place.dirs).state);
}

/** A folder that this user may not look into would pass for one without a state. */
function readable(folder: string): string {
  return readingFiles("the state", folder, () => {
    try {
      accessSync(folder, constants.R_OK | constants.X_OK);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
    return folder;
  });
}

async function show(bot: string, options: Options, io: CliIo): Promise<void> {
  const answer = await ask({ what: "show", folder: await folderOf(bot, options, io) });
  if (answer.what !== "show") return;
  const { view } = answer;
  if (options.json === true) return io.out(plainJson(view));
  const { level, needsReconcile, damagedRows, positions, orders, breakers, rows } = view;
  io.out(`level ${level?.level ?? "normal"}${level?.reason ? `: ${plainText(level.reason)}` : ""}`);
  if (needsReconcile !== null) io.out(`to be reconciled since ${plainText(needsReconcile)}`);
  if (damagedRows > 0)
    io.out(
      completeCommands(
        plainText(`damaged: ${counted(damagedRows, "row")}; see: supervisor state doctor ${bot}`),
        options.config,
      ),
    );
  for (const { id, symbol, side, quantity, stopLoss, status } of positions)
    io.out(plainText(`position ${id}  ${side} ${quantity} ${symbol}  stop ${stopLoss ?? "-"}  ${status}`));
  for (const { id, symbol, side, quantity, status, createdAt } of orders)
    io.out(
      plainText(`order ${id}  ${side} ${quantity} ${symbol}  ${status}  since ${new Date(createdAt).toISOString()}`),
    );
  for (const { name, state } of breakers) io.out(plainText(`breaker ${name}  ${state}`));
  return io.out(`${rows["trades"] ?? 0} trades, ${rows["daily"] ?? 0} days, ${rows["kv"] ?? 0} values`);
}

async function doctor(bot: string, options: Options, io: CliIo): Promise<void> {
  const folder = await folderOf(bot, options, io);
  const answer = await ask({ what: "doctor", folder });
  if (answer.what !== "doctor") return;
  const { examination } = answer;
  const { condition, findings, needsReconcile, secondCopy, backup, quarantines, removedQuarantines } = examination;
  const flawed = backup !== null && backup.flaws.length > 0;
  if (condition !== "whole" || needsReconcile !== null || flawed || secondCopy.torn > 1) io.setExitCode(EXIT.failed);
  if (options.json === true) return io.out(plainJson({ folder, ...examination }));
  const conditions = { fresh: "there is no state", whole: "the state is whole", damaged: "the state is damaged" };
  io.out(`${conditions[condition]}: ${folder}`);
  if (condition === "fresh") io.out("a bot keeps one with the SDK: docs/state.md");
  for (const finding of findings) io.out(plainText(`  ${finding}`));
  if (needsReconcile !== null) io.out(plainText(`it is to be reconciled since ${needsReconcile}`));
  io.out(
    `second copy: ${counted(secondCopy.rows, "row")}${secondCopy.torn > 0 ? `, ${counted(secondCopy.torn, "damaged line")}` : ""}`,
  );
  if (backup === null) io.out("backup: none");
  else io.out(plainText(`backup: of ${backup.madeAt}, ${flawed ? backup.flaws.join("; ") : "whole"}`));
  for (const { folder: aside, recovered, bytes } of quarantines)
    io.out(`moved aside: ${aside}, ${formatSize(bytes)}${recovered ? "" : ", not recovered from yet"}`);
  if (removedQuarantines > 0) io.out(`moved aside and removed after 90 days: ${removedQuarantines}`);
  if (condition === "damaged")
    io.out(
      completeCommands(
        plainText(
          `the bot recovers it at its next start; to try it first: supervisor state salvage ${bot} --to FOLDER`,
        ),
        options.config,
      ),
    );
}

async function salvage(bot: string, options: SalvageOptions, io: CliIo): Promise<void> {
  const folder = await folderOf(bot, options, io);
  const backups = options.backup.map((file) => resolve(io.cwd, file));
  const answer = await ask({ what: "salvage", folder, to: resolve(io.cwd, options.to), backups });
  if (answer.what !== "salvage") return;
  const { salvage: done } = answer;
  if (options.json === true) return io.out(plainJson(done));
  for (const note of done.notes) io.out(plainText(note));
  for (const [from, count] of Object.entries(done.taken)) io.out(plainText(`${counted(count, "row")} from ${from}`));
  if (done.gaps > 0) io.out(`the chain of trades has ${counted(done.gaps, "gap")}: trades are missing`);
  const { positions = 0, orders = 0, trades = 0, kv = 0 } = done.rows;
  io.out(
    `${done.folder} holds ${counted(positions, "position")}, ${counted(orders, "order")}, ${counted(trades, "trade")}, ${counted(kv, "value")}; reconcile before anything is opened`,
  );
}

async function setLevel(bot: string, level: Level, options: LevelOptions, io: CliIo): Promise<void> {
  const folder = await folderOf(bot, options, io);
  const { reason } = options;
  await ask({ what: "level", folder, level, reason });
  io.out(
    options.json === true
      ? plainJson({ folder, level, reason })
      : `${bot} begins its next start at ${level}, or at what the supervisor demands`,
  );
}

async function rekey(bot: string, options: RekeyOptions, io: CliIo): Promise<void> {
  const credentials = io.env["CREDENTIALS_DIRECTORY"];
  const keyFile = options.keyFile === undefined ? undefined : resolve(io.cwd, options.keyFile);
  const folder = await folderOf(bot, options, io);
  const answer = await ask({ what: "rekey", folder, keyFile, credentials });
  if (answer.what !== "rekey") return;
  const { renewed, keys } = answer.rekeyed;
  if (options.json === true) return io.out(plainJson({ folder, renewed, keys }));
  io.out(`${renewed} values are encrypted anew, and a backup of them is made`);
  if (keys > 1) io.out("the state needs only the first of the keys now: the others may be removed from the file");
}

/** In a process of its own: SQLite is heavy, and unpacks itself into a temporary folder that nobody else may reach. */
async function ask(job: StateJob): Promise<StateAnswer> {
  const folder = mkdtempSync(join(tmpdir(), "supervisor-state-"));
  const lines: string[] = [];
  try {
    const worker = startWorker({
      args: ["__state"],
      job: `${JSON.stringify(job)}\n`,
      deadlineMs: DEADLINE_MS,
      onLine: (line) => lines.push(line),
      env: { TMPDIR: folder },
    });
    const { code, signal } = await worker.done;
    const [line] = lines;
    if (line === undefined)
      throw new StateError(`cannot look at the state in ${job.folder}: the worker ended with ${signal ?? code}`);
    const answer = stateAnswerSchema.parse(JSON.parse(line));
    if (answer.what === "failed") throw new StateError(answer.error);
    return answer;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
