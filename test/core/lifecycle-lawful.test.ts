/** Properties of the lifecycle in a lawful world: no timer and no deed is forgotten, and everything comes to rest. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { initialState } from "../../src/core/lifecycle.ts";
import type { Event, Policy, State, StateKind, Timer } from "../../src/core/lifecycle-types.ts";
import { retriesByItself } from "../../src/core/ladder.ts";
import { anyPolicy, atRest, lawfulScript, RUNS, STEPS_TO_REST, World } from "./lifecycle-world.ts";

/** The timers that may be set in a state; whatever else is set there was forgotten. */
function meaningful(state: State): Timer[] {
  const closing: Timer[] = state.closeClock === "counting" ? ["closeAfter"] : [];
  const own: { readonly [K in StateKind]: Timer[] } = {
    stopped: [],
    starting: ["start"],
    running: ["stable", "settled"],
    stopping: ["stop"],
    backoff: ["backoff"],
    recovering: [],
    halted: [],
    locked: ["retry"],
    stuck: ["sweep"],
  };
  return [...own[state.kind], ...closing];
}

/** Whether the bot is on its way to end `closeAfter` by being healthy. */
function isSettling(state: State): boolean {
  return state.kind === "running" && state.health === "healthy" && state.closeClock !== "off";
}

/** What must be under way, or nothing would ever happen again. */
function isMoving({ state, timers, owed }: World): boolean {
  const owes = (kind: string): boolean => owed.some((o) => o.kind === kind);
  switch (state.kind) {
    case "starting":
      return timers.has("start");
    case "stopping":
      return state.phase === "kill" ? owes("sweep") : timers.has("stop");
    case "backoff":
      return timers.has("backoff");
    case "recovering":
      return owes("action");
    case "stuck":
      return timers.has("sweep") || owes("sweep");
    case "locked":
      return timers.has("retry") === retriesByItself(state.outcome);
    case "running":
    case "stopped":
    case "halted":
      return true;
  }
}

function checkWorld(world: World): void {
  const { state, timers } = world;
  const forgotten = [...timers.keys()].filter((t) => !meaningful(state).includes(t));
  if (forgotten.length > 0) throw new Error(`timers ${forgotten.join(", ")} are forgotten in ${state.kind}`);
  if ((state.closeClock === "counting") !== timers.has("closeAfter"))
    throw new Error(`closeClock is ${state.closeClock} in ${state.kind}, its timer says otherwise`);
  if (isSettling(state) !== timers.has("settled"))
    throw new Error(`closeClock is ${state.closeClock} in ${state.kind}, the timer settled says otherwise`);
  if (!isMoving(world)) throw new Error(`nothing is under way in ${state.kind}`);
}

/** What the shell may find on disk and in /proc when it starts: nothing, processes, a lockout, or both. */
function findAtStart(world: World, pick: number): void {
  const leftovers: Event = { kind: "leftovers", atMs: 0, pids: [7] };
  const lock: Event = {
    kind: "lockFound",
    atMs: 0,
    outcome: pick % 8 < 4 ? undefined : "residual",
    trigger: "giveUp",
    reason: "found",
    wanted: true,
  };
  if (pick % 4 === 1 || pick % 4 === 3) world.send(leftovers);
  if (pick % 4 === 2 || pick % 4 === 3) world.send(lock);
  if (leftoversOwed(world)) world.owed = [{ kind: "sweep", generation: world.state.generation }];
}

const leftoversOwed = (world: World): boolean => world.state.kind === "stopping";

function live(policy: Policy, script: readonly number[]): World {
  const world = new World(policy);
  findAtStart(world, script[0] ?? 0);
  checkWorld(world);
  for (const pick of script) {
    const choices = world.choices();
    choices[pick % choices.length]?.();
    checkWorld(world);
  }
  return world;
}

describe("step() in a lawful world", () => {
  test("every timer that is set means something, and every state that must move has something under way", () => {
    const property = fc.property(anyPolicy, lawfulScript, (policy, script) => void live(policy, script));
    expect(() => fc.assert(property, RUNS)).not.toThrow();
  });

  test("comes to rest once everybody behaves, with no deed owed", () => {
    const property = fc.property(anyPolicy, lawfulScript, (policy, script) => {
      const world = live(policy, script);
      const resting = (): boolean => atRest(world.state) && world.owed.length === 0;
      for (let i = 0; i < STEPS_TO_REST && !resting(); i++) world.cooperate();
      if (!resting()) throw new Error(`still ${world.state.kind}, owed ${JSON.stringify(world.owed)}`);
    });
    expect(() => fc.assert(property, RUNS)).not.toThrow();
  });
});

test("initialState is at rest and owes nothing", () => {
  expect(atRest(initialState)).toBe(true);
});
