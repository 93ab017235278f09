/** What a reload asks of a bot's state. */
import type { State } from "../../../core/lifecycle-types.ts";

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
