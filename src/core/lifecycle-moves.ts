/** The moves between states: each builds the next state and says what the shell must do. Used by lifecycle.ts only. */
import { restartDelayMs } from "./backoff.ts";
import type { CloseGoal } from "./close-goal.ts";
import { formatDuration } from "./duration.ts";
import { spendRestart } from "./budget.ts";
import { CLOSE_RETRY_MS, retriesByItself, rungAt, type RungOutcome } from "./ladder.ts";
import { countRestart } from "./restart-reason.ts";
import type { Carried, Effect, Event, ExitInfo, Of, Policy, State, Step, After, Trigger } from "./lifecycle-types.ts";

/**
 * Least pause before another try of a start that came to no process, ms. With a `base` of 0 a shortage of a second would spend any
 * budget, fill the journal and keep the processor from whoever is to end it.
 */
const SPAWN_RETRY_MS = 1_000;
/** Pause between two tries to end what survived SIGKILL, ms. */
export const SWEEP_RETRY_MS = 5_000;
/**
 * How long a bot must be healthy without a break before `closeAfter` stops counting, ms (or `closeAfter` itself, if that
 * is shorter): a bot that crashes or hangs again and again is healthy for a moment at each start, and protects nothing.
 */
export const SETTLED_MS = 10_000;
/** Extensions asked for by the bot (`EXTEND_TIMEOUT_USEC`) reach at most this many times the configured timeout. */
export const EXTEND_LIMIT_FACTOR = 10;
/** Longest time from the order to stop until all phases of a polite stop are over, ms: `preStop`, the signal with every extension, `postStop`. */
export function longestStopMs({ stopTimeout }: Pick<Policy, "stopTimeout">): number {
  return (1 + EXTEND_LIMIT_FACTOR + 1) * stopTimeout;
}

/** An extension that moves a deadline by less than this is passed over, ms. */
const EXTEND_STEP_MS = 100;

/** Triggers that are a person's explicit word: they close positions also in maintenance. */
export function isOrdered(trigger: Trigger): boolean {
  return trigger === "operator" || trigger === "environment";
}

export function unchanged(state: State): Step {
  return { state, effects: [] };
}

/** The part of a state that outlives it. */
export function carry(state: Carried): Carried {
  const { log, attempt, generation, restarts, restartsBy, wanted, closeClock, lastExit } = state;
  return { log, attempt, generation, restarts, restartsBy, wanted, closeClock, lastExit };
}

export const setTimer = (timer: Of<Effect, "setTimer">["timer"], delayMs: number): Effect => ({
  kind: "setTimer",
  timer,
  delayMs,
});
export const clearTimer = (timer: Of<Effect, "clearTimer">["timer"]): Effect => ({ kind: "clearTimer", timer });
export const note = (level: Of<Effect, "note">["level"], text: string): Effect => ({ kind: "note", level, text });

/** The machine has just booted: what the bot lacks may be about to come. */
export function isBooting({ emergency }: Policy, atMs: number): boolean {
  return atMs < (emergency?.bootEndsAtMs ?? Number.NEGATIVE_INFINITY);
}

/** Time until `closeAfter` is over when it began to count at `sinceMs`: the machine's first minute does not count. */
export function closeDelayMs(
  { closeAfter, bootEndsAtMs = Number.NEGATIVE_INFINITY }: NonNullable<Policy["emergency"]>,
  sinceMs: number,
): number {
  return closeAfter + Math.max(0, bootEndsAtMs - sinceMs);
}

/** Starts counting `closeAfter` if it is not counting yet, the bot has an emergency section, and there is no maintenance. */
export function countClosing(
  policy: Policy,
  state: Carried,
  atMs: number,
): { closeClock: Carried["closeClock"]; effects: Effect[] } {
  if (policy.emergency === undefined || policy.emergency.suspended === true || state.closeClock !== "off")
    return { closeClock: state.closeClock, effects: [] };
  return { closeClock: "counting", effects: [setTimer("closeAfter", closeDelayMs(policy.emergency, atMs))] };
}

/** Spawns the next generation; only ever called when the one before is proven gone. */
export function begin(policy: Policy, state: Carried, atMs: number): Step {
  const generation = state.generation + 1;
  const closing = countClosing(policy, state, atMs);
  return {
    state: {
      ...carry(state),
      kind: "starting",
      wanted: true,
      generation,
      closeClock: closing.closeClock,
      sinceMs: atMs,
      deadlineMs: atMs + policy.startTimeout,
    },
    effects: [
      clearTimer("backoff"),
      ...closing.effects,
      { kind: "permitOrders" },
      setTimer("start", policy.startTimeout),
      { kind: "spawn", generation },
    ],
  };
}

/** An operator's start grants a new budget and a new backoff. */
export function beginAfresh(policy: Policy, state: Carried, event: { readonly atMs: number }): Step {
  return begin(policy, { ...carry(state), log: [], attempt: 0 }, event.atMs);
}

export function becomeRunning(state: Carried): Step {
  return {
    state: { ...carry(state), kind: "running", health: "pending" },
    effects: [clearTimer("start"), { kind: "watch", stage: "running" }],
  };
}

/** Nobody watches a bot that is going: its probes, and the clocks that judge its running, end here. */
export const leaveWatch: readonly Effect[] = [
  clearTimer("start"),
  clearTimer("stable"),
  clearTimer("settled"),
  { kind: "unwatch" },
];

/** The polite stop: forbid orders, preStop hook, signal, wait, and only then the sweep. */
export function stopPolitely(policy: Policy, state: Carried, after: After, exit: ExitInfo, atMs: number): Step {
  // The time of closeAfter is over already: bad news leads to the close at once, and nothing delays it.
  if (after.kind === "restart" && state.closeClock === "due")
    return fence(
      state,
      { trigger: "closeAfter", reason: `no healthy bot for the time of closeAfter (${exit.detail})` },
      atMs,
    );
  const closing = after.kind === "restart" ? countClosing(policy, state, atMs) : { ...carry(state), effects: [] };
  const stopping = {
    ...carry(state),
    kind: "stopping" as const,
    after,
    closeClock: closing.closeClock,
    lastExit: exit,
    sinceMs: atMs,
    deadlineMs: atMs + policy.stopTimeout,
  };
  const before: readonly Effect[] = [...leaveWatch, ...closing.effects, { kind: "forbidOrders" }];
  if (policy.hooks.preStop)
    return {
      state: { ...stopping, phase: "preStop" },
      effects: [...before, { kind: "runHook", hook: "preStop" }, setTimer("stop", policy.stopTimeout)],
    };
  const next = signalPhase(policy, { ...stopping, phase: "preStop" }, atMs);
  return { state: next.state, effects: [...before, ...next.effects] };
}

export function signalPhase(policy: Policy, state: Of<State, "stopping">, atMs: number): Step {
  return {
    state: { ...state, phase: "signal", sinceMs: atMs, deadlineMs: atMs + policy.stopTimeout },
    effects: [{ kind: "askToStop" }, setTimer("stop", policy.stopTimeout)],
  };
}

const sweepEffects: readonly Effect[] = [
  ...leaveWatch,
  clearTimer("stop"),
  { kind: "forbidOrders" },
  { kind: "sweep" },
];

/**
 * The end of every life, polite or not: kill what is left and prove that nothing is. A bot that then stays down is not
 * wanted any more: somebody stopped it, or it ended well and the restart policy lets that stand.
 */
export function sweepPhase(state: Carried, after: After, atMs: number, why: readonly Effect[] = []): Step {
  const wanted = after.kind !== "stay" && state.wanted;
  return {
    state: { ...carry(state), kind: "stopping", phase: "kill", wanted, after, sinceMs: atMs, deadlineMs: atMs },
    effects: why.length === 0 ? sweepEffects : [...why, ...sweepEffects],
  };
}

/** Why positions are closed, and how far. */
type Cause = Omit<Of<After, "recover">, "kind">;

/** The fence of an emergency: no politeness, a bot whose positions are to be closed must not trade one order more. */
export function fence(state: Carried, { trigger, reason, goal }: Cause, atMs: number): Step {
  const exit: ExitInfo = { cause: "stopped", code: null, signal: null, detail: `emergency: ${reason}` };
  const why: readonly Effect[] = [
    note("alert", `emergency (${trigger}): ${reason}; the bot is being killed`),
    // On disk before the first kill: a supervisor that dies during the fence goes on with the same incident.
    { kind: "openIncident", trigger, reason, ...(goal === undefined ? {} : { goal }) },
  ];
  const withExit = { ...carry(state), lastExit: exit };
  return sweepPhase(withExit, { kind: "recover", trigger, reason, goal }, atMs, why);
}

/** Goes where `after` points, now that the process tree is proven gone. */
export function settle(policy: Policy, state: Carried, after: After, at: { atMs: number; roll: number }): Step {
  const next = follow(policy, state, after, at);
  return { state: next.state, effects: [clearTimer("stop"), clearTimer("sweep"), ...next.effects] };
}

function follow(policy: Policy, state: Carried, after: After, at: { atMs: number; roll: number }): Step {
  switch (after.kind) {
    case "stay":
      return standDown(state);
    case "again":
      return beginAfresh(policy, state, at);
    case "halt":
      return halt(policy, state, after.reason, at.atMs);
    case "recover":
      return recover(policy, state, after);
    case "lock":
      return lock(state, after);
    case "restart":
      return restartOrGiveUp(policy, state, at, after.unbooked === true);
  }
}

/** Down because somebody wants it down: nothing counts any more. */
export function standDown(state: Carried): Step {
  return {
    state: { ...carry(state), kind: "stopped", attempt: 0, closeClock: "off" },
    effects: [clearTimer("backoff"), clearTimer("closeAfter")],
  };
}

/** Down because starting again is pointless; open positions still have `closeAfter` to protect them. */
function halt(policy: Policy, state: Carried, reason: string, atMs: number): Step {
  const effects = [note("alert", `halted: ${reason}`)];
  if (state.closeClock === "due") {
    const next = recover(policy, state, { trigger: "closeAfter", reason });
    return { state: next.state, effects: [...effects, ...next.effects] };
  }
  const closing = countClosing(policy, state, atMs);
  return {
    state: { ...carry(state), kind: "halted", reason, closeClock: closing.closeClock },
    effects: [...effects, ...closing.effects],
  };
}

/** Without a process nothing was tried: what the machine lacked, or who had the account, is still so in the next moment. */
function leastDelayMs({ lastExit }: Carried): number {
  return lastExit?.cause === "spawnFailed" ? SPAWN_RETRY_MS : 0;
}

function restartOrGiveUp(
  policy: Policy,
  state: Carried,
  { atMs, roll }: { atMs: number; roll: number },
  unbooked: boolean,
): Step {
  // Also a probe, a start timeout or a failed fork must not restart what the config says is never restarted.
  if (policy.restart === "never")
    return halt(policy, state, `${state.lastExit?.detail ?? "the bot ended"} and restart.policy is never`, atMs);
  const { log, exhausted } =
    unbooked || isBooting(policy, atMs)
      ? { log: state.log, exhausted: false }
      : spendRestart(policy.budget, state.log, atMs);
  if (exhausted) {
    const spent = { ...carry(state), log };
    const { intensity, period } = policy.budget;
    const restarts = intensity === 1 ? "restart" : "restarts";
    const reason = `restart budget spent: more than ${intensity} ${restarts} in ${formatDuration(period)}`;
    const closes = policy.emergency?.onGiveUp === true && policy.emergency.suspended !== true;
    const next = closes ? recover(policy, spent, { trigger: "giveUp", reason }) : halt(policy, spent, reason, atMs);
    // As before each restart: how the last start ended is what a person looks for first.
    return { state: next.state, effects: [note("warn", state.lastExit?.detail ?? "the bot ended"), ...next.effects] };
  }
  if (state.closeClock === "due")
    return recover(
      policy,
      { ...carry(state), log },
      { trigger: "closeAfter", reason: "no healthy bot for the time of closeAfter" },
    );
  const attempt = state.attempt + 1;
  const delayMs = Math.max(restartDelayMs(policy.backoff, attempt, roll), leastDelayMs(state));
  const closing = countClosing(policy, state, atMs);
  return {
    state: {
      ...carry(state),
      kind: "backoff",
      log,
      attempt,
      closeClock: closing.closeClock,
      startAtMs: atMs + delayMs,
    },
    effects: [
      ...closing.effects,
      note(
        "warn",
        `${state.lastExit?.detail ?? "the bot ended"}; restart ${attempt} ${delayMs === 0 ? "at once" : `in ${delayMs} ms`}`,
      ),
      setTimer("backoff", delayMs),
    ],
  };
}

/**
 * The whole way from the end of a start to the next one in one step: where nothing lives of the last one, no hook is to run, and the
 * backoff has no delay, there is nothing to wait for in between. `undefined`: there is.
 */
export function restartAtOnce(
  policy: Policy,
  state: Carried,
  after: After,
  at: { atMs: number; roll: number },
): Step | undefined {
  if (after.kind !== "restart" || policy.hooks.postStop) return undefined;
  const waiting = restartOrGiveUp(policy, state, at, after.unbooked === true);
  if (waiting.state.kind !== "backoff" || waiting.state.startAtMs > at.atMs) return undefined;
  const begun = begin(policy, countedRestart(waiting.state), at.atMs);
  const seal = { kind: "seal", generation: state.generation } as const;
  const proven = note("info", "nothing of the last start lives");
  const inBetween = waiting.effects.filter((effect) => effect.kind !== "setTimer" || effect.timer !== "backoff");
  return { state: begun.state, effects: [...leaveWatch, seal, ...inBetween, proven, ...begun.effects] };
}

/** Only now it is a restart: whoever starts or stops the bot before this moment takes its place. The budget has counted it before. */
export function countedRestart(state: Of<State, "backoff">): Of<State, "backoff"> {
  const { restarts, restartsBy, lastExit } = state;
  return { ...state, restarts: restarts + 1, restartsBy: countRestart(restartsBy, lastExit) };
}

/** Enters the ladder. The lockout is on disk before the first rung runs: killed here, the next start goes on. */
export function recover(policy: Policy, state: Carried, { trigger, reason, goal }: Cause): Step {
  const cleared = (["stop", "start", "backoff", "sweep", "closeAfter", "stable", "settled", "retry"] as const).map(
    clearTimer,
  );
  const opened: Effect[] = [
    ...cleared,
    note("alert", `closing positions (${trigger}): ${reason}`),
    { kind: "openIncident", trigger, reason, ...(goal === undefined ? {} : { goal }) },
  ];
  const next = climb(
    policy,
    { ...carry(state), closeClock: "off" },
    { rung: 0, outcome: undefined, trigger, reason, goal },
  );
  return { state: next.state, effects: [...opened, ...next.effects] };
}

interface Climb {
  readonly rung: number;
  readonly outcome: RungOutcome | undefined;
  readonly trigger: Trigger;
  readonly reason: string;
  readonly goal?: CloseGoal | undefined;
}

/** Runs the next rung, or locks at the top. */
export function climb(policy: Policy, state: Carried, at: Climb): Step {
  const action = rungAt(policy.emergency?.ladder ?? [], at.rung);
  if (action === undefined) {
    // No rung ran because none is configured: time cures nothing, so this is not tried again by itself.
    const outcome = at.outcome ?? "unsupported";
    const next = lock(state, { outcome, trigger: at.trigger, reason: at.reason, acknowledged: false });
    return { state: next.state, effects: [{ kind: "endIncident", outcome }, ...next.effects] };
  }
  return { state: { ...carry(state), kind: "recovering", ...at }, effects: [{ kind: "runAction", action }] };
}

/** Locked until a person re-arms; a close that may still succeed is tried again in slow rounds. */
export function lock(
  state: Carried,
  { outcome, trigger, reason, acknowledged }: Omit<Of<After, "lock">, "kind">,
): Step {
  const again = retriesByItself(outcome) && !acknowledged;
  return {
    state: { ...carry(state), kind: "locked", closeClock: "off", outcome, trigger, reason },
    effects: [
      clearTimer("closeAfter"),
      note("alert", `locked: positions are ${describeOutcome(outcome)}; a person must re-arm the bot`),
      ...(again ? [setTimer("retry", CLOSE_RETRY_MS)] : []),
    ],
  };
}

function describeOutcome(outcome: RungOutcome): string {
  if (outcome === "cancelled") return "as they were, and open orders are cancelled";
  if (outcome === "reduced") return "reduced as asked";
  return outcome === "flat" ? "closed" : `not proven closed (${outcome})`;
}

/** A later deadline for the timer of the state, within the limit; `undefined` when nothing moves. */
export function extended(
  state: { readonly sinceMs: number; readonly deadlineMs: number },
  event: Of<Event, "extend">,
  timeoutMs: number,
): { deadlineMs: number; delayMs: number } | undefined {
  const limitMs = state.sinceMs + timeoutMs * EXTEND_LIMIT_FACTOR;
  const deadlineMs = Math.min(event.atMs + event.extendMs, limitMs);
  // A bot that asks for a moment more again and again must not fill the journal: smaller moves are passed over.
  if (deadlineMs - state.deadlineMs < Math.min(EXTEND_STEP_MS, timeoutMs)) return undefined;
  return { deadlineMs, delayMs: Math.max(deadlineMs - event.atMs, 0) };
}
