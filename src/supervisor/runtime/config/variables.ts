/** Variables of the environment that stand in where the config says nothing: the contract's API_HOST, API_PORT and LOG_FILE, those of backups, and POSTGRES_*. */
import { join, dirname, resolve } from "node:path";
import { postgresUrlFrom } from "../../../core/postgres-url.ts";
import { valueAt } from "./value-at.ts";
import { formatPath, type Path } from "./issues.ts";
import type { Dirs } from "./paths.ts";
import type { Environment } from "./substitute.ts";

/** What the missing one of API_HOST and API_PORT is. */
const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = "8001";

export interface Completed {
  /** The parsed config with what the variables add to it; the input itself is left as it is. */
  readonly root: unknown;
  /** Names the variables that the value at `path` is from, for its errors; empty for what stands in the file. */
  readonly wordsOf: (path: Path) => string;
}

/** Completes a parsed config, which may be wrong elsewhere. An empty variable counts as none. */
export function withVariables(root: unknown, env: Environment): Completed {
  if (typeof root !== "object" || root === null || Array.isArray(root)) return { root, wordsOf: () => "" };
  const words = new Map<string, string>();
  const added: Record<string, unknown> = {};
  const logFile = env["LOG_FILE"] ?? "";
  if (logFile !== "" && valueAt(root, ["logFile"]) === undefined) {
    added["logFile"] = logFile;
    words.set("logFile", " (from $LOG_FILE)");
  }
  const http: unknown = valueAt(root, ["http"]) ?? {};
  const listen = listenFrom(env);
  if (listen !== undefined && isMap(http) && valueAt(http, ["listen"]) === undefined) {
    added["http"] = { ...http, listen };
    words.set("http.listen", " (from $API_HOST and $API_PORT)");
  }
  const section: unknown = valueAt(root, ["backups"]);
  if (isMap(section)) {
    const backups = withPlace(section, env, words);
    added["backups"] = withDatabase(backups, env, words) ?? backups;
  }
  return { root: { ...root, ...added }, wordsOf: (path) => words.get(formatPath(path)) ?? "" };
}

/** Where backups go and how long they stay, and the database, by the variables of older scripts. */
function withPlace(backups: object, env: Environment, words: Map<string, string>): object {
  const [folder = "", days = "", path = ""] = [env["BACKUP_DIR"], env["RETENTION_DAYS"], env["DATABASE_PATH"]];
  const more: Record<string, unknown> = {};
  if (folder !== "" && valueAt(backups, ["stores"]) === undefined) {
    more["stores"] = { local: { kind: "directory", path: folder } };
    words.set("backups.stores.local.path", " (from $BACKUP_DIR)");
  }
  if (days !== "" && valueAt(backups, ["retention"]) === undefined) {
    more["retention"] = { daily: `${days}d` };
    words.set("backups.retention.daily", " (from $RETENTION_DAYS)");
  }
  const targets = valueAt(backups, ["targets"]);
  if (path !== "" && isMap(targets))
    more["targets"] = Object.fromEntries(
      Object.entries(targets).map(([name, target]: [string, unknown]): [string, unknown] => {
        const lacks =
          isMap(target) && valueAt(target, ["kind"]) === "sqlite" && valueAt(target, ["path"]) === undefined;
        if (lacks) words.set(`backups.targets.${name}.path`, " (from $DATABASE_PATH)");
        return [name, lacks ? { ...target, path } : target];
      }),
    );
  return { ...backups, ...more };
}

/** The targets of kind postgres with the address and the password that the variables name; `undefined`: nothing to add. */
function withDatabase(backups: unknown, env: Environment, words: Map<string, string>): object | undefined {
  const targets = valueAt(backups, ["targets"]);
  const url = postgresUrlFrom(env);
  if (!isMap(backups) || !isMap(targets)) return undefined;
  let changed = false;
  const completed = Object.entries(targets).map(([name, target]: [string, unknown]): [string, unknown] => {
    if (!isMap(target) || valueAt(target, ["kind"]) !== "postgres") return [name, target];
    const more: Record<string, string> = {};
    if (url !== undefined && valueAt(target, ["url"]) === undefined) {
      more["url"] = url;
      words.set(
        `backups.targets.${name}.url`,
        " (from $POSTGRES_HOST, $POSTGRES_PORT, $POSTGRES_USER and $POSTGRES_DB)",
      );
    }
    const named = ["passwordFile", "passwordEnv"].some((key) => valueAt(target, [key]) !== undefined);
    if (!named && (env["POSTGRES_PASSWORD"] ?? "") !== "") more["passwordEnv"] = "POSTGRES_PASSWORD";
    changed ||= Object.keys(more).length > 0;
    return [name, { ...target, ...more }];
  });
  return changed ? { ...backups, targets: Object.fromEntries(completed) } : undefined;
}

function isMap(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The address that the two variables name together; `undefined` when neither is set. */
function listenFrom(env: Environment): string | undefined {
  const host = env["API_HOST"] ?? "";
  const port = env["API_PORT"] ?? "";
  if (host === "" && port === "") return undefined;
  const shown = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  return `${shown || DEFAULT_HOST}:${port || DEFAULT_PORT}`;
}

/** What is wrong with the place of `logFile`: the output of a bot is there, and would be mixed with it and rotated under it. */
export function logFileError(root: unknown, dirs: Dirs, file: string, bots: readonly string[]): string | undefined {
  const logFile = valueAt(root, ["logFile"]);
  if (typeof logFile !== "string") return undefined;
  const path = resolve(dirname(file), logFile);
  const bot = bots.find((name) => join(dirs.logDir, `${name}.log`) === path);
  return bot === undefined ? undefined : `${path} holds the output of the bot "${bot}"; name another file`;
}

/** What is wrong with `emergencyFile`: a file that is there for another reason would close the positions of every bot, and be removed. */
export function emergencyFileError(
  root: unknown,
  dirs: Dirs,
  file: string,
  bots: readonly string[],
): string | undefined {
  const [emergencyFile, logFile] = [valueAt(root, ["emergencyFile"]), valueAt(root, ["logFile"])];
  if (typeof emergencyFile !== "string") return undefined;
  const path = resolve(dirname(file), emergencyFile);
  const bot = bots.find((name) => join(dirs.logDir, `${name}.log`) === path);
  const isLog = typeof logFile === "string" && resolve(dirname(file), logFile) === path;
  const what =
    path === file ? "is this config" : isLog ? "is the logFile" : bot && `holds the output of the bot "${bot}"`;
  return what === undefined
    ? undefined
    : `${path} ${what}, and would close every bot; name a file that nothing else makes`;
}
