/** A restart that waits for nothing is one step, and leads where the long way leads. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { initialState, step } from "../../src/core/lifecycle.ts";
import type { Event, Of, Policy, State } from "../../src/core/lifecycle-types.ts";
import { basePolicy, Life, samples, withEmergency } from "./lifecycle-life.ts";
import { anyPolicy, hostileScript, play, RUNS } from "./lifecycle-world.ts";

const noDelay = { backoff: { ...basePolicy.backoff, base: 0 } };
const proven = { proven: true } as const;

describe("an end that leaves nobody behind", () => {
  test("is followed by the next start in one step, where the backoff has no delay", () => {
    const life = new Life(noDelay).run().on("exited", { code: null, signal: "SIGKILL", ...proven });
    expect(life.state).toMatchObject({
      kind: "starting",
      generation: 2,
      restarts: 1,
      restartsBy: { signal: 1 },
      attempt: 1,
      lastExit: { cause: "signal", signal: "SIGKILL" },
    });
    expect(life.deeds()).toEqual(["unwatch", "seal", "permitOrders", "setTimer start", "spawn"]);
    expect(life.effects).toContainEqual({ kind: "seal", generation: 1 });
    expect(life.effects).toContainEqual({
      kind: "note",
      level: "warn",
      text: "killed by SIGKILL; restart 1 at once",
    });
    expect(life.effects).toContainEqual({ kind: "note", level: "info", text: "nothing of the last start lives" });
  });

  test.each<[string, Partial<Policy>, Partial<Of<Event, "exited">>]>([
    ["somebody may live", noDelay, { proven: false }],
    ["the shell does not say", noDelay, {}],
    ["the backoff has a delay", {}, proven],
    ["a hook is to run after it", { ...noDelay, hooks: { preStop: false, postStop: true } }, proven],
    ["it ended well and is not to be restarted", { ...noDelay, restart: "on-failure" }, { ...proven, code: 0 }],
    ["the exit code says that a restart is pointless", noDelay, { ...proven, code: 78 }],
    ["the budget is spent", { ...noDelay, budget: { intensity: 0, period: 1 } }, proven],
  ])("is swept first where %s", (_, policy, fields) => {
    const life = new Life(policy).run().on("exited", fields);
    expect(life.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life.deeds()).toEqual(["unwatch", "forbidOrders", "sweep"]);
  });

  test("is swept first where closeAfter is over: what follows is a close", () => {
    const life = new Life({ ...noDelay, ...withEmergency({ closeAfter: 1 }) }).healthy();
    life.on("verdict", { health: "unhealthy" }).on("verdict", { health: "pending" }).after(1).fire("closeAfter");
    expect(life.state).toMatchObject({ kind: "running", closeClock: "due" });
    expect(life.on("exited", proven).state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life.on("gone").state.kind).toBe("recovering");
  });
});

const up = fc.constantFrom<State["kind"]>("starting", "running");

/** Where the bot is after its end, its sweep, and its wait. */
function longWay(policy: Policy, from: State, exit: Of<Event, "exited">): State {
  const { atMs } = exit;
  const swept = step(policy, from, { ...exit, proven: false }).state;
  const waiting = step(policy, swept, { ...samples(atMs, from.generation).gone, roll: 0.3 }).state;
  return step(policy, waiting, { ...samples(atMs, from.generation).elapsed, timer: "backoff" }).state;
}

test("whatever came before: the one step and the long way end in the same state", () => {
  let taken = 0;
  fc.assert(
    fc.property(anyPolicy, hostileScript, up, fc.nat(1_000_000), (policy, script, kind, atMs) => {
      const before = play(policy, script);
      const from = before.kind === kind ? before : startedFrom(policy, before, kind);
      if (from.kind !== kind) return;
      const exit = { ...samples(atMs, from.generation).exited, code: null, signal: "SIGKILL", roll: 0.3, proven: true };
      const { state, effects } = step(policy, from, exit);
      if (state.kind !== "starting") return;
      taken += 1;
      expect(state).toEqual(longWay(policy, from, exit));
      const kinds = effects.map((effect) => effect.kind);
      expect(kinds.indexOf("seal")).toBeLessThan(kinds.indexOf("spawn"));
    }),
    RUNS,
  );
  expect(taken).toBeGreaterThan(100);
});

/** An operator's start of what is down. */
function startedFrom(policy: Policy, before: State, kind: State["kind"]): State {
  const down = before.kind === "stopped" || before.kind === "halted" ? before : initialState;
  const starting = step(policy, down, samples(0, down.generation).start).state;
  if (kind === "starting") return starting;
  const spawned = step(policy, starting, samples(0, starting.generation).spawned).state;
  return spawned.kind === "running" ? spawned : step(policy, spawned, samples(0, spawned.generation).ready).state;
}
