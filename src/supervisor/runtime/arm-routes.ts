/** What the control socket answers to a person who ends a lockout: who is let on its account again, and what speaks against it. */
import { retriesByItself } from "../../core/ladder.ts";
import { preflightTrouble } from "../../core/preflight.ts";
import type { Clock } from "../../platform/clock.ts";
import { lockHolder, tryLockThere } from "../../platform/lock.ts";
import { armBody, json, leavingRefusal, readBody, refuse } from "./api.ts";
import type { Bot } from "./bot.ts";
import { closingRefusal } from "./emergency-routes.ts";
import { failureOf } from "./failure-of.ts";
import { isClosing } from "./live-plan.ts";
import { planClose } from "./planning.ts";
import { plight, upAnswer } from "./run-routes.ts";

interface Asked {
  readonly deps: { readonly clock: Clock; readonly env: Readonly<Record<string, string | undefined>> };
  readonly bot: Bot;
  readonly request: Request;
}

export async function arm({ deps, bot, request }: Asked): Promise<Response> {
  const body = await readBody(request, armBody);
  if ("refusal" in body) return body.refusal;
  const { state } = bot.loop;
  const { name } = bot.plan;
  if (bot.leaving) return leavingRefusal(name);
  if (isClosing(state)) return closingRefusal(bot, "arm");
  const early =
    state.kind === "locked" && state.trigger === "dailyLoss" ? bot.guard.watch.limits.armRefusal() : undefined;
  if (early !== undefined)
    return refuse(409, {
      code: "tooEarly",
      message: `cannot arm ${name}: ${early}`,
      hint: "wait; who takes the risk on purpose raises or removes the limit in the config, reloads, and arms then",
    });
  if (state.kind !== "locked") return armUnlocked(bot, body.value.reason);
  if (state.outcome !== "flat" && !body.value.acceptPositions) {
    const slow = retriesByItself(state.outcome) && bot.lockout?.acknowledgedAt === undefined;
    const again = slow ? "; the close is tried again by itself every 30 s" : "";
    return refuse(409, {
      code: "notFlat",
      message: `cannot arm ${name}: its positions are not proven closed (${state.outcome})${again}`,
      hint: `supervisor emergency plan ${name} shows them; --accept-positions arms it all the same`,
    });
  }
  const { acceptPositions } = body.value;
  const unfit = acceptPositions
    ? undefined
    : (earlierOpen(bot) ?? (await positionsSince(deps, bot)) ?? (await preflightRefusal(bot)));
  if (unfit !== undefined) return unfit;
  // The reading took a moment, in which somebody else may have armed it, or closed again, or a reload has begun to replace it.
  if (bot.leaving) return leavingRefusal(name);
  if (bot.loop.state.kind !== "locked")
    return refuse(409, { code: "notLocked", message: `cannot arm ${name}: it is ${bot.loop.state.kind} by now` });
  const closing = stillClosed(bot);
  if (closing !== undefined) return closing;
  bot.fact("alert", `re-armed by a person: ${body.value.reason}`);
  bot.loop.post({ kind: "arm", acceptPositions: body.value.acceptPositions });
  if (!bot.loop.state.wanted) return json({ bot: name, state: bot.loop.state.kind, started: false });
  const up = await upAnswer(bot, "start");
  if (up.ok) return json({ bot: name, state: bot.loop.state.kind, started: true });
  return json({ bot: name, started: false, ...plight(bot) });
}

/** That the present account is flat says nothing of one that the bot had before, whose close `arm` would end with it. */
function earlierOpen({ plan: { name, account }, emergency }: Bot): Response | undefined {
  const why = emergency.lockout.openElsewhere;
  if (why === undefined) return undefined;
  return refuse(409, {
    code: "notFlat",
    message: `cannot arm ${name}: account ${account} is flat, but ${why}`,
    hint: "give the bot that account back and start the supervisor again, and the close goes on; or look at the account: --accept-positions arms it all the same",
  });
}

/** The worker of an earlier supervisor's close may outlive what this one knows of it, and would close the positions of the bot. */
function stillClosed({ plan: { name, files } }: Bot): Response | undefined {
  let why: string;
  try {
    const lock = tryLockThere(files.accountLock);
    if (lock !== undefined && lock !== "none") lock.release();
    if (lock !== undefined) return undefined;
    const pid = lockHolder(files.accountLock);
    why = `a close of its account that an earlier supervisor began is still at work${pid === undefined ? "" : ` (pid ${pid})`}`;
  } catch (error) {
    why = `it cannot be told whether a close of its account is still at work: ${error instanceof Error ? error.message : String(error)}`;
  }
  return refuse(409, {
    code: "inProgress",
    message: `cannot arm ${name}: ${why}`,
    hint: "try again when it has ended",
  });
}

/** A bot that is not locked may still be held to little since its data was restored: a person ends that too. */
function armUnlocked(bot: Bot, reason: string): Response {
  const { name } = bot.plan;
  const { kind } = bot.loop.state;
  if (!bot.restored.unreconciled)
    return refuse(409, {
      code: "notLocked",
      message: `cannot arm ${name}: it is ${kind}, not locked`,
      ...(bot.turn.keptDown === undefined
        ? {}
        : { hint: `it is kept down: ${bot.turn.keptDown}; to start it: supervisor start ${name}` }),
    });
  const why = failureOf(() => bot.reconciled(`a person: ${reason}`));
  if (why !== undefined)
    return refuse(500, {
      code: "notNoted",
      message: `cannot arm ${name}: it cannot be noted that its records agree: ${why}`,
    });
  return json({ bot: name, state: kind, started: kind === "running", reconciled: true });
}

/** A bot whose next emergency would fail is not let on its account again, unless a person takes that upon himself. */
async function preflightRefusal(bot: Bot): Promise<Response | undefined> {
  const { name, policy } = bot.plan;
  if (policy.emergency === undefined) return undefined;
  const trouble = preflightTrouble(await bot.guard.preflights.run(false));
  if (trouble === undefined) return undefined;
  return refuse(409, {
    code: "preflight",
    message: `cannot arm ${name}: an emergency close would not work: ${trouble}`,
    hint: `repair it, then see: supervisor emergency preflight ${name}; --accept-positions arms it all the same`,
  });
}

/** The account was flat when the close ended; a person who arms says that it still is. Read, it may tell otherwise. */
async function positionsSince(deps: Asked["deps"], bot: Bot): Promise<Response | undefined> {
  const { name, policy } = bot.plan;
  if (policy.emergency === undefined) return undefined;
  const end = await planClose(bot, deps);
  if (end.kind === "report") bot.emergency.see(end.report);
  if (end.kind === "report" && end.report.outcome === "flat") return undefined;
  const why =
    end.kind === "failed"
      ? `its account cannot be read: ${end.reason}`
      : end.report.outcome === "planNotEmpty"
        ? "its account was flat after the close and is not any more"
        : `its account cannot be read: ${end.report.reason}`;
  return refuse(409, {
    code: "notFlat",
    message: `cannot arm ${name}: ${why}`,
    hint: `supervisor emergency plan ${name} shows what is open; --accept-positions arms it all the same`,
  });
}
