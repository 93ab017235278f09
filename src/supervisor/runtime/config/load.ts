/** Reads the config: file, references, schema, defaults, absolute paths; every mistake of the file in one error. */
import type * as z from "zod";
import { complete, warningsOf, type Config } from "./complete.ts";
import { valueAt } from "./value-at.ts";
import { configError, formatPath, formatWarning, type ConfigIssue, type Path } from "./issues.ts";
import { describeSchemaIssue } from "./messages.ts";
import { dirsOf, socketPathError, type Dirs } from "./paths.ts";
import { readSource, sourceIssues, type ReadOptions } from "./read.ts";
import { targetBotErrors } from "./backup-rules.ts";
import { respell } from "./respell.ts";
import { listenersError, outputErrors } from "./rules.ts";
import { configSchema } from "./schema.ts";
import { withShortTimeouts } from "./short-timeouts.ts";
import type { ConfigSource } from "./source.ts";
import type { Environment } from "./substitute.ts";
import { emergencyFileError, logFileError, withVariables } from "./variables.ts";

export type { BotConfig, BotProbe, Config } from "./complete.ts";
export type { Dirs } from "./paths.ts";
export type { EmergencyConfig, ListenerConfig } from "./schema.ts";

export interface LoadedConfig {
  readonly config: Config;
  /** Absolute path of the config file. */
  readonly file: string;
  /** The path of the config file as messages show it. */
  readonly shown: string;
  readonly dirs: Dirs;
  /** Environment that the config was read with. */
  readonly env: Environment;
  /** What is allowed and probably not meant, one line each, in the form of the errors. */
  readonly warnings: readonly string[];
  /** An issue of this file at `path`, with its line. */
  readonly issueAt: (path: Path, message: string) => ConfigIssue;
}

/**
 * The config of `file`, or of the place the contract names when it is `undefined`; relative to `cwd`.
 * Throws `ConfigError` (exit code 2) with all mistakes. Looks at no other file: see `checkEnvironment`.
 */
export function loadConfig(options: ReadOptions): LoadedConfig {
  const { env } = options;
  const { located, source: written } = readSource(options);
  const { root, wordsOf } = withVariables(written.root, env);
  const source = { ...written, root: withShortTimeouts(root) };
  const issueAt = (path: Path, message: string, side: "key" | "value" = "value"): ConfigIssue => ({
    file: located.shown,
    ...source.positionOf(path, side),
    path: formatPath(path),
    message: `${message}${wordsOf(path)}`,
  });
  const issues = sourceIssues(located, source);
  const dirs = dirsOf(source.root, located.file, env);
  const socketError = socketPathError(dirs.runtimeDir, botNames(source.root) ?? []);
  if (socketError !== undefined) issues.push(issueAt(["runtimeDir"], socketError));
  const logError = logFileError(source.root, dirs, located.file, botNames(source.root) ?? []);
  if (logError !== undefined) issues.push(issueAt(["logFile"], logError));
  const fileError = emergencyFileError(source.root, dirs, located.file, botNames(source.root) ?? []);
  if (fileError !== undefined) issues.push(issueAt(["emergencyFile"], fileError));
  const listenError = listenersError(source.root);
  if (listenError !== undefined) issues.push(issueAt(["metrics", "listen"], listenError));
  for (const { path, message } of outputErrors(source.root)) issues.push(issueAt(path, message, "key"));
  for (const { path, message } of targetBotErrors(source.root)) issues.push(issueAt(path, message));
  // Not a rule of the schema: there, a bot with a wrong name is no bot.
  if (botNames(source.root)?.length === 0) issues.push(issueAt(["bots"], "there is no bot; add one"));
  const parsed = configSchema.safeParse(source.root);
  if (!parsed.success)
    issues.push(...schemaIssues(parsed.error, source, issueAt), ...issuesInside(parsed.error, source, issueAt));
  if (!parsed.success || issues.length > 0) throw configError(located.shown, issues);

  const config = complete(parsed.data, dirs, located.file);
  return {
    config,
    file: located.file,
    shown: located.shown,
    dirs,
    env,
    warnings: warningsOf(config).map(({ path, message }) => formatWarning(issueAt(path, message))),
    issueAt,
  };
}

/** The names of the bots in a file that may be wrong elsewhere; `undefined` when it has no map of bots. */
function botNames(root: unknown): string[] | undefined {
  const bots = valueAt(root, ["bots"]);
  return typeof bots === "object" && bots !== null && !Array.isArray(bots) ? Object.keys(bots) : undefined;
}

type IssueAt = (path: Path, message: string, side: "key" | "value") => ConfigIssue;

/** Looks that are taken at sections with wrong names in sections with wrong names. */
const MAX_LOOKS = 4;

/** What is wrong in sections whose names are wrong, as far as it can be guessed what they were to be. */
function issuesInside(error: z.ZodError, source: ConfigSource, issueAt: IssueAt, looks = MAX_LOOKS): ConfigIssue[] {
  const respelling = looks === 0 ? undefined : respell(source.root, error);
  if (respelling === undefined) return [];
  const { root, written, isInside, named } = respelling;
  const parsed = configSchema.safeParse(root);
  if (parsed.success) return [];
  const inner: ConfigSource = {
    ...source,
    root,
    positionOf: (path, side) => source.positionOf(written(path), side),
    templateOf: (path) => source.templateOf(written(path)),
    isUnresolved: (path) => source.isUnresolved(written(path)),
  };
  const at: IssueAt = (path, message, side) => issueAt(written(path), named(message), side);
  const found = schemaIssues(parsed.error, inner, at, isInside);
  return [...found, ...issuesInside(parsed.error, inner, at, looks - 1)];
}

/** `counts`: of which paths. */
function schemaIssues(
  error: z.ZodError,
  source: ConfigSource,
  issueAt: IssueAt,
  counts: (path: Path) => boolean = () => true,
): ConfigIssue[] {
  return error.issues
    .flatMap((issue) => describeSchemaIssue(issue, source))
    .filter(({ path }) => counts(path) && !source.isUnresolved(path))
    .map(({ path, side, message }) => issueAt(path, message, side));
}
