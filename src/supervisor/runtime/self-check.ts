/** Whether this version could take over an installation from a daemon that runs now: looks at everything, and changes nothing. */
import { accessSync, constants, readdirSync } from "node:fs";
import { join } from "node:path";
import { JOURNAL_VERSION } from "../../core/journal-entry.ts";
import { selfCheckReport } from "../../core/upgrade.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { libc, libcError } from "../../platform/libc.ts";
import { Census } from "../../platform/census.ts";
import { planBot } from "./bot-plan.ts";
import { judgeBefore, readEnvFile, refuseDoubt, refuseStrangers, refuseSupervised } from "./bot-setup.ts";
import { checkEnvironment } from "./config/environment.ts";
import { ConfigError } from "./config/issues.ts";
import { loadConfig, type BotConfig, type LoadedConfig } from "./config/load.ts";
import type { ReadOptions } from "./config/read.ts";
import { refuseClaim } from "./folder-claim.ts";
import { statusFile } from "./installation.ts";
import { kinOf, surveyBots, type Remains } from "./survey.ts";

type Report = ReturnType<typeof selfCheckReport>;
type Judged = Report["bots"][string];

/** The version of identity, lockout and status files that this program reads. */
const FILE_VERSION = 1;
/** Twice the size of a journal file. */
const MAX_FILE_BYTES = 16 * 1024 ** 2;

/** Never throws: what is wrong is in the report. */
export function selfCheck(options: ReadOptions, version: string): Report {
  try {
    const loaded = loadConfig(options);
    const { problems, bots: troubled } = machineProblems(loaded);
    const remains = surveyBots(loaded.dirs);
    const bots = Object.entries(loaded.config.bots).map(([name, config]) => {
      const trouble = troubled.get(name);
      const judged = trouble ?? judgeBot(name, config, loaded, remains);
      return [name, { ...judged, account: planBot(name, config, loaded.dirs).account }] as const;
    });
    const { stateDir, runtimeDir } = loaded.dirs;
    problems.push(...startProblems(loaded, remains));
    return selfCheckReport({ version, problems, stateDir, runtimeDir, bots: Object.fromEntries(bots) });
  } catch (error) {
    return selfCheckReport({ version, problems: [messageOf(error)], bots: {} });
  }
}

/** What is wrong with everything, and what with one bot. */
function machineProblems(loaded: LoadedConfig): { problems: string[]; bots: ReadonlyMap<string, Judged> } {
  const { stateDir } = loaded.dirs;
  const problems = [...formatProblems(stateDir), ...claimProblems(stateDir), ...folderProblems(loaded)];
  if (libc() === undefined) problems.push(libcError() ?? "no C library");
  const bots = new Map<string, Judged>();
  try {
    checkEnvironment(loaded);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const { path, message } of error.issues) {
      const owner = Object.keys(loaded.config.bots).find((name) => path.startsWith(`bots.${name}.`));
      if (owner === undefined) problems.push(`${path}: ${message}`);
      else bots.set(owner, { verdict: "end", reason: `${path}: ${message}`, lacks: `${path}: ${message}` });
    }
  }
  return { problems, bots };
}

function judgeBot(name: string, config: BotConfig, { dirs }: LoadedConfig, remains: readonly Remains[]): Judged {
  try {
    const before = remains.find((each) => each.name === name)?.identity;
    if (before === undefined) return { verdict: "none", reason: "it has no identity on disk" };
    readEnvFile(config.envFile);
    const judged = judgeBefore(planBot(name, config, dirs), before, "adopt");
    return { verdict: judged.kind, reason: judged.kind === "adopt" ? "" : judged.reason };
  } catch (error) {
    return { verdict: "doubt", reason: messageOf(error) };
  }
}

/** Of which bots a start would say that it cannot supervise them, and end. */
function startProblems({ config, dirs }: LoadedConfig, remains: readonly Remains[]): string[] {
  const census = new Census();
  const configured = new Set(Object.keys(config.bots));
  return Object.entries(config.bots).flatMap(([name, bot]) => {
    try {
      const plan = planBot(name, bot, dirs);
      const before = remains.find((each) => each.name === name)?.identity;
      refuseStrangers(plan, before, census);
      refuseSupervised(plan, remains, configured);
      refuseDoubt(plan, before, kinOf(plan, remains, configured), census);
      return [];
    } catch (error) {
      return [messageOf(error)];
    }
  });
}

/** Why the new version would not run on the folder at its start. */
function claimProblems(stateDir: string): string[] {
  try {
    refuseClaim(stateDir);
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}

function folderProblems({ dirs }: LoadedConfig): string[] {
  return [dirs.stateDir, dirs.runtimeDir, dirs.logDir].flatMap((folder) => {
    try {
      accessSync(folder, constants.W_OK | constants.X_OK);
      return [];
    } catch (error) {
      return [`cannot write to ${folder}: ${messageOf(error)}`];
    }
  });
}

/** Files of a newer format, which this version would have to refuse; a damaged one is no newer one. */
function formatProblems(stateDir: string): string[] {
  const bots = join(stateDir, "bots");
  const files = namesIn(bots).flatMap((name) =>
    ["identity.json", "lock.json", "lock.slot"].map((file) => join(bots, name, file)),
  );
  const journal = namesIn(join(stateDir, "journal")).toSorted().at(-1);
  const found = [...files, statusFile(stateDir)].map((path) => ({ path, known: FILE_VERSION, ...versionsIn(path) }));
  if (journal !== undefined) {
    const path = join(stateDir, "journal", journal);
    found.push({ path, known: JOURNAL_VERSION, ...versionsIn(path) });
  }
  return found.flatMap(({ path, known, version }) =>
    version !== undefined && version > known
      ? [`${path} is of format ${version}, and this version reads up to ${known}`]
      : [],
  );
}

/** The format version that a JSON file, or the last whole line of a journal, says. */
function versionsIn(path: string): { version: number | undefined } {
  try {
    const text = (readTextIfExists(path, MAX_FILE_BYTES) ?? "").replaceAll("\0", "").trim();
    const last = path.endsWith(".ndjson") ? (text.split("\n").at(-1) ?? "") : text;
    const value: unknown = JSON.parse(last);
    if (typeof value !== "object" || value === null) return { version: undefined };
    const version = "v" in value ? value.v : "version" in value ? value.version : undefined;
    return { version: typeof version === "number" ? version : undefined };
  } catch {
    return { version: undefined };
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
