/**
 * Two worlds for the properties of the lifecycle. The hostile one sends anything at any time: stale generations,
 * duplicates, answers that nobody asked for. The lawful one answers what was asked, but as badly as a machine may.
 */
import fc from "fast-check";
import { initialState, step } from "../../src/core/lifecycle.ts";
import type { Effect, Event, EventKind, Of, Policy, State, Step, Timer } from "../../src/core/lifecycle-types.ts";
import { MIN, S, samples } from "./lifecycle-life.ts";

/** Of each property of the lifecycle. */
export const RUNS = { numRuns: 3_000, includeErrorInReport: true } as const;
/** More than the longest way to rest: stop with both hooks, a start, and a ladder of three rungs. */
export const STEPS_TO_REST = 25;

export const anyPolicy: fc.Arbitrary<Policy> = fc.record({
  restart: fc.constantFrom("always", "on-failure", "never"),
  backoff: fc.record({
    base: fc.constantFrom(0, 1, 1 * S, 1 * S, 1 * S),
    factor: fc.constantFrom(1, 2, 10),
    cap: fc.constantFrom(1 * S, 60 * S),
    jitter: fc.constantFrom(0, 0.1, 1),
  }),
  budget: fc.record({ intensity: fc.nat(3), period: fc.constantFrom(1, 10 * MIN) }),
  resetAfter: fc.constantFrom(1 * S, 10 * MIN),
  haltExitCodes: fc.constantFrom([], [78]),
  ready: fc.constantFrom("started", "notify", "probe"),
  startTimeout: fc.constantFrom(1 * S, 30 * S),
  stopTimeout: fc.constantFrom(1 * S, 30 * S),
  hooks: fc.record({ preStop: fc.boolean(), postStop: fc.boolean() }),
  emergency: fc.option(
    fc.record({
      closeAfter: fc.constantFrom(2 * S, 5 * MIN),
      onGiveUp: fc.boolean(),
      ladder: fc.array(fc.constant("close-positions" as const), { maxLength: 3 }),
    }),
    { nil: undefined },
  ),
});

const health = fc.constantFrom("healthy" as const, "unhealthy" as const, "pending" as const);
const trigger = fc.constantFrom("operator" as const, "probe" as const, "file" as const, "signal" as const);
const outcome = fc.constantFrom("flat" as const, "residual" as const, "keyRefused" as const, "failed" as const);
const timer = fc.constantFrom<Timer>("start", "stop", "backoff", "stable", "settled", "closeAfter", "sweep", "retry");
const hook = fc.constantFrom("preStop" as const, "postStop" as const);
const base = { atMs: 0, reason: "because", wanted: true, pids: [7], detail: "because" };

/** Any event at all; its generation and time are put in when it is sent. */
const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<Event>(...Object.values(samples(0, 0))) },
  { weight: 3, arbitrary: fc.constantFrom<Event>(samples(0, 0).exited, samples(0, 0).survivors) },
  fc.record({ kind: fc.constant("emergency" as const), atMs: fc.constant(0), trigger, reason: fc.constant("x") }),
  fc.record({ kind: fc.constant("arm" as const), atMs: fc.constant(0), acceptPositions: fc.boolean() }),
  fc
    .record({ outcome: fc.option(outcome, { nil: undefined }), trigger, wanted: fc.boolean() })
    .map((x): Event => ({ ...base, kind: "lockFound", ...x })),
  fc.boolean().map((permanent): Event => ({ ...base, kind: "spawnFailed", generation: 0, permanent, roll: 0 })),
  health.map((h): Event => ({ kind: "verdict", atMs: 0, generation: 0, health: h })),
  fc
    .constantFrom("restart" as const, "emergency" as const)
    .map((action): Event => ({ ...base, kind: "failing", generation: 0, cause: "probe:x", action })),
  fc
    .record({ code: fc.constantFrom(0, 1, 78, null), oom: fc.boolean(), proven: fc.boolean(), roll: fc.constant(0.3) })
    .map((x): Event => ({ ...x, kind: "exited", atMs: 0, generation: 0, signal: x.code === null ? "SIGKILL" : null })),
  hook.map((h): Event => ({ kind: "hookEnded", atMs: 0, generation: 0, hook: h, roll: 0.5 })),
  outcome.map((o): Event => ({ kind: "actionEnded", atMs: 0, action: "close-positions", outcome: o })),
  timer.map((t): Event => ({ kind: "elapsed", atMs: 0, generation: 0, timer: t, roll: 0.9 })),
);

/** One line of a hostile script: an event for the generation `back` before the current one, or a helpful answer. */
export interface Line {
  readonly event: Event | "cooperate";
  readonly back: number;
  readonly atMs: number;
  readonly twice: boolean;
}

/** Half of the lines help the bot along, so that the scripts get deep; the rest respects nothing. */
export const hostileScript: fc.Arbitrary<readonly Line[]> = fc.array(
  fc.record({
    event: fc.oneof(fc.constant("cooperate" as const), anyEvent),
    back: fc.constantFrom(0, 0, 0, 0, 1, 2, -1),
    atMs: fc.nat(1_000_000),
    twice: fc.boolean(),
  }),
  { maxLength: 60, size: "max" },
);

export interface Seen {
  readonly before: State;
  readonly event: Event;
  readonly after: Step;
}

/** Plays `script` from the initial state; `look` judges every step and its first complaint ends the play. */
export function play(
  policy: Policy,
  script: readonly Line[],
  look: (seen: Seen) => string | undefined = () => undefined,
): State {
  let state = initialState;
  for (const line of script)
    for (let times = line.twice ? 2 : 1; times > 0; times--) {
      const event = addressed(line, state);
      const after = step(policy, state, event);
      const complaint = look({ before: state, event, after });
      if (complaint !== undefined) throw new Error(`${complaint}: ${state.kind} + ${JSON.stringify(event)}`);
      state = after.state;
    }
  return state;
}

function addressed(line: Line, state: State): Event {
  const event = line.event === "cooperate" ? cooperate(state) : line.event;
  if (!("generation" in event)) return { ...event, atMs: line.atMs };
  return { ...event, atMs: line.atMs, generation: state.generation - line.back };
}

/** What a shell, a bot and a venue that all behave would answer in `state`. */
export function cooperate(state: State): Event {
  const any = samples(0, state.generation);
  switch (state.kind) {
    case "starting":
      return any.ready;
    case "running":
      return any.verdict;
    case "stopping":
      if (state.phase === "kill") return any.gone;
      return state.phase === "signal" ? any.exited : { ...any.hookEnded, hook: state.phase };
    case "stuck":
      return any.gone;
    case "backoff":
      return any.elapsed;
    case "recovering":
      return any.actionEnded;
    case "stopped":
    case "halted":
      return any.start;
    case "locked":
      return { ...any.arm, acceptPositions: true };
  }
}

/** Nothing has to happen next: down on purpose, locked, or up and healthy. */
export function atRest(state: State): boolean {
  switch (state.kind) {
    case "stopped":
    case "halted":
    case "locked":
      return true;
    case "running":
      return state.health === "healthy";
    case "starting":
    case "stopping":
    case "stuck":
    case "backoff":
    case "recovering":
      return false;
  }
}

/** A deed that the shell was told to do and has not answered yet. */
type Owed = { readonly kind: "spawn" | "sweep" | "preStop" | "postStop" | "action"; readonly generation: number };

/** The lawful world: timers that fire when due, deeds that are answered once, and a bot that does what it likes. */
export class World {
  state: State = initialState;
  atMs = 0;
  readonly timers = new Map<Timer, { readonly dueMs: number; readonly generation: number }>();
  owed: Owed[] = [];
  private alive = false;
  readonly policy: Policy;

  constructor(policy: Policy) {
    this.policy = policy;
  }

  /** Sends one event and takes its effects as orders. */
  send(event: Event): void {
    const next = step(this.policy, this.state, event);
    this.state = next.state;
    for (const effect of next.effects) this.obey(effect);
  }

  private obey(effect: Effect): void {
    const { generation } = this.state;
    if (effect.kind === "setTimer") this.timers.set(effect.timer, { dueMs: this.atMs + effect.delayMs, generation });
    if (effect.kind === "clearTimer") this.timers.delete(effect.timer);
    if (effect.kind === "spawn" || effect.kind === "sweep") this.owed.push({ kind: effect.kind, generation });
    if (effect.kind === "runHook") this.owed.push({ kind: effect.hook, generation });
    if (effect.kind === "runAction") this.owed.push({ kind: "action", generation });
  }

  /** Everything that may lawfully happen next; a timer moves the time to when it is due. */
  choices(): (() => void)[] {
    const any = samples(this.atMs, this.state.generation);
    const say = (event: Event) => () => this.send(event);
    const life: Event[] = [
      any.ready,
      any.leaving,
      any.extend,
      any.resetBackoff,
      any.failing,
      { ...any.failing, action: "emergency" },
      ...(["healthy", "unhealthy", "pending"] as const).map((h) => ({ ...any.verdict, health: h })),
    ];
    const ends = [0, 1, 78].map((code) => () => {
      this.alive = false;
      this.send({ ...any.exited, code });
    });
    const operator: Event[] = [any.newPolicy, any.start, any.stop, any.restart, any.emergency, any.arm];
    return [
      ...this.owed.flatMap((deed) => this.answers(deed)),
      ...this.nextTimer(),
      ...operator.map(say),
      say({ ...any.arm, acceptPositions: true }),
      ...(this.alive ? [...life.map(say), ...ends] : []),
    ];
  }

  /** The ways in which `deed` can end, the good one first. */
  answers(deed: Owed): (() => void)[] {
    const any = samples(this.atMs, deed.generation);
    const settle = (event: Event, alive: boolean) => () => {
      this.owed = this.owed.filter((o) => o !== deed);
      this.alive = alive;
      this.send(event);
    };
    switch (deed.kind) {
      case "spawn":
        return [
          settle(any.spawned, true),
          settle(any.spawnFailed, false),
          settle({ ...any.spawnFailed, permanent: true }, false),
        ];
      case "sweep":
        return [settle(any.gone, false), settle(any.survivors, false)];
      case "preStop":
      case "postStop":
        return [settle({ ...any.hookEnded, hook: deed.kind }, this.alive)];
      case "action":
        return (["flat", "residual", "keyRefused"] as const).map((o) =>
          settle({ ...any.actionEnded, outcome: o }, false),
        );
    }
  }

  private firstTimer() {
    return [...this.timers].sort((a, b) => a[1].dueMs - b[1].dueMs)[0];
  }

  /** Fires the timer that is due first; none when no timer is set. */
  nextTimer(): (() => void)[] {
    const first = this.firstTimer();
    if (first === undefined) return [];
    const [name, { dueMs, generation }] = first;
    return [
      () => {
        this.timers.delete(name);
        this.atMs = Math.max(this.atMs, dueMs);
        this.send({ ...samples(this.atMs, generation).elapsed, timer: name });
      },
    ];
  }

  /** Lets `ms` pass; timers that are due meanwhile fire, and what they ask for goes well. */
  pass(ms: number): this {
    const endMs = this.atMs + ms;
    while ((this.firstTimer()?.[1].dueMs ?? Number.POSITIVE_INFINITY) <= endMs) {
      this.nextTimer()[0]?.();
      this.obliged();
    }
    this.atMs = endMs;
    return this;
  }

  /** Sends an event of the current generation, and what it asks for goes well. */
  happen<K extends EventKind>(kind: K, fields: Partial<Of<Event, K>> = {}): this {
    this.send({ ...samples(this.atMs, this.state.generation)[kind], ...fields });
    return this.obliged();
  }

  /** Every deed ends well, but for a close: that is what tests wait for. */
  private obliged(): this {
    for (let deed = this.owed[0]; deed !== undefined && deed.kind !== "action"; deed = this.owed[0])
      this.answers(deed)[0]?.();
    return this;
  }

  /** Lets everybody behave for one step: owed answers first, then a healthy verdict, then time. */
  cooperate(): void {
    const [deed] = this.owed;
    if (deed !== undefined) return this.answers(deed)[0]?.();
    if (this.state.kind === "starting" || (this.state.kind === "running" && this.state.health !== "healthy"))
      return this.send({ ...cooperate(this.state), atMs: this.atMs });
    return this.nextTimer()[0]?.();
  }
}

export const lawfulScript = fc.array(fc.nat(1_000), { maxLength: 60, size: "max" });
