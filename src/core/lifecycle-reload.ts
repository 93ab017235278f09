/** What happens to a living bot's clocks when its policy is replaced by a reload. Handlers of the table in lifecycle.ts. */
import { carry, clearTimer, closeDelayMs, countClosing, setTimer, unchanged } from "./lifecycle-moves.ts";
import type { After, Effect, Event, Of, Policy, State, Step } from "./lifecycle-types.ts";

type NewPolicy = Of<Event, "newPolicy">;
/** States in which `closeAfter` may count. */
type Clocked = Of<State, "starting" | "running" | "backoff" | "halted" | "stopping" | "stuck">;

/** `startTimeout` holds for the start that is under way, counted from its begin. */
export function newPolicyWhileStarting(policy: Policy, state: Of<State, "starting">, event: NewPolicy): Step {
  const next = reclock(policy, state, event);
  if (event.before.startTimeout === policy.startTimeout) return next;
  const deadlineMs = state.sinceMs + policy.startTimeout;
  return {
    state: { ...state, closeClock: next.state.closeClock, deadlineMs },
    effects: [...next.effects, setTimer("start", Math.max(0, deadlineMs - event.atMs))],
  };
}

/** `resetAfter` counts anew for a bot that is healthy. */
export function newPolicyWhileRunning(policy: Policy, state: Of<State, "running">, event: NewPolicy): Step {
  const next = reclock(policy, state, event);
  if (state.health !== "healthy" || event.before.resetAfter === policy.resetAfter) return next;
  return { state: next.state, effects: [...next.effects, setTimer("stable", policy.resetAfter)] };
}

/**
 * `closeAfter` goes on with the time that it has counted already. It begins where an emergency section is new and the bot
 * is not healthy, and ends where the section is gone, unless the emergency is under way. Maintenance is the same as no section.
 */
export function reclock(policy: Policy, state: Clocked, event: NewPolicy): Step {
  if (underWay(state)) return unchanged(state);
  if (policy.emergency === undefined || policy.emergency.suspended === true) {
    if (state.closeClock === "off") return unchanged(state);
    const effects: readonly Effect[] = [clearTimer("closeAfter"), clearTimer("settled")];
    return { state: { ...state, closeClock: "off" }, effects };
  }
  if (state.closeClock === "counting" && event.countedMs !== undefined) {
    const { countedMs } = event;
    const leftMs = closeDelayMs(policy.emergency, event.atMs - countedMs) - countedMs;
    return { state, effects: [setTimer("closeAfter", Math.max(0, leftMs))] };
  }
  if (state.closeClock !== "off" || !isAtRisk(state)) return unchanged(state);
  const closing = countClosing(policy, carry(state), event.atMs);
  return { state: { ...state, closeClock: closing.closeClock }, effects: closing.effects };
}

function underWay(state: Clocked): boolean {
  if (state.kind !== "stopping" && state.kind !== "stuck") return false;
  return state.after.kind === "recover" || state.after.kind === "lock";
}

/** Its positions may be without a bot that looks after them. */
function isAtRisk(state: Clocked): boolean {
  switch (state.kind) {
    case "starting":
    case "backoff":
    case "halted":
      return true;
    case "running":
      return state.health !== "healthy";
    case "stopping":
    case "stuck":
      return comesBack(state.after);
  }
}

function comesBack(after: After): boolean {
  return after.kind === "restart" || after.kind === "halt";
}
