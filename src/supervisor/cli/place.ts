/** Finds the folders of an installation for a command, as cheaply as the config allows: most need no parse. */
import type { Command } from "commander";
import { EXIT } from "../../core/exit-code.ts";
import { quickIo } from "../../platform/quick-io.ts";
import { edgeDirs } from "../runtime/config/edge-dirs.ts";
import { locateConfig } from "../runtime/config/locate.ts";
import { resolveDirs, type Dirs } from "../runtime/config/paths.ts";
import type { CliIo } from "./verb.ts";

/** Largest config read here, bytes; a larger one is left to the loader, as all that is not plain. */
const MAX_CONFIG_BYTES = 1_048_576;

export interface PlaceOptions {
  readonly config?: string;
}

export interface Place {
  readonly file: string;
  readonly dirs: Dirs;
}

/** Adds the option that every verb with a config has. */
export function withConfig(command: Command): Command {
  return command.option(
    "-c, --config <file>",
    "config file (default: $SUPERVISOR_CONFIG, ./supervisor.yaml, /etc/tradingbot/supervisor.yaml)",
  );
}

/** The folders that the config names. Throws `ConfigError` when there is no config or it names them unreadably. */
export async function findPlace(options: PlaceOptions, io: CliIo): Promise<Place> {
  const located = locateConfig({ file: options.config, env: io.env, cwd: io.cwd });
  const text = quickIo()?.readText(located.file, MAX_CONFIG_BYTES);
  if (text !== undefined) {
    // A config that names none of the folders has the default ones; only one that does must be read, and seldom parsed.
    const named = /stateDir|runtimeDir|logDir|\\/.test(text) ? edgeDirs(text) : {};
    if (named !== undefined) return { file: located.file, dirs: resolveDirs(named, located.file, io.env) };
    const { plainDirs } = await import("../runtime/config/plain-dirs.ts");
    const dirs = plainDirs(text, located.file, io.env);
    if (dirs !== undefined) return { file: located.file, dirs };
  }
  const { loadDirs } = await import("../runtime/config/read.ts");
  return loadDirs({ file: options.config, env: io.env, cwd: io.cwd });
}

/** A file of the installation that this user may not read. */
export class ForbiddenFileError extends Error {
  readonly exitCode = EXIT.failed;
  readonly hint =
    "run the command as the daemon's user or as root; control.group opens the control socket, not the files";
}

/** Does the reading; a refusal of the kernel is told with the file and what to do. */
export function readingFiles<T>(what: string, path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EACCES" && code !== "EPERM") throw error;
    const file = error instanceof Error && "path" in error && typeof error.path === "string" ? error.path : path;
    throw new ForbiddenFileError(`cannot read ${what}: permission denied: ${file}`, { cause: error });
  }
}
