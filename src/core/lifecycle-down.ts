/** What happens to a bot that is down: stopped, waiting, halted, recovering or locked. Handlers of the table in lifecycle.ts. */
import { CLOSE_RETRY_MS, retriesByItself } from "./ladder.ts";
import {
  becomeRunning,
  begin,
  beginAfresh,
  carry,
  climb,
  countClosing,
  countedRestart,
  isOrdered,
  lock,
  note,
  recover,
  setTimer,
  standDown,
  sweepPhase,
  unchanged,
} from "./lifecycle-moves.ts";
import type { Effect, Event, Of, Policy, State, Step } from "./lifecycle-types.ts";
import { pidsText } from "./pids-text.ts";

type Down = Of<State, "stopped"> | Of<State, "backoff"> | Of<State, "halted"> | Of<State, "locked">;

/** The bot is proven dead already: positions are closed at once. */
export function recoverNow(policy: Policy, state: Down, event: Of<Event, "emergency">): Step {
  const { wanted = state.wanted } = event;
  return recover(policy, { ...carry(state), wanted }, event);
}

/** A lockout outlives daemon and machine: an unfinished close goes on, a finished one stays locked. */
export function onLockFound(policy: Policy, state: Of<State, "stopped">, event: Of<Event, "lockFound">): Step {
  const wanting = { ...carry(state), wanted: event.wanted };
  const { outcome, trigger, reason, acknowledged = false } = event;
  if (outcome === undefined) return recover(policy, wanting, event);
  return lock(wanting, { outcome, trigger, reason, acknowledged });
}

/** Processes of an earlier daemon are ended before anything else is done with the bot. */
export function onLeftovers(_policy: Policy, state: Of<State, "stopped">, event: Of<Event, "leftovers">): Step {
  const why = note("warn", `ending what an earlier supervisor left behind: ${pidsText(event.pids)}`);
  return sweepPhase(state, { kind: "stay" }, event.atMs, [why]);
}

/**
 * Goes on with a wait that an earlier version of the supervisor began: the budget has counted its restart already. The config may have been changed
 * meanwhile, and the cap holds.
 */
export function onBackoffFound(policy: Policy, state: Of<State, "stopped">, event: Of<Event, "backoffFound">): Step {
  const { atMs } = event;
  const leftMs = Math.min(event.leftMs, policy.backoff.cap);
  const closing = countClosing(policy, state, atMs);
  const { closeClock } = closing;
  return {
    state: { ...carry(state), kind: "backoff", wanted: true, closeClock, startAtMs: atMs + leftMs },
    effects: [
      ...closing.effects,
      note("info", `the wait goes on; restart ${state.attempt} in ${Math.round(leftMs)} ms`),
      setTimer("backoff", leftMs),
    ],
  };
}

/** Goes on with a living bot as if it had just become ready: every watch gets one full period. */
export function onAdopted(policy: Policy, state: Of<State, "stopped">, event: Of<Event, "adopted">): Step {
  const closing = countClosing(policy, state, event.atMs);
  const adopted = { ...carry(state), wanted: true, closeClock: closing.closeClock };
  const effects: readonly Effect[] = [...closing.effects, note("info", "the running bot is adopted, untouched")];
  // A supervisor killed right after the spawn has not noted that this was all there is to wait for.
  if (event.ready || policy.ready === "started") {
    const next = becomeRunning(adopted);
    return { state: next.state, effects: [...effects, ...next.effects] };
  }
  const starting = { sinceMs: event.atMs, deadlineMs: event.atMs + policy.startTimeout };
  return {
    state: { ...adopted, kind: "starting", ...starting, adopted: true },
    effects: [...effects, setTimer("start", policy.startTimeout), { kind: "watch", stage: "starting" }],
  };
}

export function stopWhileDown(_policy: Policy, state: Of<State, "backoff"> | Of<State, "halted">): Step {
  return standDown({ ...carry(state), wanted: false });
}

export function onBackoffTimer(policy: Policy, state: Of<State, "backoff">, event: Of<Event, "elapsed">): Step {
  if (event.timer === "backoff") return begin(policy, countedRestart(state), event.atMs);
  if (event.timer === "closeAfter")
    return recover(policy, state, { trigger: "closeAfter", reason: "no healthy bot for the time of closeAfter" });
  return unchanged(state);
}

export function onHaltedTimer(policy: Policy, state: Of<State, "halted">, event: Of<Event, "elapsed">): Step {
  if (event.timer !== "closeAfter") return unchanged(state);
  const reason = `no healthy bot for the time of closeAfter (${state.reason})`;
  return recover(policy, state, { trigger: "closeAfter", reason });
}

/** A failed rung does not stop the climb; the outcome of the close is what the lockout remembers. */
export function onRungEnded(policy: Policy, state: Of<State, "recovering">, event: Of<Event, "actionEnded">): Step {
  const { rung, trigger, reason, goal, ordered } = state;
  if (ordered !== undefined && event.outcome !== "flat") return recover(policy, state, ordered);
  return climb(policy, state, { rung: rung + 1, outcome: event.outcome, trigger, reason, goal });
}

/**
 * An order to close everything while a close that may do less is under way: it is on disk at once, so that it outlives us, and carried
 * out when that one has ended without a flat account. Two closes at a time would trade against each other.
 */
export function closeMore(_policy: Policy, state: Of<State, "recovering">, event: Of<Event, "emergency">): Step {
  const { trigger, reason, goal } = event;
  const known = state.goal?.kind === "flat" || state.ordered !== undefined;
  if (goal?.kind !== "flat" || known) return unchanged(state);
  const ordered = { trigger, reason, goal };
  return {
    state: { ...state, ordered },
    effects: [
      note("alert", `everything is closed (${trigger}) as soon as the close under way has ended: ${reason}`),
      { kind: "openIncident", ...ordered },
    ],
  };
}

export function doNotWant(
  _policy: Policy,
  state: Of<State, "stopped"> | Of<State, "recovering"> | Of<State, "locked">,
): Step {
  return { state: { ...state, wanted: false }, effects: [] };
}

export function refuseStart(_policy: Policy, state: Of<State, "recovering"> | Of<State, "locked">): Step {
  return { state, effects: [note("warn", "not started: the bot is locked out until a person re-arms it")] };
}

/** Ends the lockout: only of an account that is flat, or whose positions a person accepts. */
export function rearm(policy: Policy, state: Of<State, "locked">, event: Of<Event, "arm">): Step {
  if (state.outcome !== "flat" && !event.acceptPositions)
    return { state, effects: [note("warn", `not re-armed: positions are not proven closed (${state.outcome})`)] };
  const unlock = [{ kind: "unlock" }, { kind: "clearTimer", timer: "retry" }] as const;
  const next = state.wanted ? beginAfresh(policy, state, event) : standDown(state);
  return { state: next.state, effects: [...unlock, ...next.effects] };
}

/** Another slow round of a close that did not end flat. */
export function onLockedTimer(policy: Policy, state: Of<State, "locked">, event: Of<Event, "elapsed">): Step {
  if (event.timer !== "retry" || !retriesByItself(state.outcome)) return unchanged(state);
  // A person works on the account: the rounds go on after the maintenance, unless it was a person who asked for the close.
  if (policy.emergency?.suspended === true && !isOrdered(state.trigger))
    return { state, effects: [setTimer("retry", CLOSE_RETRY_MS)] };
  const { trigger, reason } = state;
  return recover(policy, state, { trigger, reason });
}

/** The account is left as it is: no further round, until somebody orders one. The bot stays locked. */
export function onAcknowledged(_policy: Policy, state: Of<State, "locked">): Step {
  if (!retriesByItself(state.outcome)) return unchanged(state);
  const known = note(
    "alert",
    `positions stay not proven closed (${state.outcome}): a person knows, no further round follows`,
  );
  return { state, effects: [{ kind: "acknowledgeIncident" }, { kind: "clearTimer", timer: "retry" }, known] };
}
