/**
 * The life of one supervised bot: a pure state machine.
 *
 * `step(policy, state, event)` returns the next state and the effects that the shell must carry out, in order. Nothing
 * here reads a clock, draws a random number or throws for an expected event. docs/lifecycle.md is printed from `table`.
 */
import {
  onAcknowledged,
  onAdopted,
  onBackoffTimer,
  onHaltedTimer,
  onLockedTimer,
  onLockFound,
  onLeftovers,
  onRungEnded,
  rearm,
  recoverNow,
  refuseStart,
  doNotWant,
  stopWhileDown,
} from "./lifecycle-down.ts";
import { beginAfresh, isOrdered, note, unchanged } from "./lifecycle-moves.ts";
import {
  onGoneAfterStuck,
  extendStop,
  fenceWhileStopping,
  lockAfterStop,
  lockAfterStuck,
  onExitedWhileStopping,
  onGone,
  onHookEnded,
  onSpawnFailedWhileStopping,
  onStoppingTimer,
  onStuckTimer,
  onSurvivors,
  recoverAfterStuck,
  startAfterStop,
  startAfterStuck,
  stayDown,
  stayDownAfterStuck,
  stayStuck,
} from "./lifecycle-stop.ts";
import { newPolicyWhileRunning, newPolicyWhileStarting, reclock } from "./lifecycle-reload.ts";
import type { Event, EventKind, Of, Policy, State, StateKind, Step } from "./lifecycle-types.ts";
import {
  extendStart,
  fenceNow,
  onExited,
  onFailing,
  onLeaving,
  onReady,
  onResetBackoff,
  onRunningTimer,
  onSpawned,
  onSpawnFailed,
  onStartingTimer,
  onVerdict,
  restartByOperator,
  stopByOperator,
} from "./lifecycle-up.ts";

type Cell<S extends StateKind, E extends EventKind> =
  | ((policy: Policy, state: Of<State, S>, event: Of<Event, E>) => Step)
  | "ignore";
type Table = { readonly [S in StateKind]: { readonly [E in EventKind]: Cell<S, E> } };

/** A bot that was never started and whose folder holds nothing. */
export const initialState: State = {
  kind: "stopped",
  log: [],
  attempt: 0,
  generation: 0,
  restarts: 0,
  restartsBy: {},
  wanted: false,
  closeClock: "off",
  lastExit: undefined,
};

/** Every state has an answer to every event; a missing cell does not compile. */
export const table = {
  stopped: {
    start: beginAfresh,
    stop: doNotWant,
    restart: beginAfresh,
    emergency: recoverNow,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: onLockFound,
    leftovers: onLeftovers,
    adopted: onAdopted,
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: "ignore",
    actionEnded: "ignore",
    elapsed: "ignore",
  },
  starting: {
    start: "ignore",
    stop: stopByOperator,
    restart: restartByOperator,
    emergency: fenceNow,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: onSpawned,
    spawnFailed: onSpawnFailed,
    ready: onReady,
    verdict: "ignore",
    failing: onFailing,
    leaving: onLeaving,
    extend: extendStart,
    resetBackoff: "ignore",
    exited: onExited,
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: newPolicyWhileStarting,
    actionEnded: "ignore",
    elapsed: onStartingTimer,
  },
  running: {
    start: "ignore",
    stop: stopByOperator,
    restart: restartByOperator,
    emergency: fenceNow,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: onVerdict,
    failing: onFailing,
    leaving: onLeaving,
    extend: "ignore",
    resetBackoff: onResetBackoff,
    exited: onExited,
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: newPolicyWhileRunning,
    actionEnded: "ignore",
    elapsed: onRunningTimer,
  },
  stopping: {
    start: startAfterStop,
    stop: stayDown,
    restart: startAfterStop,
    emergency: fenceWhileStopping,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: lockAfterStop,
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: onSpawnFailedWhileStopping,
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: extendStop,
    resetBackoff: "ignore",
    exited: onExitedWhileStopping,
    gone: onGone,
    survivors: onSurvivors,
    hookEnded: onHookEnded,
    newPolicy: reclock,
    actionEnded: "ignore",
    elapsed: onStoppingTimer,
  },
  backoff: {
    start: beginAfresh,
    stop: stopWhileDown,
    restart: beginAfresh,
    emergency: recoverNow,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: reclock,
    actionEnded: "ignore",
    elapsed: onBackoffTimer,
  },
  recovering: {
    start: refuseStart,
    stop: doNotWant,
    restart: refuseStart,
    emergency: "ignore",
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: "ignore",
    actionEnded: onRungEnded,
    elapsed: "ignore",
  },
  halted: {
    start: beginAfresh,
    stop: stopWhileDown,
    restart: beginAfresh,
    emergency: recoverNow,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: reclock,
    actionEnded: "ignore",
    elapsed: onHaltedTimer,
  },
  locked: {
    start: refuseStart,
    stop: doNotWant,
    restart: refuseStart,
    emergency: recoverNow,
    arm: rearm,
    acknowledge: onAcknowledged,
    lockFound: "ignore",
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: "ignore",
    survivors: "ignore",
    hookEnded: "ignore",
    newPolicy: "ignore",
    actionEnded: "ignore",
    elapsed: onLockedTimer,
  },
  stuck: {
    start: startAfterStuck,
    stop: stayDownAfterStuck,
    restart: startAfterStuck,
    emergency: recoverAfterStuck,
    arm: "ignore",
    acknowledge: "ignore",
    lockFound: lockAfterStuck,
    leftovers: "ignore",
    adopted: "ignore",
    spawned: "ignore",
    spawnFailed: "ignore",
    ready: "ignore",
    verdict: "ignore",
    failing: "ignore",
    leaving: "ignore",
    extend: "ignore",
    resetBackoff: "ignore",
    exited: "ignore",
    gone: onGoneAfterStuck,
    survivors: stayStuck,
    hookEnded: "ignore",
    newPolicy: reclock,
    actionEnded: "ignore",
    elapsed: onStuckTimer,
  },
} as const satisfies Table;

/** One event: the next state and what is to be done, in order. An event of another generation changes nothing. */
export function step(policy: Policy, state: State, event: Event): Step {
  if (isStale(state, event)) return unchanged(state);
  if (isSuspended(policy, event)) return { state, effects: [inMaintenance] };
  // Safe: `table` is indexed by the two tags, and its type ties each cell to them.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const cell = table[state.kind][event.kind] as ((p: Policy, s: State, e: Event) => Step) | "ignore";
  return cell === "ignore" ? unchanged(state) : cell(policy, isCloseTimer(event) ? overdue(state) : state, event);
}

const inMaintenance = note(
  "alert",
  "nothing is closed: maintenance is on, in which only a person's emergency close does that",
);

function isSuspended(policy: Policy, event: Event): boolean {
  return event.kind === "emergency" && policy.emergency?.suspended === true && !isOrdered(event.trigger);
}

/** A clock that has run out is no longer counting, whatever the state makes of it. */
function overdue(state: State): State {
  return { ...state, closeClock: "due" };
}

/** `closeAfter` counts across restarts: it is the one timer that no generation owns. */
function isCloseTimer(event: Event): boolean {
  return event.kind === "elapsed" && event.timer === "closeAfter";
}

function isStale(state: State, event: Event): boolean {
  if (!("generation" in event)) return false;
  if (isCloseTimer(event)) return state.closeClock !== "counting";
  return event.generation !== state.generation;
}
