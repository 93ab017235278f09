/** Which limits of a config this machine would not keep, told before anything is started: for `config check` and `doctor`. */
import type { LimitGap } from "../../core/limits.ts";
import { detectCgroup } from "../../platform/cgroup.ts";
import { findControllers } from "../../platform/controllers.ts";
import { planFor } from "./bot-limits.ts";
import { lookUp } from "./bot-setup.ts";
import { formatWarning } from "./config/issues.ts";
import type { BotConfig, LoadedConfig } from "./config/load.ts";

interface BotGap extends LimitGap {
  readonly bot: string;
  /** The bot would not be started for it. */
  readonly strict: boolean;
}

/** The gaps as warnings of the config file, one line each. */
export function limitWarnings({ config, issueAt }: LoadedConfig): readonly string[] {
  return limitGaps(Object.values(config.bots)).map(({ bot, key, message, strict }) => {
    const end = strict ? "; limits.strict forbids the start" : "";
    return formatWarning(issueAt(["bots", bot, "limits", key], `${message}${end}`));
  });
}

/** The gaps of all bots. Tries cgroups for real where a bot has limits, and leaves none behind. */
function limitGaps(bots: readonly BotConfig[]): readonly BotGap[] {
  if (bots.every(({ limits }) => limits === undefined)) return [];
  const controllers = findControllers(detectCgroup());
  return bots.flatMap(({ name, limits, user }) => {
    if (limits === undefined) return [];
    const { gaps } = planFor(limits, controllers, lookUp(user).user);
    return gaps.map((gap) => ({ ...gap, bot: name, strict: limits.strict }));
  });
}
