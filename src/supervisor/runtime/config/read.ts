/** Reads and parses the config file, and tells its folders; without the schema, so that `status` finds its socket fast. */
import { readTextIfExists } from "../../../platform/files.ts";
import { ConfigError, configError, formatPath, type ConfigIssue } from "./issues.ts";
import { locateConfig, type Located } from "./locate.ts";
import { dirsOf, type Dirs } from "./paths.ts";
import { parseSource, type ConfigSource } from "./source.ts";
import type { Environment } from "./substitute.ts";

/** Largest config file, bytes: a config for a hundred bots has a few kilobytes. */
const MAX_CONFIG_BYTES = 1_048_576;

export interface ReadOptions {
  /** The value of --config; `undefined`: the place that the contract names. */
  readonly file?: string | undefined;
  readonly env: Environment;
  /** Folder that `file` is relative to; default: the process's own. */
  readonly cwd?: string;
}

/** The parsed file; throws `ConfigError` when there is none, or when it is not YAML at all. */
export function readSource(options: ReadOptions): { located: Located; source: ConfigSource } {
  const { file, env, cwd = process.cwd() } = options;
  const located = locateConfig({ file, env, cwd });
  const source = parseSource(readConfig(located), env);
  if (source.root === undefined) throw configError(located.shown, sourceIssues(located, source));
  if (source.root === null)
    throw new ConfigError(
      `cannot use config ${located.shown}: it is empty; write one with "supervisor config init --force ${located.shown}"`,
    );
  return { located, source };
}

/**
 * The folders that the config names, for commands that only need the control socket. Throws `ConfigError` like
 * `readSource`; whatever else is wrong in the file is for `loadConfig` to say.
 */
export function loadDirs(options: ReadOptions): { readonly file: string; readonly shown: string; readonly dirs: Dirs } {
  const { located, source } = readSource(options);
  if (["stateDir", "runtimeDir", "logDir"].some((key) => source.isUnresolved([key])))
    throw configError(located.shown, sourceIssues(located, source));
  return { file: located.file, shown: located.shown, dirs: dirsOf(source.root, located.file, options.env) };
}

/** What is wrong with the text of the file, before any schema is asked. */
export function sourceIssues({ shown }: Located, source: ConfigSource): ConfigIssue[] {
  return source.issues.map((issue) => ({ ...issue, file: shown, path: formatPath(issue.path) }));
}

function readConfig({ file, shown, from }: Located): string {
  const origin = from === "$SUPERVISOR_CONFIG" ? " (from $SUPERVISOR_CONFIG)" : "";
  let text: string | undefined;
  try {
    text = readTextIfExists(file, MAX_CONFIG_BYTES);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`cannot use config ${shown}${origin}: ${why}`, [], { cause });
  }
  if (text === undefined)
    throw new ConfigError(
      `cannot use config ${shown}${origin}: there is no such file; write one with "supervisor config init ${shown}"`,
    );
  // Bytes that are not UTF-8 were read as U+FFFD; no config means that character.
  if (text.includes("\u{FFFD}"))
    throw new ConfigError(`cannot use config ${shown}: it is not UTF-8 text; save it as UTF-8`);
  return text;
}
