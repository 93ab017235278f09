/** The emergency commands when no daemon runs: the same bot, fence and worker, under the state folder's own lock. */
import { join } from "node:path";
import type { CloseGoal } from "../../core/close-goal.ts";
import { CLOSE_EXIT, type CloseReport } from "../../core/close-job.ts";
import { closeCommand } from "../../core/close-next.ts";
import { detectCgroup } from "../../platform/cgroup.ts";
import { systemClock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { lockHolder, tryLock, type Lock } from "../../platform/lock.ts";
import { eventLine } from "../../report/event-text.ts";
import { Bot } from "../runtime/bot.ts";
import { planBot, type BotPlan } from "../runtime/bot-plan.ts";
import { lookUp, prepareFolders, refuseStrangers, refuseSupervised } from "../runtime/bot-setup.ts";
import { loadConfig, type Dirs, type LoadedConfig } from "../runtime/config/load.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import { accountRefusal } from "../runtime/emergency-routes.ts";
import { emergencyAnswer } from "../runtime/emergency-answer.ts";
import { refuseCopy } from "../runtime/folder-claim.ts";
import { installationOf } from "../runtime/installation.ts";
import { Journal } from "../runtime/journal.ts";
import { knownSecrets } from "../runtime/known-secrets.ts";
import { planClose } from "../runtime/planning.ts";
import { Pulse } from "../runtime/pulse.ts";
import { surveyBots } from "../runtime/survey.ts";
import { supervisorStatus, writeStatus } from "../runtime/status.ts";
import { noSuchBot } from "./known-bots.ts";
import { VERSION } from "./build-info.ts";
import { DaemonError } from "./client.ts";
import type { CloseEnd } from "./close-end.ts";
import { notProven } from "./emergency-wait.ts";
import { lastKnownStatus } from "./last-known.ts";
import type { PlaceOptions } from "./place.ts";
import type { CliIo } from "./verb.ts";

/** Workers that the emergency starts one after the other when they die; see runtime/emergency.ts. */
const WORKER_TRIES = 3;
/** Time of one worker beside its waiting for another close and its own budget, and of the fence before it, ms. */
const WORKER_MARGIN_MS = 180_000;
const STUCK_HINT =
  "free what they wait for, mostly a disk, and run the command again; supervisor run tries it every 5 s";

export async function planWithoutDaemon(
  name: string,
  goal: CloseGoal,
  options: PlaceOptions,
  io: CliIo,
): Promise<CloseReport> {
  const { loaded, config } = load(name, options, io);
  const plan = planBot(name, config, loaded.dirs);
  prepareFolders(plan.files, lookUp(config.user).user);
  const end = await planClose({ plan }, { clock: systemClock, env: io.env }, goal);
  if (end.kind === "failed")
    throw new DaemonError({ code: "failed", message: `cannot plan: ${end.reason}` }, CLOSE_EXIT.internal);
  return end.report;
}

/** Nobody knows a token without a daemon. Throws what is wrong with the config, or with what it says of the bot. */
export function unconfirmed(name: string, goal: CloseGoal, options: PlaceOptions, io: CliIo): DaemonError {
  const { config } = load(name, options, io);
  return new DaemonError(
    {
      code: "notConfirmed",
      message: `cannot close positions of ${name}: not confirmed`,
      hint: `the daemon is not running, so no token is known; if you are sure: ${closeCommand(name, config.account, goal)}`,
    },
    CLOSE_EXIT.refused,
  );
}

/** Ends whatever lives of the bot, closes, and leaves the lockout behind, exactly as the daemon would. */
export async function closeWithoutDaemon(
  name: string,
  { goal, account }: { readonly goal: CloseGoal; readonly account: string | undefined },
  options: PlaceOptions,
  io: CliIo,
): Promise<CloseEnd> {
  const { loaded, config } = load(name, options, io);
  const { dirs } = loaded;
  const plan = planBot(name, config, dirs);
  const wrong = accountRefusal({ bot: name, account: plan.account, goal }, account);
  if (wrong !== undefined) throw new DaemonError(wrong, CLOSE_EXIT.refused);
  const configured = new Set(Object.keys(loaded.config.bots));
  refuseOthers(plan, dirs, configured);
  const lock = takeFolder(name, dirs);
  const journal = new Journal(join(dirs.stateDir, "journal"), systemClock);
  journal.follow((entry) => io.err(eventLine(entry)));
  const pulse = new Pulse(systemClock);
  pulse.start();
  try {
    const bot = new Bot(name, { ...config, autostart: false }, dirs, {
      clock: systemClock,
      random: Math.random,
      env: io.env,
      journal,
      cgroupBase: detectCgroup().base,
      controllers: undefined,
      alone: false,
      closesOnly: true,
      installation: installationOf(dirs),
      drain: () => {},
      onChange: () => {},
      pulse,
      remains: surveyBots(dirs),
      configured,
      version: VERSION,
      secrets: () => knownSecrets(loaded.config, io.env),
      onBug: (error) => io.err(`internal error: ${error instanceof Error ? error.message : String(error)}`),
    });
    try {
      return await closeBot(bot, goal, WORKER_TRIES * (2 * (config.emergency?.timeout ?? 0) + WORKER_MARGIN_MS));
    } finally {
      await leaveStatus(bot, loaded, journal, io);
    }
  } finally {
    pulse.stop();
    journal.close();
    lock.release();
  }
}

/** Runs one close of the bot to its end. Throws when the bot is not proven dead, or when the time is over. */
async function closeBot(bot: Bot, goal: CloseGoal, timeoutMs: number): Promise<CloseEnd> {
  const { name } = bot.plan;
  bot.begin({});
  if (bot.loop.state.kind !== "recovering")
    bot.loop.post({ kind: "emergency", trigger: "operator", reason: "an operator asked for it", goal });
  const settled = await bot.loop.settles((state) => state.kind === "locked" || state.kind === "stuck", timeoutMs);
  // Nobody tries it again after us.
  bot.emergency.lockout.retry();
  bot.shutDown();
  const end = emergencyAnswer(bot);
  if (end.state === "stuck") throw notProven(name, end.detail, STUCK_HINT);
  const { incident, outcome } = end;
  if (!settled || incident === null || outcome === null)
    throw new DaemonError(
      {
        code: "unfinished",
        message: `cannot tell how the close of ${name} ended: it has not within ${timeoutMs / 1_000} s`,
        hint: "what was begun goes on in its own process; the same command again goes on with the incident",
      },
      CLOSE_EXIT.unreadable,
    );
  const lost = bot.emergency.lockout.isOnDisk ? {} : { lockoutLost: lockoutLostText(name) };
  return { ...end, incident, outcome, ...lost };
}

function lockoutLostText(name: string): string {
  return `the lockout of ${name} is on NO disk and has ended with this command: supervisor run would start ${name} again; make room, or mend the disk, and run the command again before`;
}

/** What `status` shows from now on, until a daemon runs: this bot as it is now, the others as they were known last. Never throws. */
async function leaveStatus(bot: Bot, loaded: LoadedConfig, journal: Journal, io: CliIo): Promise<void> {
  try {
    const before = await lastKnownStatus(loaded);
    const others = before?.bots.filter(({ name }) => name !== bot.plan.name) ?? [];
    const status = await supervisorStatus({
      clock: systemClock,
      version: VERSION,
      config: loaded.file,
      bots: [bot],
      backups: before?.backups ?? [],
      cgroup: detectCgroup().mode,
      journal,
      startedAt: systemClock.wallTime(),
      startedAtMs: systemClock.monotonicMs(),
    });
    const supervisor = { ...status.supervisor, pid: null, health: "down" } as const;
    writeStatus(loaded, { ...status, supervisor, bots: [...status.bots, ...others] });
  } catch (error) {
    io.err(error instanceof Error ? error.message : String(error));
  }
}

/** The same bot under another state folder, or one of its account, is not proven dead. */
function refuseOthers(plan: BotPlan, dirs: Dirs, configured: ReadonlySet<string>): void {
  try {
    refuseCopy(dirs.stateDir);
    const remains = surveyBots(dirs);
    refuseStrangers(plan, remains.find((each) => each.name === plan.name)?.identity);
    refuseSupervised(plan, remains, configured);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint =
      error instanceof Error && "hint" in error && typeof error.hint === "string" ? { hint: error.hint } : {};
    throw new DaemonError({ code: "notProven", message: why, ...hint }, CLOSE_EXIT.refused);
  }
}

/** The folder's lock. Who holds it although nobody answers may be a daemon whose socket is gone: it still runs its bots. */
function takeFolder(name: string, { stateDir, runtimeDir }: Dirs): Lock {
  const path = join(stateDir, "supervisor.lock");
  const lock = tryFolder(name, stateDir, path);
  if (lock !== undefined) return lock;
  const pid = lockHolder(path);
  const who = pid === undefined ? "a supervisor" : `the supervisor with pid ${pid}`;
  throw new DaemonError(
    {
      code: "folderTaken",
      message: `cannot close positions of ${name}: ${who} holds ${path}, and nobody answers at ${controlSocketPath(runtimeDir)}; nothing was closed`,
      hint: `restart that daemon, or send it SIGUSR2 (kill -USR2 ${pid ?? "PID"}), which closes the positions of every bot; if it is just starting, or another emergency close, wait for it`,
    },
    CLOSE_EXIT.refused,
  );
}

function tryFolder(name: string, stateDir: string, path: string): Lock | undefined {
  try {
    ensureDir(stateDir, 0o711);
    return tryLock(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new DaemonError(
      {
        code: "noFolder",
        message: `cannot close positions of ${name}: ${why}; nothing was closed`,
        hint: "run the command as the daemon's user or as root",
      },
      CLOSE_EXIT.refused,
    );
  }
}

function load(
  name: string,
  options: PlaceOptions,
  io: CliIo,
): { loaded: LoadedConfig; config: LoadedConfig["config"]["bots"][string] } {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  const config = loaded.config.bots[name];
  if (config === undefined) throw noSuchBot(name, Object.keys(loaded.config.bots));
  if (config.emergency === undefined)
    throw new DaemonError(
      {
        code: "unsupported",
        message: `cannot close positions of ${name}: it has no emergency section`,
        hint: `add bots.${name}.emergency to the config`,
      },
      CLOSE_EXIT.unsupported,
    );
  return { loaded, config };
}
