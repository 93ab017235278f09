/** What speaks against a reload, wholly or for one bot, and what of a living bot is not as its definition says. */
import { existsSync } from "node:fs";
import type { KeyChange } from "../../../core/reload.ts";
import { planBot } from "../bot-plan.ts";
import { definitionNow, missingProgram } from "../bot-setup.ts";
import type { Bot } from "../bot.ts";
import type { BotConfig, Config, Dirs, LoadedConfig } from "../config/load.ts";
import type { Fleet } from "../fleet.ts";
import type { ReloadPlan } from "./plan.ts";
import { inEmergency, isUp } from "./states.ts";

/** Why nothing of the plan may be done; `undefined` when it may. */
export function refusalOf(
  plan: ReloadPlan,
  after: Pick<Config, "emergencyFile">,
  bots: ReadonlyMap<string, Pick<Bot, "loop" | "owed">>,
): string | undefined {
  const own = plan.changes.filter(({ meaning }) => meaning === "supervisor").map(({ key }) => key);
  if (own.length > 0)
    return `${own.join(", ")} ${own.length === 1 ? "needs" : "need"} a restart of the supervisor, which stops and starts its bots`;
  if (plan.changes.some(({ key }) => key === "emergencyFile") && existsSync(after.emergencyFile))
    return `the new emergencyFile ${after.emergencyFile} exists, which would close the positions of every bot; remove it first`;
  for (const { name, after: now, before, replaced } of plan.bots) {
    const bot = bots.get(name);
    const goes = now === undefined || replaced;
    // Who has its name next goes by what is on the disk.
    if (goes && bot?.owed !== undefined) return `of bot ${name}: ${bot.owed}`;
    const state = bot?.loop.state;
    if (state === undefined || !inEmergency(state)) continue;
    const loses = goes || (before?.emergency !== undefined && now.emergency === undefined);
    if (loses)
      return `bot ${name} is ${state.kind} and must keep its account and its emergency section until its account is flat; see: supervisor status ${name}`;
  }
  return undefined;
}

/** Why a living bot must not be ended for a definition that could not be started now; `undefined` when every one could. */
export function programRefusal({ bots }: ReloadPlan, { dirs, env }: LoadedConfig, fleet: Fleet): string | undefined {
  for (const { name, after, meaning, replaced } of bots) {
    const bot = fleet.bots.get(name);
    if (bot === undefined || after === undefined || !(replaced || meaning === "restart") || !isUp(bot.loop.state))
      continue;
    const missing = missingProgram(planBot(name, after, dirs), env);
    if (missing === undefined) continue;
    return `bot ${name} runs, and its new definition cannot be started: ${missing} (cwd ${after.cwd}); correct bots.${name}.command, or install the program, and reload again`;
  }
  return undefined;
}

/** Why a bot must not be taken in: another one that could not be let go of has its account. */
export function collision(config: BotConfig | undefined, fleet: Fleet): string | undefined {
  const other = fleet.all.find(({ plan, latestPlan }) =>
    [plan.account, latestPlan.account].some((account) => account === config?.account),
  );
  return other === undefined ? undefined : `account ${config?.account} is still that of bot ${other.plan.name}`;
}

/** Whether what lives of a bot was started otherwise than `after` would start it now, although the config says the same. */
export function staleness(fleet: Fleet, after: BotConfig, dirs: Dirs): KeyChange | undefined {
  const bot = fleet.bots.get(after.name);
  if (bot?.definition === undefined || !isUp(bot.loop.state)) return undefined;
  if (definitionNow(planBot(after.name, after, dirs)) === bot.definition) return limitStaleness(bot);
  if (bot.outdated || after.envFile === undefined)
    return { key: "definition", before: "as it was started", after: "as the config says", meaning: "restart" };
  return { key: "envFile", before: "content as it was started with", after: "content of now", meaning: "restart" };
}

/** Limits that came while no daemon lived, and that only a start can make hold. */
function limitStaleness({ limits: { unmet } }: Bot): KeyChange | undefined {
  if (unmet.length === 0) return undefined;
  return {
    key: "limits",
    before: `not in force: ${unmet.join(", ")}`,
    after: "as the config says",
    meaning: "restart",
  };
}
