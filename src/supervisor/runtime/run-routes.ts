/** What the control socket answers to the commands that start, stop and restart a bot: when it is up or down, or why it is not. */
import { EXTEND_LIMIT_FACTOR, longestStopMs } from "../../core/lifecycle-moves.ts";
import type { State } from "../../core/lifecycle-types.ts";
import { pidsText } from "../../core/pids-text.ts";
import { json, refuse } from "./api.ts";
import type { Bot } from "./bot.ts";
import { missingForStart } from "./bot-setup.ts";

/** Time beyond a bot's own timeouts, with all that it may extend them by, after which a command answers that its deed is still under way, ms. */
const ANSWER_MARGIN_MS = 10_000;

/** Why a start is forbidden in this state; `undefined` when it is not. */
function startRefusal(bot: Bot): Response | undefined {
  const { state } = bot.loop;
  const { name } = bot.plan;
  switch (state.kind) {
    case "locked":
      return refuse(409, {
        code: "locked",
        message: `cannot start ${name}: it is locked since its emergency (${state.reason})`,
        hint: `look at the account, then: supervisor arm ${name} --reason TEXT`,
      });
    case "recovering":
      return refuse(409, {
        code: "emergency",
        message: `cannot start ${name}: its positions are being closed`,
        hint: `watch it with: supervisor status ${name}`,
      });
    case "stuck":
      return refuse(409, {
        code: "stuck",
        message: `cannot start ${name}: processes of its last start cannot be killed (${pidsText(state.pids)})`,
        hint: "they are tried again every 5 s; a process in state D waits for the kernel or a disk",
      });
    case "stopped":
    case "starting":
    case "running":
    case "stopping":
    case "backoff":
    case "halted":
      return undefined;
  }
}

const settledUp = (state: State): boolean => !["starting", "stopping"].includes(state.kind);
const settledDown = (state: State): boolean => !["starting", "running", "stopping", "backoff"].includes(state.kind);

function answerTimeoutMs(bot: Bot): number {
  const { startTimeout, stopTimeout } = bot.plan.policy;
  return EXTEND_LIMIT_FACTOR * startTimeout + longestStopMs({ stopTimeout }) + ANSWER_MARGIN_MS;
}

export async function start(bot: Bot, request: Request): Promise<Response> {
  const refusal = startRefusal(bot);
  if (refusal !== undefined) return refusal;
  const target = restoredTarget(request);
  // Who has stopped it meanwhile has the last word.
  if (target !== undefined && bot.turn.staysDown)
    return json({ bot: bot.plan.name, state: bot.loop.state.kind, staysDown: true });
  const already = bot.loop.state.kind === "running";
  if (target !== undefined) bot.fact("info", `the restore of ${target} that had stopped it starts it again`);
  bot.loop.post({ kind: "start" });
  return upAnswer(bot, "start", already);
}

/** A bot that is up is not ended for a start that cannot work: with its positions open it would be down, and then they are closed. */
export async function restart(bot: Bot, env: Readonly<Record<string, string | undefined>>): Promise<Response> {
  const refusal = startRefusal(bot);
  if (refusal !== undefined) return refusal;
  const { name } = bot.plan;
  const missing = settledDown(bot.loop.state) ? undefined : missingForStart(bot.latestPlan, env);
  if (missing !== undefined)
    return refuse(409, {
      code: "cannotStart",
      message: `cannot restart ${name}: it is up, and could not be started again: ${missing}`,
      hint: `mend that first; to stop it all the same: supervisor stop ${name}`,
    });
  bot.loop.post({ kind: "restart" });
  return upAnswer(bot, "restart");
}

/** Answers when it is up, or clearly not. */
export async function upAnswer(bot: Bot, verb: string, already = false): Promise<Response> {
  await bot.loop.settles(settledUp, answerTimeoutMs(bot));
  const { state, reason } = plight(bot);
  if (state === "running") return json({ bot: bot.plan.name, state, ...(already ? { already } : {}) });
  return refuse(500, {
    code: "notRunning",
    message: `cannot ${verb} ${bot.plan.name}: it is ${state}: ${reason}`,
    hint:
      bot.loop.state.lastExit?.cause === "spawnFailed"
        ? `it never ran, so it has no output; look at command, cwd, user and envFile of bots.${bot.plan.name} in the config`
        : `see: supervisor logs ${bot.plan.name}`,
  });
}

const TARGET = /^[a-z][a-z0-9-]{0,31}$/;

/** The target of the restore that asks; its name goes into a sentence. `undefined`: a person asks. */
function restoredTarget(request: Request): string | undefined {
  if (!request.url.includes("?")) return undefined;
  const target = new URL(request.url).searchParams.get("restore") ?? "";
  return TARGET.test(target) ? target : undefined;
}

export async function stop(bot: Bot, request: Request): Promise<Response> {
  const already = settledDown(bot.loop.state);
  const target = restoredTarget(request);
  // A restore that comes to a bot which a person has stopped already does not take that back. Killed on the next line, we have not
  // stopped it yet: the next supervisor ends it.
  if (target === undefined) bot.turn.stop.note(bot.loop.state.generation);
  bot.loop.post({ kind: "stop", ...(target === undefined ? {} : { why: `stopped for a restore of ${target}` }) });
  const overtaken = (state: State): boolean => state.wanted && !settledDown(state);
  const down = await bot.loop.settles((state) => settledDown(state) || overtaken(state), answerTimeoutMs(bot));
  const { state } = bot.loop;
  if (overtaken(state))
    return refuse(409, {
      code: "overtaken",
      message: `cannot say that ${bot.plan.name} is stopped: it was to be started again before it was down`,
      hint: `the last command holds; see: supervisor status ${bot.plan.name}`,
    });
  if (down && state.kind !== "stuck")
    return json({ bot: bot.plan.name, state: state.kind, ...(already ? { already } : {}) });
  return refuse(500, { code: "notStopped", message: `cannot stop ${bot.plan.name}: it is ${state.kind}` });
}

/** Why a bot is not running, as far as it is known. */
export function plight({ loop: { state } }: Bot): { state: State["kind"]; reason: string } {
  const reason = "reason" in state ? state.reason : (state.lastExit?.detail ?? "it is not running yet");
  return { state: state.kind, reason };
}
