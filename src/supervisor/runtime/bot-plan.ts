/** What follows from the config of one bot, until a reload changes it: its policy for the core, its files, its environment. */
import { dirname, join } from "node:path";
import type { Policy } from "../../core/lifecycle-types.ts";
import type { BotConfig, Dirs } from "./config/load.ts";

/** Search path of a bot when the supervisor itself has none. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Time that SIGKILL is given to empty a process tree before the bot counts as stuck, ms. */
export const KILL_GRACE_MS = 5_000;

export interface BotFiles {
  /** `<stateDir>/bots/NAME` and what is in it. */
  readonly dir: string;
  readonly identity: string;
  readonly lockout: string;
  /** Where the lockout goes when the state folder cannot be written. */
  readonly lockoutSpare: string;
  readonly incidents: string;
  /** What the state folder has not taken of them. */
  readonly incidentsSpare: string;
  /** What the bot is told of them. */
  readonly closes: string;
  /** The bot's own folder, and the supervisor's for what ended starts have recorded. */
  readonly blackbox: string;
  readonly sealedBlackbox: string;
  /** The folder for the bot's state, which is its own affair (docs/state.md). */
  readonly state: string;
  /** What the supervisor has seen of the bot in the last quarter of an hour, a reading a second. */
  readonly samples: string;
  /** Crash dumps of all bots. */
  readonly dumps: string;
  readonly journal: string;
  readonly accountLock: string;
  /** `<runtimeDir>/bots/NAME.*`: gone after a reboot, made anew at each start. */
  readonly notifySocket: string;
  readonly socket: string;
  readonly level: string;
  readonly noNewOrders: string;
  readonly log: string;
  /** What the rotation of `log` knows and holds, where each start began in it, and the last words of ended starts. */
  readonly outputIndex: string;
  readonly outputLock: string;
  readonly runs: string;
  readonly exits: string;
}

export interface BotPlan {
  readonly name: string;
  readonly account: string;
  readonly config: BotConfig;
  readonly policy: Policy;
  readonly files: BotFiles;
}

export function planBot(name: string, config: BotConfig, dirs: Dirs): BotPlan {
  const account = config.account ?? name;
  return { name, account, config, policy: policyOf(config), files: filesOf(name, account, dirs) };
}

function policyOf(config: BotConfig): Policy {
  const { restart, emergency } = config;
  return {
    restart: restart.policy,
    backoff: restart,
    budget: restart,
    resetAfter: restart.resetAfter,
    haltExitCodes: restart.haltExitCodes,
    ready: config.ready,
    startTimeout: config.startTimeout,
    stopTimeout: config.stopTimeout,
    hooks: { preStop: config.preStop !== undefined, postStop: config.postStop !== undefined },
    emergency:
      emergency === undefined
        ? undefined
        : { closeAfter: emergency.closeAfter, onGiveUp: emergency.onGiveUp, ladder: ["close-positions"] },
  };
}

/** The policy as it holds in maintenance: nothing closes positions by itself. */
export function withMaintenance(policy: Policy, suspended: boolean): Policy {
  const { emergency } = policy;
  return emergency === undefined || !suspended ? policy : { ...policy, emergency: { ...emergency, suspended } };
}

/** The policy with the end of the machine's first minute; `undefined`: it was over before this supervisor. */
export function withBoot(policy: Policy, bootEndsAtMs: number | undefined): Policy {
  const { emergency } = policy;
  return emergency === undefined || bootEndsAtMs === undefined
    ? policy
    : { ...policy, emergency: { ...emergency, bootEndsAtMs } };
}

export function filesOf(name: string, account: string, dirs: Dirs): BotFiles {
  const dir = join(dirs.stateDir, "bots", name);
  const run = join(dirs.runtimeDir, "bots");
  return {
    dir,
    identity: join(dir, "identity.json"),
    lockout: join(dir, "lock.json"),
    lockoutSpare: join(run, `${name}.lock.json`),
    incidents: join(dir, "incidents"),
    incidentsSpare: join(run, `${name}.incidents.json`),
    closes: join(dir, "closes.json"),
    blackbox: join(dir, "blackbox"),
    sealedBlackbox: join(dir, "blackbox-sealed"),
    state: join(dir, "state"),
    samples: join(run, `${name}.samples`),
    dumps: join(dirs.stateDir, "dumps"),
    journal: join(dirs.stateDir, "journal"),
    accountLock: join(dirs.stateDir, "accounts", `${accountFileName(account)}.lock`),
    notifySocket: join(run, `${name}.notify`),
    socket: join(run, `${name}.sock`),
    level: join(run, `${name}.level`),
    noNewOrders: join(run, `${name}.no-new-orders`),
    log: join(dirs.logDir, `${name}.log`),
    outputIndex: join(dir, "output.json"),
    outputLock: join(dir, "output.lock"),
    runs: join(dir, "runs.ndjson"),
    exits: join(dir, "exits"),
  };
}

const ACCOUNT_MARK = "SUPERVISOR_ACCOUNT";

/** The `NAME=value` marks by which every process of the bot is recognised, whatever start it is from. */
export function fenceMarks(files: BotFiles, invocationId: string | undefined): readonly string[] {
  const lasting = `SUPERVISOR_SOCKET=${files.socket}`;
  return invocationId === undefined ? [lasting] : [lasting, `INVOCATION_ID=${invocationId}`];
}

/**
 * Longest name of an account in a file name, which may have 255 bytes with its ending and that of a temporary file. Not less: a close that an
 * older release has begun holds the lock by the whole name, and must keep out ours.
 */
const MAX_ACCOUNT_FILE_CHARS = 230;

/** A file name for the account; of a long one in letters that are written with several bytes, its beginning and a hash of the whole. */
export function accountFileName(account: string): string {
  const name = encodeURIComponent(account.toWellFormed());
  if (name.length <= MAX_ACCOUNT_FILE_CHARS) return name;
  const hash = new Bun.CryptoHasher("sha256").update(account).digest("hex");
  return `${name.slice(0, MAX_ACCOUNT_FILE_CHARS - hash.length - 1)}-${hash}`;
}

/** The mark of whatever this installation has started on the account, under any name, also where no identity tells of it. */
export function accountMark({ socket }: Pick<BotFiles, "socket">, account: string): string {
  return `${ACCOUNT_MARK}=${account}@${dirname(socket)}`;
}

/** PATH, HOME and LANG for the bot: the only variables that it inherits. */
function inherited(own: Readonly<Record<string, string | undefined>>, home: string | undefined) {
  return { PATH: own["PATH"] ?? DEFAULT_PATH, HOME: home ?? own["HOME"] ?? "/", LANG: own["LANG"] ?? "C.UTF-8" };
}

export interface EnvironmentInput {
  readonly plan: BotPlan;
  readonly own: Readonly<Record<string, string | undefined>>;
  readonly fileEnv: Readonly<Record<string, string>>;
  readonly home: string | undefined;
}

/** The bot's whole environment but for `startEnvironment`: what the config names, PATH, HOME, LANG and the contract's variables; nothing else. */
export function lastingEnvironment(input: EnvironmentInput): Record<string, string> {
  const { plan, own, fileEnv, home } = input;
  const { config, files } = plan;
  const heartbeat = config.probes.find((probe) => probe.kind === "heartbeat");
  return {
    ...inherited(own, home),
    ...fileEnv,
    ...config.env,
    NOTIFY_SOCKET: files.notifySocket,
    ...(heartbeat === undefined ? {} : { WATCHDOG_USEC: String(heartbeat.timeout * 1_000) }),
    SUPERVISOR_SOCKET: files.socket,
    [ACCOUNT_MARK]: `${plan.account}@${dirname(files.socket)}`,
    SUPERVISOR_BOT: plan.name,
    SUPERVISOR_LEVEL_FILE: files.level,
    SUPERVISOR_BLACKBOX_DIR: files.blackbox,
    SUPERVISOR_STATE_DIR: files.state,
    SUPERVISOR_NO_NEW_ORDERS: files.noNewOrders,
    SUPERVISOR_CLOSES: files.closes,
  };
}

/** What each start has of its own; put after the rest, which cannot change it. */
export function startEnvironment(generation: number, invocationId: string): Record<string, string> {
  return { SUPERVISOR_GENERATION: String(generation), INVOCATION_ID: invocationId };
}

/**
 * Fingerprint of what only a start can change: two configs with the same one start the same process. What a reload changes
 * on a living bot is not in it, so that a bot is not taken for outdated over that.
 */
export function definitionOf({ config }: BotPlan, fileEnv: Readonly<Record<string, string>>): string {
  const { command, cwd, user, env, limits, output } = config;
  const { openFiles, core, oomScore } = limits ?? {};
  const own = { command, cwd, user, env: sorted({ ...fileEnv, ...env }), openFiles, core, oomScore, to: output.to };
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(own)).digest("hex");
}

function sorted(variables: Readonly<Record<string, string>>): readonly (readonly [string, string])[] {
  return Object.entries(variables).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Variables that mark a process as the bot's; a hook that runs after the bot is gone must not carry them. */
const MARKS = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "SUPERVISOR_SOCKET", ACCOUNT_MARK, "INVOCATION_ID"];

/** The environment of `postStop`: the bot's, without what makes a process count as the bot. */
export function unmarked(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !MARKS.includes(name)));
}

export interface BotFolder {
  readonly path: string;
  readonly mode: number;
  /** Whose it is. */
  readonly of: "all" | "us" | "bot";
  /** No start needs it: only what comes after one. */
  readonly canWait?: true;
}

/** Folders that the bot needs, with their modes, each below those before it; those the bot uses are handed to its user. */
export function foldersOf(files: BotFiles): readonly BotFolder[] {
  return [
    { path: dirname(files.dir), mode: 0o711, of: "all" },
    { path: files.dir, mode: 0o711, of: "us" },
    { path: files.incidents, mode: 0o700, of: "us", canWait: true },
    { path: files.blackbox, mode: 0o700, of: "bot" },
    { path: files.state, mode: 0o700, of: "bot" },
    { path: files.exits, mode: 0o750, of: "us", canWait: true },
    { path: dirname(files.accountLock), mode: 0o700, of: "all" },
    { path: dirname(files.socket), mode: 0o711, of: "all" },
    { path: dirname(files.log), mode: 0o755, of: "all" },
  ];
}
