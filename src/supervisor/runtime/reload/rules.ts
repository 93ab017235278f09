/**
 * What a changed key of the config means for what lives, key by key. The tables are typed by the schema, so that a new key
 * does not compile until it is decided here; docs/reload.md shows them, and a test compares.
 */
import type { Limits } from "../../../core/limits.ts";
import type { Difference, Meaning } from "../../../core/reload.ts";
import type { BotConfig, Config } from "../config/load.ts";

interface Both {
  readonly before: BotConfig;
  readonly after: BotConfig;
}

export interface Rule {
  /** For one change of the key; `both` are the whole definitions. */
  readonly meaning: Meaning | ((change: Difference, both: Both) => Meaning);
  /** As the table of the documentation says it, where the meaning depends. */
  readonly shown?: string;
  /** For people: what is done, and why. */
  readonly words: string;
}

export const botRules = {
  name: { meaning: "in place", words: "a bot of another name is another bot: one is removed and one is added" },
  command: { meaning: "restart", words: "" },
  cwd: { meaning: "restart", words: "" },
  user: { meaning: "restart", words: "the bot is stopped wholly, and its sockets are made anew for the other user" },
  env: { meaning: "restart", words: "the order of the variables does not count" },
  envFile: { meaning: "restart", words: "also when only the content of the file has changed" },
  account: {
    meaning: "restart",
    words: "the bot is stopped wholly before any bot starts on the account; two bots may swap theirs in one reload",
  },
  autostart: {
    meaning: "in place",
    words: "looked at when the daemon starts and when a bot is added; starts and stops nothing",
  },
  after: { meaning: "in place", words: "looked at when a daemon starts" },
  orphans: { meaning: "in place", words: "looked at when a daemon starts" },
  ready: { meaning: "in place", words: "from the next start on" },
  startTimeout: { meaning: "in place", words: "also for a start that is under way, counted from its begin" },
  stopSignal: { meaning: "in place", words: "" },
  stopTimeout: { meaning: "in place", words: "a stop that is under way keeps its own" },
  preStop: { meaning: "in place", words: "" },
  postStop: { meaning: "in place", words: "" },
  restart: { meaning: "in place", words: "a wait for a restart that is under way keeps its length" },
  probes: {
    meaning: probeMeaning,
    shown: "in place",
    words:
      "a probe that is as it was keeps its record, a changed or new one begins with a fresh period, a removed one goes. A heartbeat that is new or has a shorter timeout: restart, since the bot learns its period (WATCHDOG_USEC) when it starts",
  },
  limits: { meaning: limitMeaning, shown: "see below", words: "" },
  output: {
    meaning: ({ path: [, key] }) => (key === "to" ? "restart" : "in place"),
    shown: "in place",
    words: "of output.to: restart, since the bot holds the file or stream that it writes to",
  },
  dump: { meaning: "in place", words: "" },
  emergency: {
    meaning: "in place",
    words:
      "a close that runs ends with the settings it began with. closeAfter goes on with the time it has counted: a shorter one may be over at once",
  },
} as const satisfies Readonly<Record<keyof BotConfig, Rule>>;

/** Keys whose change makes the bot another one for its account or its sockets: it is let go and taken in anew. */
export const REPLACING: readonly (keyof BotConfig)[] = ["account", "user"];

/** The kernel would kill it at once. */
const FITTING = ", unless it uses more than `limits.memory` already";

export const limitRules = {
  memory: inCgroup(FITTING),
  memoryHigh: inCgroup(FITTING),
  cpu: inCgroup(),
  pids: inCgroup(),
  openFiles: { meaning: "restart", words: "" },
  core: { meaning: "restart", words: "" },
  oomScore: { meaning: "restart", words: "" },
  strict: { meaning: "in place", words: "from the next start on" },
  onMemoryHigh: { meaning: "in place", words: "" },
  quietTimeout: { meaning: "in place", words: "" },
  memoryHorizon: { meaning: "in place", words: "" },
} as const satisfies Readonly<Record<keyof Limits, Rule>>;

export const topRules = {
  version: { meaning: "supervisor", words: "" },
  stateDir: { meaning: "supervisor", words: "" },
  runtimeDir: { meaning: "supervisor", words: "" },
  logDir: { meaning: "supervisor", words: "" },
  logFile: { meaning: "supervisor", words: "" },
  control: { meaning: "supervisor", words: "" },
  http: { meaning: "in place", words: "the servers are closed and opened anew" },
  metrics: { meaning: "in place", words: "the servers are closed and opened anew" },
  backups: { meaning: "in place", words: "a backup that is under way ends by the old config" },
  emergencyFile: {
    meaning: "in place",
    words: "refused when the new file exists: it would close every position at once",
  },
} as const satisfies Readonly<Record<Exclude<keyof Config, "bots">, Rule>>;

/** A limit that a living bot has a cgroup for. */
function inCgroup(unless = ""): Rule {
  return {
    meaning: ({ before, after }) => (before === undefined || after === undefined ? "restart" : "in place"),
    shown: "in place",
    words: `in the kernel's books of the living bot${unless}. A limit that is new or gone: restart`,
  };
}

function limitMeaning(change: Difference, both: Both): Meaning {
  const [, key] = change.path;
  const rule = Object.entries<Rule>(limitRules).find(([name]) => name === key)?.[1];
  return rule === undefined ? "restart" : meaningOf(rule, change, both);
}

/** What one change means under `rule`. */
export function meaningOf(rule: Rule, change: Difference, both: Both): Meaning {
  return typeof rule.meaning === "string" ? rule.meaning : rule.meaning(change, both);
}

function probeMeaning({ path: [, name] }: Difference, { before, after }: Both): Meaning {
  const now = after.probes.find((probe) => probe.name === name);
  return now?.kind === "heartbeat" && now.timeout < heartbeatMs(before) ? "restart" : "in place";
}

/** The silence that the living bot was told to stay below, ms. */
function heartbeatMs({ probes }: BotConfig): number {
  return probes.find((probe) => probe.kind === "heartbeat")?.timeout ?? Number.POSITIVE_INFINITY;
}
