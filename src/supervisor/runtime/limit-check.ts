/** Which limits of a config this machine would not keep, told before anything is started: for `config check` and `doctor`. */
import type { LimitGap } from "../../core/limits.ts";
import type { Controllers } from "../../platform/controllers.ts";
import { planFor } from "./bot-limits.ts";
import { lookUp } from "./bot-setup.ts";
import { formatWarning } from "./config/issues.ts";
import type { BotConfig, LoadedConfig } from "./config/load.ts";

interface BotGap extends LimitGap {
  readonly bot: string;
  /** The bot would not be started for it. */
  readonly strict: boolean;
}

/** Whose cgroups a machine is judged by. */
export interface Judged {
  readonly controllers: Controllers;
  /** Pid of the daemon that has them; `undefined`: they are this process's own, and a daemon may be given others. */
  readonly pid: number | undefined;
}

/** Whether any bot has limits, so that it matters what the machine enforces. */
export function hasLimits({ config }: LoadedConfig): boolean {
  return Object.values(config.bots).some(({ limits }) => limits !== undefined);
}

export interface LimitWarning {
  readonly text: string;
  /** The bot would not be started for it. */
  readonly strict: boolean;
}

/** The gaps as warnings of the config file, one line each. */
export function limitWarnings(
  { config, issueAt }: LoadedConfig,
  { controllers, pid }: Judged,
): readonly LimitWarning[] {
  const by =
    pid === undefined ? "seen from this shell; a unit's daemon may be given others" : `for the daemon, pid ${pid}`;
  return limitGaps(Object.values(config.bots), controllers, pid).map(({ bot, key, message, strict }) => {
    const end = strict ? "; limits.strict forbids the start" : "";
    return { text: formatWarning(issueAt(["bots", bot, "limits", key], `${message}${end} (${by})`)), strict };
  });
}

/** The gaps of all bots. */
function limitGaps(bots: readonly BotConfig[], controllers: Controllers, pid: number | undefined): readonly BotGap[] {
  return bots.flatMap(({ name, limits, user }) => {
    if (limits === undefined) return [];
    const { gaps } = planFor(limits, controllers, lookUp(user).user, pid);
    return gaps.map((gap) => ({ ...gap, bot: name, strict: limits.strict && gap.watched !== true }));
  });
}
