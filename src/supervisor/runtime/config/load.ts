/** Reads the config: file, references, schema, defaults, absolute paths; every mistake of the file in one error. */
import { dirname, resolve } from "node:path";
import type * as z from "zod";
import { formatDuration } from "../../../core/duration.ts";
import { isVital } from "../../../core/excuse.ts";
import { isLoopback, parseListen } from "../../../core/listen.ts";
import { onFailureOf, probeName, type ProbeConfig } from "../../../probes/index.ts";
import { isUpstream } from "../../../probes/upstream.ts";
import { valueAt } from "./fields.ts";
import type { BackupsInput, StoreConfig, TargetConfig } from "./backup-schema.ts";
import { configError, formatPath, type ConfigIssue, type Path } from "./issues.ts";
import { describeSchemaIssue } from "./messages.ts";
import { socketPathError, type Dirs } from "./paths.ts";
import { dirsOf, readSource, sourceIssues, type ReadOptions } from "./read.ts";
import { listenersError, outputErrors, targetBotErrors } from "./rules.ts";
import { configSchema, type BotInput, type ConfigInput, type EmergencyConfig, type ListenerConfig } from "./schema.ts";
import type { ConfigSource } from "./source.ts";
import type { Environment } from "./substitute.ts";
import { logFileError, withVariables } from "./variables.ts";

export type { Dirs } from "./paths.ts";
export type { EmergencyConfig, ListenerConfig } from "./schema.ts";

/** A probe with the defaults that depend on its other fields. */
export type BotProbe = ProbeConfig & {
  readonly name: string;
  readonly onFailure: NonNullable<ProbeConfig["onFailure"]>;
};

/** One bot with every default filled in; paths are absolute, durations in ms, sizes in bytes, CPU in percent of a core. */
export type BotConfig = Omit<BotInput, "account" | "cwd" | "probes"> & {
  readonly name: string;
  readonly account: string;
  readonly cwd: string;
  readonly probes: readonly BotProbe[];
};

/** The whole config with every default filled in, in the units of `BotConfig`. */
export type Config = Omit<ConfigInput, "bots" | "emergencyFile" | keyof Dirs> &
  Dirs & {
    readonly emergencyFile: string;
    readonly bots: Readonly<Record<string, BotConfig>>;
  };

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
  const source = { ...written, root };
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
  const listenError = listenersError(source.root);
  if (listenError !== undefined) issues.push(issueAt(["metrics", "listen"], listenError));
  for (const { path, message } of outputErrors(source.root)) issues.push(issueAt(path, message, "key"));
  for (const { path, message } of targetBotErrors(source.root)) issues.push(issueAt(path, message));
  // Not a rule of the schema: there, a bot with a wrong name is no bot.
  if (botNames(source.root)?.length === 0) issues.push(issueAt(["bots"], "there is no bot; add one"));
  const parsed = configSchema.safeParse(source.root);
  if (!parsed.success) issues.push(...schemaIssues(parsed.error, source, issueAt));
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

/** One line for people, in the form of an error but marked. */
export function formatWarning({ file, line, path, message }: ConfigIssue): string {
  return `${file}:${line}: warning: ${path}: ${message}`;
}

/** The names of the bots in a file that may be wrong elsewhere; `undefined` when it has no map of bots. */
function botNames(root: unknown): string[] | undefined {
  const bots = valueAt(root, ["bots"]);
  return typeof bots === "object" && bots !== null && !Array.isArray(bots) ? Object.keys(bots) : undefined;
}

function schemaIssues(
  error: z.ZodError,
  source: ConfigSource,
  issueAt: (path: Path, message: string, side: "key" | "value") => ConfigIssue,
): ConfigIssue[] {
  return error.issues
    .flatMap((issue) => describeSchemaIssue(issue, source))
    .filter(({ path }) => !source.isUnresolved(path))
    .map(({ path, side, message }) => issueAt(path, message, side));
}

/** Fills the defaults that depend on other fields, and makes every path absolute. */
function complete(input: ConfigInput, dirs: Dirs, file: string): Config {
  const folder = dirname(file);
  const bots = Object.entries(input.bots).map(([name, bot]) => [name, completeBot(name, bot, folder)] as const);
  return {
    ...input,
    ...dirs,
    ...(input.http === undefined ? {} : { http: completeListener(input.http, folder) }),
    ...(input.metrics === undefined ? {} : { metrics: completeListener(input.metrics, folder) }),
    ...absolute(input, ["logFile"], folder),
    emergencyFile: resolve(folder, input.emergencyFile ?? resolve(dirs.runtimeDir, "emergency")),
    bots: Object.fromEntries(bots),
    ...(input.backups === undefined ? {} : { backups: completeBackups(input.backups, folder) }),
  };
}

function completeBackups(backups: BackupsInput, folder: string): BackupsInput {
  const { stores, targets, encryption } = backups;
  return {
    ...backups,
    ...absolute(backups, ["scratch"], folder),
    stores: mapValues(stores, (store) => completeStore(store, folder)),
    targets: mapValues(targets, (target) => completeTarget(target, folder)),
    ...(encryption === undefined
      ? {}
      : { encryption: { ...encryption, ...absolute(encryption, ["identityFile"], folder) } }),
  };
}

function completeStore(store: StoreConfig, folder: string): StoreConfig {
  return store.kind === "directory"
    ? { ...store, path: resolve(folder, store.path) }
    : { ...store, ...absolute(store, ["accessKeyIdFile", "secretAccessKeyFile"], folder) };
}

function completeTarget(target: TargetConfig, folder: string): TargetConfig {
  switch (target.kind) {
    case "sqlite":
      return { ...target, path: resolve(folder, target.path) };
    case "redis":
      return { ...target, ...absolute(target, ["passwordFile", "folder"], folder) };
    case "postgres":
      return { ...target, ...absolute(target, ["passwordFile"], folder) };
    case "files":
    case "secrets":
      return { ...target, paths: target.paths.map((path) => resolve(folder, path)) };
  }
}

function mapValues<Value>(
  record: Readonly<Record<string, Value>>,
  map: (value: Value) => Value,
): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}

function completeBot(name: string, bot: BotInput, folder: string): BotConfig {
  return {
    ...bot,
    name,
    account: bot.account ?? name,
    cwd: resolve(folder, bot.cwd ?? "."),
    ...absolute(bot, ["envFile"], folder),
    probes: bot.probes.map((probe) => completeProbe(probe, folder)),
    ...(bot.emergency === undefined ? {} : { emergency: completeEmergency(bot.emergency, folder) }),
  };
}

function completeProbe(probe: ProbeConfig, folder: string): BotProbe {
  const defaults = { name: probeName(probe), onFailure: onFailureOf(probe) };
  switch (probe.kind) {
    case "file":
      return { ...probe, ...defaults, path: resolve(folder, probe.path) };
    case "http":
      return { ...probe, ...defaults, ...absolute(probe, ["unixSocket"], folder) };
    case "process":
    case "heartbeat":
    case "progress":
    case "tcp":
    case "exec":
    case "resources":
      return { ...probe, ...defaults };
  }
}

function completeListener({ listen, auth }: ListenerConfig, folder: string): ListenerConfig {
  if (auth === undefined) return { listen };
  return { listen, auth: { ...auth, passwordFile: resolve(folder, auth.passwordFile) } };
}

function completeEmergency(emergency: EmergencyConfig, folder: string): EmergencyConfig {
  const keys = ["apiKeyFile", "apiSecretFile", "passphraseFile"] as const;
  const { testnet } = emergency;
  return {
    ...emergency,
    ...absolute(emergency, [...keys, "secretFile"], folder),
    ...(testnet === undefined ? {} : { testnet: { ...testnet, ...absolute(testnet, keys, folder) } }),
  };
}

/** Those of `keys` that `section` has, as absolute paths. */
function absolute<K extends string>(
  section: Readonly<Partial<Record<K, string | undefined>>>,
  keys: readonly K[],
  folder: string,
): Partial<Record<K, string>> {
  const found: Partial<Record<K, string>> = {};
  for (const key of keys) {
    const path = section[key];
    if (path !== undefined) found[key] = resolve(folder, path);
  }
  return found;
}

function warningsOf(config: Config): { path: Path; message: string }[] {
  const warnings: { path: Path; message: string }[] = [];
  for (const section of ["http", "metrics"] as const) {
    const address = parseListen(config[section]?.listen ?? "");
    if (address !== undefined && !isLoopback(address))
      warnings.push({
        path: [section, "listen"],
        message: "the password travels unencrypted; listen on 127.0.0.1 behind a proxy that speaks TLS",
      });
  }
  for (const { name, emergency, ready, startTimeout, probes } of Object.values(config.bots)) {
    for (const [index, probe] of probes.entries())
      if (isUpstream(probe) && isVital(probe))
        warnings.push({
          path: ["bots", name, "probes", index],
          message: `${probe.name} does not ask the bot, so its failure never restarts it; make it role: readiness with onFailure alert or degrade, or write upstream: false if it does`,
        });
    if (emergency === undefined) continue;
    const path = ["bots", name, "emergency"];
    if (ready !== "started" && emergency.closeAfter <= startTimeout)
      warnings.push({
        path: [...path, "closeAfter"],
        message: `${formatDuration(emergency.closeAfter)} is not longer than startTimeout ${formatDuration(startTimeout)}; one slow start closes the positions`,
      });
    if (emergency.url !== undefined && sendsInClear(emergency.url))
      warnings.push({
        path: [...path, "url"],
        message: "positions and orders travel unencrypted over http; use https",
      });
    if (emergency.endpoint !== undefined && sendsInClear(emergency.endpoint))
      warnings.push({ path: [...path, "endpoint"], message: "the API key travels unencrypted over http; use https" });
  }
  return warnings;
}

function sendsInClear(endpoint: string): boolean {
  const { protocol, hostname } = new URL(endpoint);
  return protocol === "http:" && !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
}
