/** Reads a config that is plainly right, without the schema and the YAML parser; for the start of the daemon. */
import { readTextIfExists } from "../../../platform/files.ts";
import { targetBotErrors } from "./backup-rules.ts";
import { complete, warningsOf } from "./complete.ts";
import type { LoadedConfig } from "./load.ts";
import { locateConfig } from "./locate.ts";
import { isMap } from "./outline.ts";
import { dirsOf, socketPathError } from "./paths.ts";
import { parsePlain } from "./plain-yaml.ts";
import { PLAIN_TABLE } from "./plain-table.ts";
import { plainValue } from "./plain.ts";
import type { ReadOptions } from "./read.ts";
import { listenersError, outputErrors } from "./rules.ts";
import type { ConfigInput } from "./schema.ts";
import { withShortTimeouts } from "./short-timeouts.ts";
import { emergencyFileError, logFileError, withVariables } from "./variables.ts";

/** Largest config read here, bytes; a larger one is for the loader to judge. */
const MAX_CONFIG_BYTES = 1_048_576;

/** Something is to be said about a place in the file, and where that stands only the loader knows. */
export class PlaceWantedError extends Error {}

/** What `loadConfig` would return, or `undefined` where it must be asked. Throws `ConfigError` when there is no config at all. */
export function loadPlain({ file, env, cwd = process.cwd() }: ReadOptions): LoadedConfig | undefined {
  const located = locateConfig({ file, env, cwd });
  const text = textOf(located.file);
  const written = text === undefined ? undefined : parsePlain(text);
  const { root } = withVariables(written, env);
  if (!isMap(root) || !("bots" in root) || !isMap(root.bots)) return undefined;
  const names = Object.keys(root.bots);
  const dirs = dirsOf(root, located.file, env);
  const wrong =
    names.length === 0 ||
    socketPathError(dirs.runtimeDir, names) !== undefined ||
    logFileError(root, dirs, located.file, names) !== undefined ||
    emergencyFileError(root, dirs, located.file, names) !== undefined ||
    listenersError(root) !== undefined ||
    outputErrors(root).length > 0 ||
    targetBotErrors(root).length > 0;
  const made = wrong ? undefined : plainValue(PLAIN_TABLE, withShortTimeouts(root));
  if (made === undefined) return undefined;
  // Safe: the table is printed from the schema of this type, and a test holds its values to those of the schema.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const config = complete(made.value as ConfigInput, dirs, located.file);
  if (warningsOf(config).length > 0) return undefined;
  return { config, file: located.file, shown: located.shown, dirs, env, warnings: [], issueAt };
}

function issueAt(): never {
  throw new PlaceWantedError("internal error: a config that was read without places has no place to tell");
}

function textOf(file: string): string | undefined {
  try {
    return readTextIfExists(file, MAX_CONFIG_BYTES);
  } catch {
    // The loader says why.
    return undefined;
  }
}
