/** Does this machine hold what the config names: files, folders, users, variables? Reads and changes nothing else. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { readAuthority } from "../../../platform/authority.ts";
import { readTextIfExists } from "../../../platform/files.ts";
import { JOURNAL_SOCKET } from "../../../platform/journal-stream.ts";
import { findProgram } from "../../../platform/program.ts";
import { lookupGroup, lookupUser, switchUser } from "../../../platform/user.ts";
import { FREE_ENV_NAME, MAX_ENV_FILE_BYTES, parseEnvFile } from "./env-file.ts";
import { configError, formatWarning, type ConfigIssue, type Path } from "./issues.ts";
import { closesSame, sharedKeyMistake } from "./one-key.ts";
import type { Dirs } from "./paths.ts";
import type { BotConfig, EmergencyConfig, LoadedConfig } from "./load.ts";

/** Largest key file, bytes; a PEM key has a few thousand. */
const MAX_KEY_FILE_BYTES = 65_536;

/** Mode bits by which others than the owner may read or write. */
const SHARED_READ = 0o044;
const SHARED_WRITE = 0o022;

interface Findings {
  readonly error: (path: Path, message: string) => void;
  readonly warn: (path: Path, message: string) => void;
}

/** What was found wrong with folders and programs, by what names them: bots have many of them in common. */
type Looks = Map<string, string | undefined>;

function once(looks: Looks, what: string, look: () => string | undefined): string | undefined {
  if (!looks.has(what)) looks.set(what, look());
  return looks.get(what);
}

/**
 * Checks the machine for `loaded` and returns the warnings, one line each, after those of the config itself.
 * Throws `ConfigError` (exit code 2) with everything that is missing. A program that is missing is a warning only.
 */
export function checkEnvironment(loaded: LoadedConfig): string[] {
  const errors: ConfigIssue[] = [];
  const warnings: ConfigIssue[] = [];
  const findings: Findings = {
    error: (path, message) => errors.push(loaded.issueAt(path, message)),
    warn: (path, message) => warnings.push(loaded.issueAt(path, message)),
  };
  const { config, dirs } = loaded;
  checkFolders(dirs, findings);
  if (config.logFile !== undefined) {
    const problem = folderProblem(dirname(config.logFile));
    if (problem !== undefined)
      findings.warn(["logFile"], `cannot write to ${dirname(config.logFile)}: ${problem}; name another file`);
  }
  checkGroup(config.control.group, findings);
  for (const section of ["http", "metrics"] as const) {
    const file = config[section]?.auth?.passwordFile;
    if (file !== undefined) checkSecretFile(file, "password", [section, "auth", "passwordFile"], findings);
  }
  checkStoreKeys(loaded, findings);
  checkTargetKeys(loaded, findings);
  const looks: Looks = new Map();
  for (const bot of Object.values(config.bots)) checkBotFiles(bot, loaded, findings, looks);
  checkOneKey(loaded, findings);
  const [first] = errors;
  if (first !== undefined) throw configError(first.file, errors);
  return [...loaded.warnings, ...warnings.map(formatWarning)];
}

/** A folder inside a state folder that cannot be used is not reported beside it. */
function checkFolders(dirs: Dirs, findings: Findings): void {
  const stateProblem = folderProblem(dirs.stateDir);
  for (const key of ["stateDir", "runtimeDir", "logDir"] as const) {
    const problem = key === "stateDir" ? stateProblem : folderProblem(dirs[key]);
    const follows = key !== "stateDir" && stateProblem !== undefined && dirs[key].startsWith(`${dirs.stateDir}/`);
    if (problem === undefined || follows) continue;
    findings.error([key], `cannot write to ${dirs[key]}: ${problem}; set ${key} to a folder that this user may write`);
  }
}

/** A store whose keys are missing costs its copies, not the start: a backup that lies here is worth having. */
function checkStoreKeys({ config, env }: LoadedConfig, { warn }: Findings): void {
  for (const [name, store] of Object.entries(config.backups?.stores ?? {})) {
    if (store.kind !== "s3") continue;
    for (const what of ["accessKeyId", "secretAccessKey"] as const) {
      const [file, variable] = [store[`${what}File`], store[`${what}Env`]];
      const path = ["backups", "stores", name];
      if (variable !== undefined && (env[variable] ?? "").trim() === "")
        warn(
          [...path, `${what}Env`],
          `the environment variable ${variable} is not set, so nothing is copied to ${name}`,
        );
      if (file !== undefined) checkSecretFile(file, "key", [...path, `${what}File`], { warn, error: warn });
    }
    const authority = store.caFile === undefined ? undefined : readAuthority(store.caFile);
    if (authority?.kind === "failed")
      warn(
        ["backups", "stores", name, "caFile"],
        `${store.caFile} ${authority.reason}, so nothing is copied to ${name}`,
      );
  }
}

/** What backups, their proofs and restores read: without it they fail, and a bot is worth running all the same. */
function checkTargetKeys({ config, env }: LoadedConfig, { warn }: Findings): void {
  const { encryption, targets = {} } = config.backups ?? {};
  const mild = { warn, error: warn };
  if (encryption?.identityFile !== undefined)
    checkSecretFile(encryption.identityFile, "key", ["backups", "encryption", "identityFile"], mild);
  for (const [name, target] of Object.entries(targets)) {
    if (target.kind !== "postgres" && target.kind !== "redis") continue;
    const path = ["backups", "targets", name];
    if (target.passwordFile !== undefined)
      checkSecretFile(target.passwordFile, "password", [...path, "passwordFile"], mild);
    const variable = target.kind === "postgres" ? target.passwordEnv : undefined;
    if (variable !== undefined && env[variable] === undefined)
      warn([...path, "passwordEnv"], `the environment variable ${variable} is not set; set it for the supervisor`);
  }
}

function checkBotFiles(bot: BotConfig, loaded: LoadedConfig, findings: Findings, looks: Looks): void {
  const path = ["bots", bot.name];
  const folder = once(looks, bot.cwd, () => statProblem(bot.cwd, "folder"));
  if (folder !== undefined)
    findings.error([...path, "cwd"], `cannot use ${bot.cwd}: ${folder}; create it or correct cwd`);
  else checkPrograms(bot, loaded, findings, looks);
  checkUser(bot.user, [...path, "user"], findings);
  if (bot.output.to === "journal" && !existsSync(JOURNAL_SOCKET))
    findings.warn(
      [...path, "output", "to"],
      `there is no journald here (${JOURNAL_SOCKET}), so the output goes to the log file; write to: file, or start journald`,
    );
  if (bot.envFile !== undefined) checkEnvFile(bot.envFile, [...path, "envFile"], findings);
  if (bot.emergency === undefined) return;
  for (const what of ["apiKey", "apiSecret", "passphrase", "secret"] as const)
    checkKey(bot.emergency, what, [...path, "emergency"], loaded, findings);
  const { hook } = bot.emergency;
  if (hook !== undefined) checkKey(hook, "secret", [...path, "emergency", "hook"], loaded, findings);
}

/** Warns of programs that a start would not find now; they may be there when it comes. */
function checkPrograms(bot: BotConfig, { env: own }: LoadedConfig, findings: Findings, looks: Looks): void {
  const path = bot.env["PATH"] ?? own["PATH"];
  const env = path === undefined ? {} : { PATH: path };
  const look = (command: readonly string[] | undefined, place: Path): void => {
    if (command === undefined) return;
    const missing = once(looks, `${command[0]}\0${bot.cwd}\0${path}`, () => {
      const found = findProgram({ command, cwd: bot.cwd, env });
      return found.kind === "missing" ? found.reason : undefined;
    });
    if (missing !== undefined) findings.warn(place, `${missing}; correct it, or install it before the start`);
  };
  for (const key of ["command", "preStop", "postStop"] as const) look(bot[key], ["bots", bot.name, key]);
  look(bot.emergency?.command, ["bots", bot.name, "emergency", "command"]);
  look(bot.emergency?.hook?.command, ["bots", bot.name, "emergency", "hook", "command"]);
  for (const [index, probe] of bot.probes.entries())
    if (probe.kind === "exec") look(probe.command, ["bots", bot.name, "probes", index, "command"]);
}

type SecretKey = "apiKey" | "apiSecret" | "passphrase" | "secret";

function checkKey(
  section: Readonly<Partial<Record<`${SecretKey}${"File" | "Env"}`, string | undefined>>>,
  what: SecretKey,
  path: Path,
  loaded: LoadedConfig,
  findings: Findings,
): void {
  const name = section[`${what}Env`];
  if (name !== undefined && (loaded.env[name] ?? "").trim() === "")
    findings.error(
      [...path, `${what}Env`],
      `the environment variable ${name} is not set; set it for the supervisor, or use ${what}File`,
    );
  const file = section[`${what}File`];
  if (file === undefined) return;
  checkSecretFile(file, "key", [...path, `${what}File`], findings);
}

/** Accounts of different names are one account at the venue when one key opens both: the later bot is at fault, and is held back. */
function checkOneKey({ config, env }: LoadedConfig, findings: Findings): void {
  const seen: { name: string; emergency: EmergencyConfig; key: string }[] = [];
  for (const { name, emergency } of Object.values(config.bots)) {
    if (emergency === undefined) continue;
    const { apiKeyFile: file, apiKeyEnv: variable } = emergency;
    const read = file === undefined ? undefined : readWhole(file, MAX_KEY_FILE_BYTES);
    const text = read === undefined ? env[variable ?? ""] : read.kind === "read" ? read.text : "";
    const key = text?.trim() ?? "";
    if (key === "") continue;
    const owner = seen.find((each) => each.key === key && closesSame(each.emergency, emergency));
    seen.push({ name, emergency, key });
    const place = ["bots", name, "emergency", file === undefined ? "apiKeyEnv" : "apiKeyFile"];
    if (owner !== undefined) findings.error(place, sharedKeyMistake(owner.name, name));
  }
}

function checkSecretFile(file: string, what: "key" | "password", place: Path, findings: Findings): void {
  const read = readWhole(file, MAX_KEY_FILE_BYTES);
  if (read.kind === "failed")
    return findings.error(place, `cannot read ${file}: ${read.why}; create it with mode 0600`);
  if (read.text.trim() === "") return findings.error(place, `${file} is empty; write the ${what} into it`);
  const mode = statSync(file).mode;
  if ((mode & (SHARED_READ | SHARED_WRITE)) !== 0)
    findings.warn(place, `${file} is open to others (mode ${octal(mode)}); run: chmod 600 ${file}`);
}

function checkEnvFile(file: string, path: Path, findings: Findings): void {
  const read = readWhole(file, MAX_ENV_FILE_BYTES);
  if (read.kind === "failed")
    return findings.error(path, `cannot read ${file}: ${read.why}; create it, or remove envFile`);
  const { variables, errors } = parseEnvFile(read.text);
  for (const { line, message } of errors)
    findings.error(path, `cannot use ${file}: line ${line}: ${message}; correct it`);
  for (const name of Object.keys(variables).filter((key) => !FREE_ENV_NAME.test(key)))
    findings.error(path, `cannot use ${file}: the supervisor sets ${name} itself; remove its line`);
}

function checkUser(name: string | undefined, path: Path, findings: Findings): void {
  if (name === undefined) return;
  const user = lookupUser(name);
  if (user === undefined)
    return findings.error(path, `this machine has no user "${name}"; create it or correct the name`);
  try {
    switchUser(user);
  } catch {
    findings.error(
      path,
      `only root may start a bot as "${name}"; run the supervisor as root or as that user, or remove user`,
    );
  }
}

function checkGroup(group: string | undefined, findings: Findings): void {
  if (group === undefined) return;
  const path = ["control", "group"];
  const gid = lookupGroup(group);
  if (gid === undefined)
    return findings.error(path, `this machine has no group "${group}"; create it or correct the name`);
  const member = process.getuid?.() === 0 || process.getegid?.() === gid || (process.getgroups?.() ?? []).includes(gid);
  if (!member)
    findings.error(
      path,
      `the supervisor's user is not in the group "${group}" and cannot give it the socket; add it, or remove group`,
    );
}

/** Why `folder` can neither be written nor created; looks at the nearest part of the path that exists. */
function folderProblem(folder: string): string | undefined {
  let at = folder;
  while (at !== dirname(at) && isMissing(at)) at = dirname(at);
  const problem = statProblem(at, "folder");
  if (problem !== undefined) return at === folder ? problem : `${at}: ${problem}`;
  try {
    accessSync(at, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return at === folder ? reasonOf(error) : `${at}: ${reasonOf(error)}`;
  }
}

function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return ["ENOENT", "ENOTDIR"].includes(codeOf(error) ?? "");
  }
}

function statProblem(path: string, expected: "folder"): string | undefined {
  try {
    return statSync(path).isDirectory() ? undefined : `it is not a ${expected}`;
  } catch (error) {
    return reasonOf(error);
  }
}

type Read = { readonly kind: "read"; readonly text: string } | { readonly kind: "failed"; readonly why: string };

function readWhole(file: string, maxBytes: number): Read {
  try {
    const text = readTextIfExists(file, maxBytes);
    return text === undefined ? { kind: "failed", why: "there is no such file" } : { kind: "read", text };
  } catch (error) {
    return { kind: "failed", why: reasonOf(error) };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  ENOTDIR: "a part of the path is not a folder",
  EACCES: "permission denied",
  EROFS: "the file system is read-only",
  EISDIR: "it is a folder",
  ELOOP: "its symbolic links form a loop",
};

/** The system's reason in words; a wrapped error is asked for its cause. */
function reasonOf(error: unknown): string {
  const known = REASONS[codeOf(error) ?? ""];
  if (known !== undefined) return known;
  if (!(error instanceof Error)) return String(error);
  const deeper = error.cause === undefined ? undefined : REASONS[codeOf(error.cause) ?? ""];
  return deeper ?? error.message.replace(/^cannot read [^:]*: /, "");
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}
