/** How the daemon begins with a bot: it ends leftovers, honours a lockout, closes if that is the order, or starts. */
import { firstAct, meaningOf, type FirstAct } from "../../core/first-act.ts";
import type { CarriedBot } from "../../core/upgrade.ts";
import type { Bot } from "./bot.ts";
import type { Begin } from "./bot-deps.ts";

/** What of a bot is nobody's but its own. */
interface Inside {
  /** What an earlier version handed over, and still holds. */
  readonly carried: CarriedBot | undefined;
  /** Whatever would start it halts it from here on, for this reason. */
  readonly hold: (why: string) => void;
  readonly setLevel: () => void;
  /** As in `BotDeps`. */
  readonly endedCleanly?: boolean;
}

/**
 * With `held`, the reason why it must not be started, the bot is halted; an interrupted close goes on all the same. With
 * `waitsFor`, its start is left to who knows when those bots are ready.
 */
export function begin(bot: Bot, inside: Inside, given: Begin): void {
  const how = forOwnAccount(bot, given);
  const { emergency: order, held, waitsFor = [], wanted: told, census } = how;
  const { plan, turn, loop } = bot;
  const { carried, setLevel } = inside;
  if (held !== undefined) inside.hold(held);
  if (bot.doubt.text !== undefined) return holdBack(bot, inside, how);
  bot.process.noteSessions(census);
  bot.limits.tellGaps();
  const { emergency, keptDown, vain } = meaningOf(order, plan.policy.emergency !== undefined);
  if (vain !== undefined) bot.order(vain);
  // What kept it down before an upgrade still does.
  if (carried?.kind === "stopped" && carried.reason !== "") turn.keptDown = carried.reason;
  // Whoever arms a bot ends its lock before its files: one that was handed over locked has lost them.
  if (carried?.kind === "locked" && bot.lockout === undefined && emergency?.taken !== true)
    bot.emergency.lockout.restoreLost("it was locked before the upgrade, and its lockout is not on disk any more");
  const stopped = findStop(bot, inside, told);
  const wanted = told ?? carried?.wanted ?? (stopped === undefined && plan.config.autostart);
  // Whoever tells that has seen the end of the last start; and one that a person had stopped is not gone on with.
  const fresh = told !== undefined || (stopped ?? emergency ?? keptDown ?? bot.lockout) !== undefined;
  // One that is stopped and wanted waits for the bots that its `after` names.
  const rests = carried?.kind === "halted" || (carried?.kind === "stopped" && !carried.wanted);
  // The version before us has proven the last start of one in backoff gone.
  const leftMs = carried?.kind === "backoff" ? carried.backoffLeftMs : undefined;
  if (!fresh && leftMs !== undefined) loop.post({ kind: "backoffFound", leftMs });
  if (!fresh && (rests || leftMs !== undefined || bot.process.adopt(bot.before))) return setLevel();
  const leftovers = bot.process.leftovers(census);
  if (leftovers.length > 0) loop.post({ kind: "leftovers", pids: leftovers });
  setLevel();
  const { lockout } = bot;
  const act = firstAct({ emergency, keptDown, lockout, wanted, leftovers: leftovers.length > 0 });
  return perform(bot, act, wanted, waitsFor);
}

/**
 * Without an order that an earlier supervisor had taken for the account that the bot had then: it locks the bot, and closes nothing of the one
 * that it has now. And without one that is over: only a person who armed the bot can have let it start since, also where a full disk kept
 * that from the journal.
 */
function forOwnAccount(bot: Bot, given: Begin): Begin {
  const { before, plan, lockout } = bot;
  const store = bot.emergency.lockout;
  const { emergency, ...rest } = given;
  if (emergency?.taken !== true || before === undefined) return given;
  if (emergency.generation !== undefined && before.generation > emergency.generation) {
    bot.fact(
      "warn",
      `its last emergency (${emergency.reason}) is over, as the bot was started since; the journal lacks its end`,
    );
    return rest;
  }
  if (before.account === plan.account) return given;
  if (lockout === undefined)
    store.restoreLost(
      `an earlier supervisor was about to close account ${before.account} (${emergency.reason}), and the config gives the bot account ${plan.account} by now: neither is closed for it; look at account ${before.account}, then arm the bot`,
    );
  return rest;
}

/**
 * What keeps a bot down that a person had stopped when the supervisor died; `undefined`: nothing does. The clean end of a supervisor takes
 * that back, and a version that hands over says by itself what it knew.
 */
function findStop(bot: Bot, { carried, endedCleanly }: Inside, told: boolean | undefined): string | undefined {
  const { before, plan, turn, loop } = bot;
  const { generation } = loop.state;
  if (carried !== undefined) {
    if (carried.staysDown === true) turn.stop.find({ generation, bootId: before?.bootId });
    if (carried.staysDown === true) turn.stop.note(generation);
    else turn.stop.forget();
    return undefined;
  }
  if (told === undefined && endedCleanly === true) turn.stop.forget();
  else turn.stop.find({ generation, bootId: before?.bootId });
  const { foundText } = turn.stop;
  if (told !== undefined || foundText === undefined) return undefined;
  bot.fact("info", `stays down: ${foundText}; to start it: supervisor start ${plan.name}`);
  return foundText;
}

/** Nothing of a bot in doubt is adopted, ended or started. A close goes on, or is begun, and is refused for as long as the doubt lasts. */
function holdBack(bot: Bot, inside: Inside, { emergency: order, wanted: told }: Begin): void {
  const { plan, lockout, doubt } = bot;
  bot.fact("alert", `neither started nor closed nor ended: ${doubt.text}`);
  inside.setLevel();
  const stopped = findStop(bot, inside, told);
  if (stopped !== undefined) bot.loop.post({ kind: "stop" });
  const wanted = told ?? (stopped === undefined && plan.config.autostart);
  const { emergency, vain } = meaningOf(order, plan.policy.emergency !== undefined);
  const given = emergency ?? vain;
  if (lockout !== undefined)
    return perform(bot, firstAct({ emergency, keptDown: undefined, lockout, wanted, leftovers: false }), wanted, []);
  return given === undefined ? undefined : bot.order(given, wanted);
}

function perform(bot: Bot, act: FirstAct, wanted: boolean, waitsFor: readonly string[]): void {
  switch (act.kind) {
    case "lock":
      bot.loop.post(act.found);
      return act.order === undefined ? undefined : bot.order(act.order);
    case "emergency":
      return bot.order(act.order, wanted);
    case "keepDown":
      bot.turn.keptDown = act.reason;
      return undefined;
    case "start":
      if (waitsFor.length === 0) return bot.turn.come();
      bot.turn.waitsFor = waitsFor;
      return undefined;
    case "rest":
      return undefined;
  }
}
