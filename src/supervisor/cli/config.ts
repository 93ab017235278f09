/** `supervisor config`: write, check and show the config, and print its JSON Schema. */
import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Option, type Command } from "commander";
import { EXIT } from "../../core/exit-code.ts";
import { shellWord } from "../../core/shell-word.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import { LOCAL_CONFIG } from "../runtime/config/locate.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface ReadOptions extends PlaceOptions {
  readonly json?: boolean;
  readonly online?: true;
}

export const command: Verb = {
  name: "config",
  summary: "Writes, checks, shows and compares the config, and prints its JSON Schema.",
  configure(parent: Command, io: CliIo): void {
    parent
      .command("init")
      .description("Writes a commented starter config.")
      .argument("[file]", "where to write it", LOCAL_CONFIG)
      .option("--force", "replace an existing file")
      .action((file: string, options: { force?: boolean }) => guard(io, () => init(io, file, options.force === true)));
    readsConfig(parent.command("check").description("Checks the config and what it names on this machine."))
      .option(
        "--online",
        "also ask the buckets and the PostgreSQL servers of backups, with the keys that the config names",
      )
      .action((_options: unknown, cmd: Command) => guard(io, () => check(io, cmd.optsWithGlobals<ReadOptions>())));
    readsConfig(parent.command("show").description("Prints the config in force, with every default filled in.")).action(
      (_options: unknown, cmd: Command) => guard(io, () => show(io, cmd.optsWithGlobals<ReadOptions>())),
    );
    readsConfig(
      parent
        .command("diff")
        .description("Shows what a reload would change in the running daemon, and changes nothing."),
    ).action(async (_options: unknown, cmd: Command) => {
      const { reload } = await import("./reload.ts");
      await reload({ ...cmd.optsWithGlobals<ReadOptions>(), dryRun: true }, io);
    });
    parent
      .command("schema")
      .description("Prints a JSON Schema: of the config, or of what status --json prints.")
      .addOption(new Option("--of <what>", "which schema").choices(["config", "status"]).default("config"))
      .action((options: { of: string }) => guard(io, () => schema(io, options.of)));
  },
};

function readsConfig(cmd: Command): Command {
  return withConfig(cmd).option("--json", "print one JSON object");
}

/** Runs `work`; an error that the user can act on becomes a message and an exit code. */
async function guard(io: CliIo, work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.err(error.message);
    io.setExitCode(error.exitCode);
  }
}

async function init(io: CliIo, name: string, force: boolean): Promise<void> {
  const { starterConfig } = await import("../runtime/config/starter.ts");
  const file = resolve(io.cwd, name);
  try {
    if (force) {
      const { writeFileAtomic } = await import("../../platform/files.ts");
      writeFileAtomic(file, starterConfig(), 0o644);
    } else writeNew(file, starterConfig());
  } catch (cause) {
    const exists = codeOf(cause) === "EEXIST";
    io.err(`cannot write ${name}: ${whyNotWritten(cause, dirname(file))}`);
    io.setExitCode(exists ? EXIT.usage : EXIT.failed);
    return;
  }
  io.out(
    `wrote ${name}; edit it, then run: supervisor config check${name === LOCAL_CONFIG ? "" : ` --config ${shellWord(name)}`}`,
  );
}

/** Why, and what to do; `folder` is that of the file. */
function whyNotWritten(cause: unknown, folder: string): string {
  switch (codeOf(cause)) {
    case "EEXIST":
      return "the file exists; name another, or replace it with --force";
    case "ENOENT":
    case "ENOTDIR":
      return `there is no folder ${folder}; create it (mkdir -p ${shellWord(folder)}), or name a file in another`;
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return `this user may not write in ${folder}; name a file in another folder, or run the command as who may`;
    case undefined:
    default:
      return cause instanceof Error ? cause.message.replace(/^cannot write [^:]*: /, "") : String(cause);
  }
}

/** The system's code, also of an error that wraps it. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return "code" in error && typeof error.code === "string" ? error.code : codeOf(error.cause);
}

/** Writes `text` to a file that must not exist yet: `wx` is O_EXCL, so a link or a race is refused by the kernel. */
function writeNew(file: string, text: string): void {
  const fd = openSync(file, "wx", 0o644);
  try {
    writeFileSync(fd, text);
  } catch (error) {
    // Half a file would be in the way of the next try.
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

async function check(io: CliIo, options: ReadOptions): Promise<void> {
  const { loadConfig } = await import("../runtime/config/load.ts");
  const { checkEnvironment } = await import("../runtime/config/environment.ts");
  const { recipientWarnings } = await import("../runtime/config/recipient-check.ts");
  const { hasLimits, limitWarnings } = await import("../runtime/limit-check.ts");
  const { seeCgroups } = await import("./seen-cgroups.ts");
  try {
    const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
    const limits = hasLimits(loaded) ? limitWarnings(loaded, await seeCgroups(loaded)) : [];
    const limitTexts = limits.map(({ text }) => text);
    const warnings = [...checkEnvironment(loaded), ...(await recipientWarnings(loaded)), ...limitTexts];
    const bots = Object.keys(loaded.config.bots);
    if (options.online === true) await online(loaded, io, options);
    for (const warning of warnings) io.err(warning);
    if (options.json === true)
      io.out(JSON.stringify({ file: loaded.file, ok: true, bots, errors: [], warnings }, null, 2));
    else io.out(`${loaded.shown}: ok (${bots.length} ${bots.length === 1 ? "bot" : "bots"})`);
  } catch (error) {
    if (!(error instanceof ConfigError) || options.json !== true) throw error;
    const file = error.issues[0]?.file ?? options.config ?? null;
    const errors = error.issues.length > 0 ? error.issues : [{ message: error.message }];
    io.out(JSON.stringify({ file, ok: false, bots: [], errors, warnings: [] }, null, 2));
    io.setExitCode(error.exitCode);
  }
}

async function online(loaded: LoadedConfig, io: CliIo, { json }: ReadOptions): Promise<void> {
  const { checkOnline } = await import("../runtime/online-check.ts");
  const { systemClock } = await import("../../platform/clock.ts");
  const found = await checkOnline(loaded, systemClock);
  if (json !== true) for (const text of found) io.out(text);
}

async function show(io: CliIo, options: ReadOptions): Promise<void> {
  const { loadConfig } = await import("../runtime/config/load.ts");
  const { describeConfig, effectiveConfig } = await import("../runtime/config/describe.ts");
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  for (const warning of loaded.warnings) io.err(warning);
  if (options.json === true) io.out(JSON.stringify(effectiveConfig(loaded.config), null, 2));
  else io.out(`# ${loaded.file}, every default filled in\n${describeConfig(loaded.config)}`);
}

async function schema(io: CliIo, of: string): Promise<void> {
  if (of === "status") {
    const { statusJsonSchema } = await import("../runtime/config/reference.ts");
    io.out(JSON.stringify(statusJsonSchema(), null, 2));
    return;
  }
  const { configJsonSchema } = await import("../runtime/config/reference.ts");
  io.out(JSON.stringify(configJsonSchema(), null, 2));
}
