/** Finds the verb, parses its options, runs it, and maps every end to an exit code of the contract. */
import { EXIT } from "../../core/exit-code.ts";
import { VERSION } from "./build-info.ts";
import { Output } from "./output.ts";
import { plainWords } from "./plain-words.ts";
import { completeCommands, configNamedIn } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";
import { verbs, type VerbEntry } from "./verbs.ts";

/** Runs one command line; resolves to the exit code. Errors are told on standard error, never thrown. */
export async function runCli(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.done;
  const output = new Output();
  const io = processIo(output, configNamedIn(argv), (code) => {
    exitCode = code;
  });
  // As git has it: help COMMAND is COMMAND --help.
  const [name, ...rest] = argv[0] === "help" && argv.length > 1 ? [...argv.slice(1), "--help"] : argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    io.out(overview());
    return name === undefined ? EXIT.usage : EXIT.done;
  }
  if (name === "--version" || name === "-V") {
    io.out(VERSION);
    return EXIT.done;
  }
  const entry = verbs.find((verb) => verb.name === name);
  if (entry === undefined) {
    const names = shown().map((verb) => verb.name);
    const { guessText } = await import("../../core/nearest.ts");
    const why = name.startsWith("-") ? "options stand after the command" : `no such command${guessText(name, names)}`;
    io.err(`cannot run "${name}": ${why}`);
    io.err(`hint: the commands are ${names.join(", ")}; see: supervisor --help`);
    return EXIT.usage;
  }
  return (await runVerb(entry, rest, io, output)) ?? exitCode;
}

/** The exit code of a failure, or `undefined` when the verb ended by itself and set its own. */
async function runVerb(
  entry: VerbEntry,
  rest: readonly string[],
  io: CliIo,
  output: Output,
): Promise<number | undefined> {
  const { command: verb } = await entry.load();
  output.endsWithReader = verb.acts !== true && verb.hidden !== true;
  if (verb.neverWaits === true) await output.neverWait();
  try {
    const plain = plainWords(rest);
    const done = plain === undefined ? undefined : verb.runPlain?.(plain, io);
    if (done === undefined) return await runParsed(verb, rest, io);
    await done;
    return undefined;
  } catch (error) {
    const code = explain(error, io);
    // What nobody reads must not keep alive what has failed.
    if (output.isPatient) process.exit(code);
    return code;
  }
}

/** With commander, which knows every option, and says what is wrong with a command line. */
async function runParsed(verb: Verb, rest: readonly string[], io: CliIo): Promise<number | undefined> {
  const { Command, CommanderError } = await import("commander");
  const command = new Command(`supervisor ${verb.name}`)
    .description(verb.summary)
    .showHelpAfterError("(see --help)")
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.err(text.trimEnd()) });
  verb.configure(command, io);
  for (const sub of command.commands) sub.copyInheritedSettings(command);
  try {
    await command.parseAsync(rest, { from: "user" });
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    return explain(error, io);
  }
}

function explain(error: unknown, io: CliIo): number {
  const { message, hint, exitCode } = describe(error);
  io.err(message);
  if (hint !== undefined) io.err(`hint: ${hint}`);
  return exitCode;
}

function describe(error: unknown): { message: string; hint?: string; exitCode: number } {
  if (!(error instanceof Error)) return { message: `internal error: ${String(error)}`, exitCode: EXIT.failed };
  const exitCode = "exitCode" in error && typeof error.exitCode === "number" ? error.exitCode : EXIT.failed;
  const hint = "hint" in error && typeof error.hint === "string" ? { hint: error.hint } : {};
  return { message: error.message, ...hint, exitCode };
}

const shown = (): readonly VerbEntry[] => verbs.filter((verb) => verb.hidden !== true);

function overview(): string {
  const width = Math.max(...shown().map((verb) => verb.name.length));
  return [
    "supervisor keeps a trading bot alive and, when it cannot, makes its account safe.",
    "",
    "usage: supervisor COMMAND [OPTIONS]",
    "",
    ...shown().map((verb) => `  ${verb.name.padEnd(width)}  ${verb.summary}`),
    "",
    "supervisor COMMAND --help tells more. Exit codes: 0 done, 1 failed or degraded, 2 usage or config,",
    "3 the daemon is not running, 4 a bot is in emergency, locked, stuck or halted.",
  ].join("\n");
}

/** `file`: the config file that the command line names; a hint, whoever gives it, proposes commands for that one. */
function processIo(output: Output, file: string | undefined, setExitCode: (code: number) => void): CliIo {
  return {
    out: (text) => output.out(text),
    err: (text) => output.err(text.startsWith("hint: ") ? completeCommands(text, file) : text),
    env: process.env,
    cwd: process.cwd(),
    get isTerminal() {
      return output.isTerminal;
    },
    get columns() {
      return output.columns;
    },
    get colour() {
      return mayColour(process.env, output.isTerminal);
    },
    setExitCode,
  };
}

/** The rules of no-color.org and of Node's own FORCE_COLOR. */
function mayColour(env: CliIo["env"], isTerminal: boolean): boolean {
  const forced = env["FORCE_COLOR"];
  if (forced !== undefined) return forced !== "0";
  return isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}
