/** What happens to a bot that is stopping, or that survived SIGKILL. Handlers of the table in lifecycle.ts. */
import {
  carry,
  extended,
  fence,
  note,
  setTimer,
  settle,
  signalPhase,
  sweepPhase,
  SWEEP_RETRY_MS,
  unchanged,
} from "./lifecycle-moves.ts";
import type { After, Effect, Event, ExitInfo, Of, Policy, State, Step } from "./lifecycle-types.ts";
import { afterExit, exitOf } from "./lifecycle-up.ts";
import { pidsText } from "./pids-text.ts";

type Stopping = Of<State, "stopping">;
type Stuck = Of<State, "stuck">;

/** Emergencies and lockouts go on whatever the operator asks for meanwhile. */
function overridable(after: After): boolean {
  return after.kind !== "recover" && after.kind !== "lock";
}

/** As during a close: once one is to follow, only the order to close everything comes on top of it. */
function isLess(after: After, { goal }: Of<Event, "emergency">): boolean {
  return after.kind === "recover" && goal !== undefined && goal.kind !== "flat";
}

const keptGoing = note("warn", "not started: an emergency is under way");

/** The intent is on disk as soon as it is known, also while the sweep still runs or cannot succeed. */
function open({ trigger, reason, goal }: Of<After, "recover">): Effect {
  return { kind: "openIncident", trigger, reason, ...(goal === undefined ? {} : { goal }) };
}

export function startAfterStop(_policy: Policy, state: Stopping): Step {
  if (!overridable(state.after)) return { state, effects: [keptGoing] };
  return { state: { ...state, wanted: true, after: { kind: "again" } }, effects: [] };
}

export function stayDown(_policy: Policy, state: Stopping): Step {
  if (!overridable(state.after)) return { state: { ...state, wanted: false }, effects: [] };
  return { state: { ...state, wanted: false, after: { kind: "stay" } }, effects: [] };
}

export function fenceWhileStopping(policy: Policy, state: Stopping, event: Of<Event, "emergency">): Step {
  const { trigger, reason, goal, wanted = state.wanted } = event;
  if (isLess(state.after, event)) return { state: { ...state, wanted }, effects: [] };
  const after = { kind: "recover", trigger, reason, goal } as const;
  return redirect(policy, { ...state, wanted }, after, event.atMs);
}

export function lockAfterStop(policy: Policy, state: Stopping, event: Of<Event, "lockFound">): Step {
  const after = afterLock(state.after, event);
  const known = { ...state, wanted: event.wanted };
  return after.kind === "recover"
    ? redirect(policy, known, after, event.atMs)
    : { state: { ...known, after }, effects: [] };
}

/** An emergency that has been asked for since is not forgotten over an old lockout. */
function afterLock(after: After, event: Of<Event, "lockFound">): After {
  const { outcome, trigger, reason, acknowledged = false, goal } = event;
  if (after.kind === "recover") return after;
  if (outcome === undefined) return { kind: "recover", trigger, reason, goal };
  return { kind: "lock", outcome, trigger, reason, acknowledged };
}

/** An emergency does not wait for politeness: it goes to the sweep, unless the sweep is running or over. */
function redirect(policy: Policy, state: Stopping, after: Of<After, "recover">, atMs: number): Step {
  switch (state.phase) {
    case "preStop":
    case "signal":
      return fence(state, after, atMs);
    case "kill":
      return { state: { ...state, after }, effects: [open(after)] };
    case "postStop":
      return settle(policy, state, after, { atMs, roll: 0 });
  }
}

export function onSpawnFailedWhileStopping(_policy: Policy, state: Stopping, event: Of<Event, "spawnFailed">): Step {
  if (state.phase === "kill" || state.phase === "postStop") return unchanged(state);
  return sweepPhase(state, state.after, event.atMs);
}

export function extendStop(policy: Policy, state: Stopping, event: Of<Event, "extend">): Step {
  if (state.phase !== "signal") return unchanged(state);
  const later = extended(state, event, policy.stopTimeout);
  if (later === undefined) return unchanged(state);
  return { state: { ...state, deadlineMs: later.deadlineMs }, effects: [setTimer("stop", later.delayMs)] };
}

/** The main process is gone; its descendants may not be. The first cause stays, the kernel's word fills in the rest. */
export function onExitedWhileStopping(policy: Policy, state: Stopping, event: Of<Event, "exited">): Step {
  const exit = exitOf(event);
  const first = state.lastExit;
  const announced = first === undefined || first.cause === "exited";
  const lastExit: ExitInfo = announced ? exit : { ...first, code: exit.code, signal: exit.signal };
  const known = { ...state, lastExit };
  if (state.phase === "kill" || state.phase === "postStop") return { state: known, effects: [] };
  const after = announced && state.after.kind === "restart" ? afterExit(policy, exit) : state.after;
  return sweepPhase(known, after, event.atMs);
}

export function onGone(policy: Policy, state: Stopping, event: Of<Event, "gone">): Step {
  if (state.phase !== "kill") return unchanged(state);
  const runHook = { kind: "runHook", hook: "postStop" } as const;
  if (!policy.hooks.postStop) return settle(policy, state, state.after, event);
  if (!overridable(state.after)) {
    // Nothing delays the closing of positions: the hook runs beside it.
    const next = settle(policy, state, state.after, event);
    return { state: next.state, effects: [runHook, ...next.effects] };
  }
  return { state: { ...state, phase: "postStop" }, effects: [runHook, setTimer("stop", policy.stopTimeout)] };
}

/** What SIGKILL could not end forbids every start until it is gone. */
export function onSurvivors(_policy: Policy, state: Stopping, event: Of<Event, "survivors">): Step {
  if (state.phase !== "kill") return unchanged(state);
  return {
    state: { ...carry(state), kind: "stuck", after: state.after, pids: event.pids },
    effects: [
      note("alert", `cannot kill ${pidsText(event.pids)}: no new start until they are gone`),
      setTimer("sweep", SWEEP_RETRY_MS),
    ],
  };
}

export function onHookEnded(policy: Policy, state: Stopping, event: Of<Event, "hookEnded">): Step {
  if (state.phase === "preStop" && event.hook === "preStop") return signalPhase(policy, state, event.atMs);
  if (state.phase === "postStop" && event.hook === "postStop") return settle(policy, state, state.after, event);
  return unchanged(state);
}

export function onStoppingTimer(policy: Policy, state: Stopping, event: Of<Event, "elapsed">): Step {
  if (event.timer === "closeAfter") {
    const clocked = state.after.kind === "restart" || state.after.kind === "halt";
    const reason = "no healthy bot for the time of closeAfter";
    // Somebody wants this stop, so nothing is closed now; a start that follows it inherits that the time is over.
    if (!clocked) return unchanged(state);
    return redirect(policy, state, { kind: "recover", trigger: "closeAfter", reason }, event.atMs);
  }
  if (event.timer !== "stop") return unchanged(state);
  switch (state.phase) {
    case "preStop":
      return signalPhase(policy, state, event.atMs);
    case "signal":
      return sweepPhase(state, state.after, event.atMs, [note("warn", "stopTimeout is over: killing what is left")]);
    case "postStop":
      return settle(policy, state, state.after, event);
    case "kill":
      return unchanged(state);
  }
}

export function startAfterStuck(_policy: Policy, state: Stuck): Step {
  if (!overridable(state.after)) return { state, effects: [keptGoing] };
  const refused = note("warn", `not started: ${pidsText(state.pids)} of the last start cannot be killed`);
  return { state: { ...state, wanted: true, after: { kind: "again" } }, effects: [refused] };
}

export function stayDownAfterStuck(_policy: Policy, state: Stuck): Step {
  const after: After = overridable(state.after) ? { kind: "stay" } : state.after;
  return { state: { ...state, wanted: false, after }, effects: [] };
}

export function recoverAfterStuck(_policy: Policy, state: Stuck, event: Of<Event, "emergency">): Step {
  if (isLess(state.after, event)) return unchanged(state);
  const { trigger, reason, goal } = event;
  const after = { kind: "recover", trigger, reason, goal } as const;
  const blocked = note("alert", "positions cannot be closed while the bot may still trade: its processes still live");
  return { state: { ...state, after }, effects: [blocked, open(after)] };
}

export function lockAfterStuck(_policy: Policy, state: Stuck, event: Of<Event, "lockFound">): Step {
  return { state: { ...state, wanted: event.wanted, after: afterLock(state.after, event) }, effects: [] };
}

export function onGoneAfterStuck(policy: Policy, state: Stuck, event: Of<Event, "gone">): Step {
  return settle(policy, state, state.after, event);
}

export function stayStuck(_policy: Policy, state: Stuck, event: Of<Event, "survivors">): Step {
  return { state: { ...state, pids: event.pids }, effects: [setTimer("sweep", SWEEP_RETRY_MS)] };
}

export function onStuckTimer(_policy: Policy, state: Stuck, event: Of<Event, "elapsed">): Step {
  if (event.timer === "sweep") return { state, effects: [{ kind: "sweep" }] };
  const clocked = state.after.kind === "restart" || state.after.kind === "halt";
  if (event.timer !== "closeAfter" || !clocked) return unchanged(state);
  const reason = "no healthy bot for the time of closeAfter";
  const after = { kind: "recover", trigger: "closeAfter", reason } as const;
  return { state: { ...state, after }, effects: [open(after)] };
}
