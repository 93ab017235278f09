/** What a reload asks of a bot's state. */
import type { State } from "../../../core/lifecycle-types.ts";
import type { Bot } from "../bot.ts";

export function isUp({ kind }: State): boolean {
  return kind === "starting" || kind === "running";
}

export function atRest({ kind }: State): boolean {
  return kind !== "starting" && kind !== "stopping";
}

export function isDown(kind: State["kind"]): boolean {
  return ["stopped", "halted", "locked"].includes(kind);
}

/** Its account is not proven safe, or something of it cannot be killed: it must keep its account, its keys and its watch. */
export function inEmergency(state: State): boolean {
  switch (state.kind) {
    case "recovering":
    case "stuck":
      return true;
    case "locked":
      return state.outcome !== "flat";
    case "stopping":
      return state.after.kind === "recover" || state.after.kind === "lock";
    case "stopped":
    case "starting":
    case "running":
    case "backoff":
    case "halted":
      return false;
  }
}

export interface Outcome {
  readonly note?: string;
  readonly error?: string;
}

/** What a person is told of a bot that has its new definition; `waits` and `notes` as in `Reloader`. */
export function outcomeOf(bot: Bot, { waits, notes }: { waits: boolean; notes: boolean }): Outcome {
  const { state } = bot.loop;
  if (!waits && !notes) return {};
  switch (state.kind) {
    case "halted":
      if (waits) return { error: `it does not come up: ${state.reason}` };
      return { note: `it is halted and has its new definition; to start it: supervisor start ${bot.plan.name}` };
    case "stopped":
      if (bot.turn.isDue) return { note: "it waits to be started; the status says for what" };
      return { note: `it is stopped; to start it: supervisor start ${bot.plan.name}` };
    case "backoff":
      return waits ? { error: `it does not come up: ${state.lastExit?.detail ?? "it ended"}` } : {};
    case "locked":
      return { note: `it stays locked out; when it is safe: supervisor arm ${bot.plan.name} --reason TEXT` };
    case "recovering":
      return { note: "its positions are being closed with the settings that the close began with" };
    case "starting":
    case "stopping":
    case "stuck":
      return waits ? { error: `it is still ${state.kind}; its new definition holds from its next start on` } : {};
    case "running":
      return {};
  }
}
