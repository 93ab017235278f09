/** What monitors learn from one HTTP code: ready or not, and whether somebody must come; the contract's section "HTTP". */
import type { BotStatus, Status } from "./status.ts";

/** 503 when an account is being made safe, or a bot is locked out or held at a level that needs a person; else 200. */
export function healthHttpStatus({ bots }: Status): 200 | 503 {
  return bots.some(needsPerson) ? 503 : 200;
}

function needsPerson({ state, level }: BotStatus): boolean {
  return state === "locked" || state === "recovering" || level === "minimal" || level === "emergency";
}

/**
 * Those of `names` that should be ready and are not, each with its state; one that the status does not know yet counts as
 * starting. A bot that has done its work is passed over; one that a person stopped is not, for it earns nothing.
 */
export function notReady(names: readonly string[], { bots }: Status): readonly string[] {
  return names.flatMap((name) => {
    const bot = bots.find((each) => each.name === name);
    return bot?.ready === true || isDone(bot) ? [] : [`${name} (${bot?.state ?? "starting"})`];
  });
}

/** It ended by itself with code 0, and its restart policy lets that stand. */
function isDone(bot: BotStatus | undefined): boolean {
  return bot?.state === "stopped" && !bot.wanted && bot.lastExit?.cause === "exited" && bot.lastExit.code === 0;
}
