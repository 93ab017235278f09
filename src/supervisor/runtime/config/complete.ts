/** What the defaults of a config leave open until its folders and other fields are known; and what is allowed and probably not meant. */
import { resolve, dirname } from "node:path";
import { formatDuration } from "../../../core/duration.ts";
import { isVital } from "../../../core/excuse.ts";
import { isLoopback, parseListen } from "../../../core/listen.ts";
import { onFailureOf, probeName, type ProbeConfig } from "../../../probes/index.ts";
import { isUpstream } from "../../../probes/upstream.ts";
import type { BackupsInput, StoreConfig, TargetConfig } from "./backup-schema.ts";
import type { Path } from "./issues.ts";
import type { Dirs } from "./paths.ts";
import type { BotInput, ConfigInput, EmergencyConfig, ListenerConfig } from "./schema.ts";

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

/** Fills the defaults that depend on other fields, and makes every path absolute. */
export function complete(input: ConfigInput, dirs: Dirs, file: string): Config {
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
    : { ...store, ...absolute(store, ["accessKeyIdFile", "secretAccessKeyFile", "caFile"], folder) };
}

function completeTarget(target: TargetConfig, folder: string): TargetConfig {
  switch (target.kind) {
    case "sqlite":
      return { ...target, path: resolve(folder, target.path) };
    case "redis":
      return { ...target, ...absolute(target, ["passwordFile", "folder"], folder) };
    case "postgres":
      return {
        ...target,
        ...absolute(target, ["passwordFile"], folder),
        ...(target.pgbackrest && {
          pgbackrest: { ...target.pgbackrest, ...absolute(target.pgbackrest, ["config"], folder) },
        }),
      };
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
  const { testnet, hook } = emergency;
  return {
    ...emergency,
    ...absolute(emergency, [...keys, "secretFile"], folder),
    ...(hook === undefined ? {} : { hook: { ...hook, ...absolute(hook, ["secretFile"], folder) } }),
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

/** Each with the place that it speaks of. */
export function warningsOf(config: Config): { path: Path; message: string }[] {
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
    if (emergency.hook?.url !== undefined && sendsInClear(emergency.hook.url))
      warnings.push({
        path: [...path, "hook", "url"],
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
