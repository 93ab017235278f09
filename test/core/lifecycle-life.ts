/** One bot's life for the tests of the lifecycle: sends events to `step`, keeps the state, the time and the effects. */
import { initialState, step } from "../../src/core/lifecycle.ts";
import { SETTLED_MS } from "../../src/core/lifecycle-moves.ts";
import type { Effect, Event, EventKind, Of, Policy, State, StateKind } from "../../src/core/lifecycle-types.ts";

export const S = 1_000;
export const MIN = 60 * S;

/** A policy with every default of the contract, no jitter, and an emergency section. */
export const basePolicy: Policy = {
  restart: "always",
  backoff: { base: 1 * S, factor: 2, cap: 60 * S, jitter: 0 },
  budget: { intensity: 5, period: 10 * MIN },
  resetAfter: 10 * MIN,
  haltExitCodes: [78],
  ready: "started",
  startTimeout: 30 * S,
  stopTimeout: 30 * S,
  hooks: { preStop: false, postStop: false },
  emergency: { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] },
};

/** What is changed of the emergency section of `basePolicy`. */
export function withEmergency(fields: Partial<NonNullable<Policy["emergency"]>>): Partial<Policy> {
  return { emergency: { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"], ...fields } };
}

type Samples = { readonly [K in EventKind]: Of<Event, K> };

/** One plain event of every kind, as it would come for generation `generation` at `atMs`. */
export function samples(atMs: number, generation: number): Samples {
  const now = { atMs, generation };
  return {
    start: { kind: "start", atMs },
    stop: { kind: "stop", atMs },
    restart: { kind: "restart", atMs },
    emergency: { kind: "emergency", atMs, trigger: "operator", reason: "asked for" },
    arm: { kind: "arm", atMs, acceptPositions: false },
    acknowledge: { kind: "acknowledge", atMs },
    lockFound: { kind: "lockFound", atMs, outcome: undefined, trigger: "giveUp", reason: "found", wanted: true },
    leftovers: { kind: "leftovers", atMs, pids: [4_242] },
    backoffFound: { kind: "backoffFound", atMs, leftMs: 2 * S },
    adopted: { kind: "adopted", atMs, generation, ready: true },
    spawned: { kind: "spawned", ...now },
    spawnFailed: { kind: "spawnFailed", ...now, permanent: false, reason: "cannot fork: EAGAIN", roll: 0 },
    ready: { kind: "ready", ...now },
    verdict: { kind: "verdict", ...now, health: "healthy" },
    failing: { kind: "failing", ...now, cause: "heartbeat", detail: "silent for 60 s", action: "restart" },
    leaving: { kind: "leaving", ...now },
    extend: { kind: "extend", ...now, extendMs: 60 * S },
    resetBackoff: { kind: "resetBackoff", ...now },
    exited: { kind: "exited", ...now, code: 1, signal: null, oom: false, roll: 0 },
    gone: { kind: "gone", ...now, roll: 0 },
    survivors: { kind: "survivors", ...now, pids: [4_242] },
    hookEnded: { kind: "hookEnded", ...now, hook: "postStop", roll: 0 },
    actionEnded: { kind: "actionEnded", atMs, action: "close-positions", outcome: "flat" },
    newPolicy: { kind: "newPolicy", atMs, before: { startTimeout: 1, resetAfter: 1 }, countedMs: undefined },
    elapsed: { kind: "elapsed", ...now, timer: "backoff", roll: 0 },
  };
}

/** A life under `policy`; every method that sends an event returns the life, so that calls chain. */
export class Life {
  state: State = initialState;
  atMs = 0;
  /** Effects of the last event. */
  effects: readonly Effect[] = [];
  /** Effects of all events so far. */
  all: Effect[] = [];
  readonly policy: Policy;

  constructor(policy: Partial<Policy> = {}) {
    this.policy = { ...basePolicy, ...policy };
  }

  on<K extends EventKind>(kind: K, fields: Partial<Of<Event, K>> = {}): this {
    // Safe: a sample of this kind with some of its own fields replaced is an event of this kind.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const event = { ...samples(this.atMs, this.state.generation)[kind], ...fields } as Event;
    const next = step(this.policy, this.state, event);
    this.state = next.state;
    this.effects = next.effects;
    this.all.push(...next.effects);
    return this;
  }

  after(ms: number): this {
    this.atMs += ms;
    return this;
  }

  fire(timer: Of<Event, "elapsed">["timer"], fields: Partial<Of<Event, "elapsed">> = {}): this {
    return this.on("elapsed", { timer, ...fields });
  }

  /** Started and ready, whatever `ready` says; its health is pending. */
  run(): this {
    this.on("start").on("spawned");
    return this.state.kind === "running" ? this : this.on("ready");
  }

  healthy(): this {
    return this.run().on("verdict", { health: "healthy" });
  }

  /** Healthy for so long that `closeAfter` does not count any more. */
  settled(): this {
    return this.healthy().after(SETTLED_MS).fire("settled");
  }

  /** Dies with `code` and is proven gone. */
  die(code = 1): this {
    return this.on("exited", { code }).on("gone");
  }

  /** From backoff to running again. */
  comeBack(): this {
    return this.fire("backoff").on("spawned");
  }

  /** Delay of `timer` in the last effects, ms; `undefined` when it was not set. */
  delay(timer: Of<Effect, "setTimer">["timer"]): number | undefined {
    return this.effects.flatMap((e) => (e.kind === "setTimer" && e.timer === timer ? [e.delayMs] : []))[0];
  }

  /** The kinds of the last effects, notes and cleared timers left out. */
  deeds(): string[] {
    return this.effects.flatMap((e) => {
      if (e.kind === "note" || e.kind === "clearTimer") return [];
      return e.kind === "setTimer" ? [`setTimer ${e.timer}`] : [e.kind];
    });
  }

  /** Texts of the notes among the last effects. */
  notes(): string[] {
    return this.effects.flatMap((e) => (e.kind === "note" ? [e.text] : []));
  }
}

/** A life in each state, for tests that ask something of all of them. */
export const lives: { readonly [S in StateKind]: (policy?: Partial<Policy>) => Life } = {
  stopped: (policy) => new Life(policy),
  starting: (policy) => new Life({ ...policy, ready: "notify" }).on("start").on("spawned"),
  running: (policy) => new Life(policy).run(),
  stopping: (policy) => new Life(policy).run().on("failing"),
  backoff: (policy) => new Life(policy).run().die(),
  recovering: (policy) => new Life(policy).on("emergency"),
  halted: (policy) => new Life(policy).run().die(78),
  locked: (policy) => new Life(policy).on("emergency").on("actionEnded"),
  stuck: (policy) => new Life(policy).run().on("exited").on("survivors"),
};
