/** What the control socket answers to the emergency commands: plan, close, and a person's word that no further round is wanted. */
import { FLAT, type CloseGoal } from "../../core/close-goal.ts";
import { closeCommand, planCommand } from "../../core/close-next.ts";
import { retriesByItself } from "../../core/ladder.ts";
import { acknowledgeBody, emergencyBody, json, leavingRefusal, readBody, refuse } from "./api.ts";
import type { Bot } from "./bot.ts";
import type { Confirmations } from "./confirmations.ts";
import { isClosing } from "./live-plan.ts";
import { planClose } from "./planning.ts";
import type { Clock } from "../../platform/clock.ts";

interface Asked {
  readonly deps: { readonly clock: Clock; readonly env: Readonly<Record<string, string | undefined>> };
  readonly confirmations: Confirmations;
  readonly bot: Bot;
  readonly request: Request;
}

export async function emergency({ deps, confirmations, bot, request }: Asked): Promise<Response> {
  const body = await readBody(request, emergencyBody);
  if ("refusal" in body) return body.refusal;
  const { name, account: own } = bot.plan;
  // Its name, its files and its account may be another one's since the request began.
  if (bot.loop.isRetired) return leavingRefusal(name);
  const { goal = FLAT } = body.value;
  const aim = { bot: name, account: own, goal };
  if (bot.plan.policy.emergency === undefined)
    return refuse(409, {
      code: "unsupported",
      message: `cannot close positions of ${name}: it has no emergency section`,
      hint: `add bots.${name}.emergency to the config: exchange, apiKeyFile, apiSecretFile`,
    });
  if (body.value.mode === "plan") {
    const end = await planClose(bot, deps, goal);
    if (end.kind === "failed") return refuse(500, { code: "failed", message: `cannot plan: ${end.reason}` });
    if (bot.loop.isRetired) return leavingRefusal(name);
    bot.emergency.see(end.report);
    return json({ report: end.report, token: confirmations.issue(aim, end.report) });
  }
  const { yes, confirm, account } = body.value;
  const unconfirmed =
    confirm === undefined && yes ? accountRefusal(aim, account) : tokenRefusal(confirmations, aim, confirm ?? "");
  if (unconfirmed !== undefined) return refuse(403, unconfirmed);
  if (isTaken(bot, goal)) return closingRefusal(bot, "close positions of");
  bot.loop.post({ kind: "emergency", trigger: "operator", reason: "an operator asked for it", goal });
  return json({ bot: name, state: bot.loop.state.kind, incident: bot.lockout?.incident ?? null });
}

/** While the bot is fenced for a close, an order to close everything is added to it, and a lesser one changes nothing. */
function isTaken({ loop: { state } }: Bot, goal: CloseGoal): boolean {
  return state.kind === "recovering" || (goal.kind !== "flat" && isClosing(state));
}

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The close that is asked for. */
interface Aim {
  readonly bot: string;
  readonly account: string;
  readonly goal: CloseGoal;
}

function tokenRefusal(confirmations: Confirmations, aim: Aim, token: string): Refusal | undefined {
  const { bot, account, goal } = aim;
  if (confirmations.redeem(aim, token)) return undefined;
  return {
    code: "notConfirmed",
    message:
      token === ""
        ? `cannot close positions of ${bot}: not confirmed`
        : `cannot close positions of ${bot}: not confirmed: the token is not that of a plan of the last 120 s with the same options, or has been used`,
    hint: `${planCommand(bot, goal)} prints a token for --confirm, good for 120 s; without one: ${closeCommand(bot, account, goal)}`,
  };
}

/** Who says yes without having seen the account names it, where its name is not the bot's own; a wrong name is always refused. */
export function accountRefusal({ bot, account, goal }: Aim, named: string | undefined): Refusal | undefined {
  if (named === account || (named === undefined && account === bot)) return undefined;
  return {
    code: "notConfirmed",
    message:
      named === undefined
        ? `cannot close positions of ${bot}: --yes alone does not say of which account`
        : `cannot close positions of ${bot}: it trades on the account ${account}, not on ${named}`,
    hint: `if that account is meant: ${closeCommand(bot, account, goal)}`,
  };
}

/** The slow rounds end, and the bot stays locked. */
export async function acknowledge({ bot, request }: Pick<Asked, "bot" | "request">): Promise<Response> {
  const body = await readBody(request, acknowledgeBody);
  if ("refusal" in body) return body.refusal;
  const { name } = bot.plan;
  if (bot.leaving) return leavingRefusal(name);
  const { state } = bot.loop;
  if (isClosing(state)) return closingRefusal(bot, "acknowledge the emergency of");
  if (state.kind !== "locked" || !retriesByItself(state.outcome))
    return refuse(409, {
      code: "nothingOpen",
      message: `cannot acknowledge the emergency of ${name}: no close of it is tried again by itself`,
      hint: `see: supervisor status ${name}`,
    });
  if (bot.lockout?.acknowledgedAt === undefined) {
    const { reason, by } = body.value;
    bot.emergency.noteAcknowledgement(reason, by);
    bot.fact("alert", `acknowledged by a person${by === undefined ? "" : ` (${by})`}: ${reason}`);
    bot.loop.post({ kind: "acknowledge" });
  }
  return json({ bot: name, state: state.kind, incident: bot.lockout?.incident ?? null, outcome: state.outcome });
}

export function closingRefusal({ plan, lockout, emergency: { view } }: Bot, verb: string): Response {
  const since = lockout === undefined ? "" : ` (incident ${lockout.incident}, open since ${lockout.lockedAt})`;
  const now = view === undefined ? "" : `; now: ${view.text}`;
  return refuse(409, {
    code: "inProgress",
    message: `cannot ${verb} ${plan.name}: a close is in progress${since}${now}`,
    hint: `try again when it has ended; watch it with: supervisor status ${plan.name} --watch`,
  });
}
