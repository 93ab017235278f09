/** What happens to a bot that is starting or running. Handlers of the table in lifecycle.ts. */
import {
  becomeRunning,
  carry,
  clearTimer,
  countClosing,
  extended,
  fence,
  isBooting,
  leaveWatch,
  note,
  restartAtOnce,
  setTimer,
  SETTLED_MS,
  stopPolitely,
  sweepPhase,
  unchanged,
} from "./lifecycle-moves.ts";
import type { Effect, Event, ExitInfo, Of, Policy, State, Step, After } from "./lifecycle-types.ts";

type Up = Of<State, "starting"> | Of<State, "running">;

const overdue = { trigger: "closeAfter", reason: "no healthy bot for the time of closeAfter" } as const;

const ended = (cause: ExitInfo["cause"], detail: string): ExitInfo => ({ cause, code: null, signal: null, detail });

export function stopByOperator(policy: Policy, state: Up, event: Of<Event, "stop">): Step {
  const exit = ended("stopped", event.why ?? "stopped by the operator");
  return stopPolitely(policy, { ...state, wanted: false }, { kind: "stay" }, exit, event.atMs);
}

export function restartByOperator(policy: Policy, state: Up, event: Of<Event, "restart">): Step {
  const exit = ended("stopped", event.why ?? "restarted by the operator");
  return stopPolitely(policy, state, { kind: "again" }, exit, event.atMs);
}

export function fenceNow(_policy: Policy, state: Up, event: Of<Event, "emergency">): Step {
  return fence(state, event, event.atMs);
}

export function onSpawned(policy: Policy, state: Of<State, "starting">): Step {
  if (policy.ready === "started") return becomeRunning(state);
  return { state, effects: [{ kind: "watch", stage: "starting" }] };
}

/** A start that can never succeed halts at once; one that failed for want of memory or processes is a restart; one that waits spends no budget. */
export function onSpawnFailed(_policy: Policy, state: Of<State, "starting">, event: Of<Event, "spawnFailed">): Step {
  const restart: After = event.waits === true ? { kind: "restart", unbooked: true } : { kind: "restart" };
  const after: After = event.permanent ? { kind: "halt", reason: event.reason } : restart;
  return sweepPhase({ ...carry(state), lastExit: ended("spawnFailed", event.reason) }, after, event.atMs);
}

export function onReady(_policy: Policy, state: Of<State, "starting">): Step {
  return becomeRunning(state);
}

export function onVerdict(policy: Policy, state: Of<State, "running">, event: Of<Event, "verdict">): Step {
  if (event.health === state.health) return unchanged(state);
  const next = { ...state, health: event.health };
  switch (event.health) {
    case "healthy":
      return { state: next, effects: [setTimer("stable", policy.resetAfter), ...settling(policy, state)] };
    case "pending":
      return { state: next, effects: [clearTimer("stable"), clearTimer("settled")] };
    case "unhealthy":
      return onUnhealthy(policy, next, event.atMs);
  }
}

const unsettled = [clearTimer("stable"), clearTimer("settled")] as const;

/** `closeAfter` stops counting once the bot has been healthy for a while, not at its first good word. */
function settling(policy: Policy, state: Of<State, "running">): readonly Effect[] {
  if (policy.emergency === undefined || state.closeClock === "off") return [];
  return [setTimer("settled", Math.min(policy.emergency.closeAfter, SETTLED_MS))];
}

function onUnhealthy(policy: Policy, state: Of<State, "running">, atMs: number): Step {
  if (state.closeClock === "due") return fence(state, overdue, atMs);
  const closing = countClosing(policy, state, atMs);
  return { state: { ...state, closeClock: closing.closeClock }, effects: [...unsettled, ...closing.effects] };
}

/** A probe with `onFailure: restart` or `emergency` has given its verdict; in maintenance and in the machine's first minute both restart. */
export function onFailing(policy: Policy, state: Up, event: Of<Event, "failing">): Step {
  const suspended = policy.emergency?.suspended === true || isBooting(policy, event.atMs);
  if (event.action === "emergency" && !suspended)
    return fence(state, { trigger: "probe", reason: event.detail }, event.atMs);
  const step = stopPolitely(policy, state, { kind: "restart" }, ended(event.cause, event.detail), event.atMs);
  return { state: step.state, effects: [note("warn", "the bot is replaced"), ...step.effects] };
}

/** The bot said that it is going: it has `stopTimeout` to be gone, and no signal is needed. */
export function onLeaving(policy: Policy, state: Up, event: Of<Event, "leaving">): Step {
  return {
    state: {
      ...carry(state),
      kind: "stopping",
      phase: "signal",
      after: { kind: "restart" },
      lastExit: ended("exited", "the bot announced its end"),
      sinceMs: event.atMs,
      deadlineMs: event.atMs + policy.stopTimeout,
    },
    effects: [...leaveWatch, setTimer("stop", policy.stopTimeout)],
  };
}

export function extendStart(policy: Policy, state: Of<State, "starting">, event: Of<Event, "extend">): Step {
  const later = extended(state, event, policy.startTimeout);
  if (later === undefined) return unchanged(state);
  return { state: { ...state, deadlineMs: later.deadlineMs }, effects: [setTimer("start", later.delayMs)] };
}

/** `RESTART_RESET=1`: the bot vouches for itself; its backoff starts anew, its budget does not. */
export function onResetBackoff(_policy: Policy, state: Of<State, "running">): Step {
  return state.attempt === 0 ? unchanged(state) : { state: { ...state, attempt: 0 }, effects: [] };
}

export function onExited(policy: Policy, state: Up, event: Of<Event, "exited">): Step {
  const exit = exitOf(event);
  const known = { ...state, lastExit: exit };
  const after = afterExit(policy, exit);
  const restarted = event.proven === true ? restartAtOnce(policy, known, after, event) : undefined;
  return restarted ?? sweepPhase(known, after, event.atMs);
}

/** What the kernel said about the end of the main process. */
export function exitOf(event: Of<Event, "exited">): ExitInfo {
  const { code, signal, oom } = event;
  if (oom) return { cause: "oom", code, signal, detail: "killed for want of memory" };
  if (signal !== null) return { cause: "signal", code, signal, detail: `killed by ${signal}` };
  if (code === null) return { cause: "exited", code, signal, detail: "ended; how is not known, as it was adopted" };
  return { cause: "exited", code, signal, detail: `exited with ${code}` };
}

/** What the restart policy says to an end that nobody asked for. */
export function afterExit(policy: Policy, exit: ExitInfo): After {
  if (exit.code !== null && policy.haltExitCodes.includes(exit.code))
    return { kind: "halt", reason: `${exit.detail}, which haltExitCodes names` };
  if (policy.restart === "always") return { kind: "restart" };
  const clean = exit.code === 0;
  if (clean) return { kind: "stay" };
  if (policy.restart === "on-failure") return { kind: "restart" };
  return { kind: "halt", reason: `${exit.detail} and restart.policy is never` };
}

export function onStartingTimer(policy: Policy, state: Of<State, "starting">, event: Of<Event, "elapsed">): Step {
  if (event.timer === "closeAfter") return fence(state, overdue, event.atMs);
  if (event.timer !== "start") return unchanged(state);
  if (state.adopted === true && policy.ready === "notify") return supposeReady(state);
  const exit = ended("startTimeout", "the bot was not ready in time");
  return stopPolitely(policy, state, { kind: "restart" }, exit, event.atMs);
}

/** Of a bot that went on without a supervisor nobody knows that it is not ready; what its probes find still counts. */
function supposeReady(state: Of<State, "starting">): Step {
  const supposed = note(
    "warn",
    "counts as ready: it was adopted, and its READY=1 may have come while no supervisor listened",
  );
  const next = becomeRunning(state);
  return { state: next.state, effects: [supposed, ...next.effects] };
}

export function onRunningTimer(_policy: Policy, state: Of<State, "running">, event: Of<Event, "elapsed">): Step {
  if (event.timer === "stable" && state.health === "healthy") return { state: { ...state, attempt: 0 }, effects: [] };
  if (event.timer === "settled" && state.health === "healthy")
    return { state: { ...state, closeClock: "off" }, effects: [clearTimer("closeAfter")] };
  if (event.timer !== "closeAfter") return unchanged(state);
  if (state.health === "unhealthy") return fence(state, overdue, event.atMs);
  // Nothing is known against such a bot now: wait for the first bad news instead of acting.
  return { state, effects: [waiting[state.health]] };
}

/** What an operator reads when `closeAfter` is over and nothing is closed. */
const waiting = {
  healthy: note(
    "info",
    "closeAfter is over, and the bot is healthy, but not for long yet: the next bad news closes its positions",
  ),
  pending: note("alert", "closeAfter is over, and no probe could tell whether the bot is healthy"),
} as const;
