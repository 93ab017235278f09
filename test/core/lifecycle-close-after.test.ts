/** Scenarios of the lifecycle around closeAfter: when it counts, when it closes, and what ends it. */
import { describe, expect, test } from "vitest";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { basePolicy, Life, lives, MIN, S, withEmergency } from "./lifecycle-life.ts";
import { World } from "./lifecycle-world.ts";

/** The time of closeAfter is over, and nothing is known against the bot. */
const due = (): Life => new Life().run().fire("closeAfter");
const dueHealthy = (): Life => new Life().healthy().fire("closeAfter");

describe("step() and closeAfter", () => {
  test("counts from the start until the bot has been healthy for 10 s", () => {
    const life = new Life().on("start");
    expect(life.delay("closeAfter")).toBe(5 * MIN);
    life.on("spawned").on("verdict", { health: "healthy" });
    expect(life.state.closeClock).toBe("counting");
    expect(life.delay("settled")).toBe(10 * S);
    expect(life.effects).not.toContainEqual({ kind: "clearTimer", timer: "closeAfter" });
    life.fire("settled");
    expect(life.state).toMatchObject({ kind: "running", closeClock: "off" });
    expect(life.effects).toEqual([{ kind: "clearTimer", timer: "closeAfter" }]);
  });

  test("asks for no longer health than its own length", () => {
    expect(new Life(withEmergency({ closeAfter: 3 * S })).healthy().delay("settled")).toBe(3 * S);
    expect(new Life(withEmergency({ closeAfter: 60 * S })).healthy().delay("settled")).toBe(10 * S);
  });

  test.each(["pending", "unhealthy"] as const)("a healthy bot that turns %s starts its 10 s anew", (health) => {
    const life = new Life().healthy().on("verdict", { health });
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "settled" });
    expect(life.fire("settled").state.closeClock).toBe("counting");
    expect(life.on("verdict", { health: "healthy" }).delay("settled")).toBe(10 * S);
  });

  test("a settled bot that is healthy again after a pending moment sets no timer for it", () => {
    const life = new Life().settled().on("verdict", { health: "pending" }).on("verdict", { health: "healthy" });
    expect(life.deeds()).toEqual(["setTimer stable"]);
  });

  test.each(["stop", "exited", "leaving", "failing", "emergency"] as const)(
    "%s forgets how long it was healthy",
    (end) => {
      const life = new Life().healthy().on(end);
      expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "settled" });
    },
  );

  test("counts across restarts: a new generation does not set it anew", () => {
    const life = new Life().settled().die();
    expect(life.delay("closeAfter")).toBe(5 * MIN);
    life.comeBack();
    expect(life.all.filter((e) => e.kind === "setTimer" && e.timer === "closeAfter")).toHaveLength(2);
    expect(life.on("verdict", { health: "unhealthy" }).fire("closeAfter", { generation: 1 }).state).toMatchObject({
      kind: "stopping",
      after: { kind: "recover", trigger: "closeAfter" },
    });
  });

  test.each(["starting", "stopping", "backoff", "halted"] as const)("closes positions when it ends in %s", (kind) => {
    const life = lives[kind]().fire("closeAfter");
    if (life.state.kind === "stopping") life.on("gone");
    expect(life.state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
  });

  test("closes positions of a stuck bot only once its processes are gone", () => {
    const life = lives.stuck().fire("closeAfter");
    expect(life.state.kind).toBe("stuck");
    expect(life.deeds()).toEqual(["openIncident"]);
    expect(life.on("gone").state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
  });

  test("closes positions of a bot that is running and unhealthy, after the fence", () => {
    const life = new Life().settled().on("verdict", { health: "unhealthy" });
    expect(life.delay("closeAfter")).toBe(5 * MIN);
    life.fire("closeAfter");
    expect(life.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life.deeds()).not.toContain("runAction");
    expect(life.on("gone").deeds()).toEqual(["openIncident", "runAction"]);
  });
});

describe("step() and closeAfter of a bot that nothing is known against", () => {
  test("never fires on a bot that is only pending: it becomes due and says so", () => {
    const life = new Life().run().fire("closeAfter");
    expect(life.state).toMatchObject({ kind: "running", health: "pending", closeClock: "due" });
    expect(life.effects).toEqual([
      { kind: "note", level: "alert", text: "closeAfter is over, and no probe could tell whether the bot is healthy" },
    ]);
  });

  test("never fires on a bot that is healthy but not settled: it becomes due and says so quietly", () => {
    const life = new Life().healthy().fire("closeAfter");
    expect(life.state).toMatchObject({ kind: "running", health: "healthy", closeClock: "due" });
    expect(life.deeds()).toEqual([]);
    expect(life.effects).toMatchObject([{ kind: "note", level: "info" }]);
    expect(life.notes()[0]).toContain("the next bad news closes its positions");
  });

  test.each([
    ["pending", due],
    ["healthy but not settled", dueHealthy],
    ["healthy only since", () => due().on("verdict")],
  ] as const)("once due, the first bad news of a bot that is %s closes positions", (_health, life) => {
    const recovering = { kind: "recovering", trigger: "closeAfter" };
    expect(life().die().state).toMatchObject(recovering);
    expect(life().on("verdict", { health: "unhealthy" }).on("gone").state).toMatchObject(recovering);
    expect(life().on("failing").state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life().on("failing").on("gone").state).toMatchObject(recovering);
    expect(life().die(78).state).toMatchObject(recovering);
    expect(life().on("leaving").die().state).toMatchObject(recovering);
  });

  test("once due, a healthy verdict that lasts is forgiveness", () => {
    const life = due().on("verdict");
    expect(life.state.closeClock).toBe("due");
    expect(life.delay("settled")).toBe(10 * S);
    expect(life.fire("settled").state).toMatchObject({ kind: "running", health: "healthy", closeClock: "off" });
    expect(dueHealthy().fire("settled").state.closeClock).toBe("off");
    expect(dueHealthy().fire("settled").die().state).toMatchObject({ kind: "backoff", closeClock: "counting" });
  });

  test("once due, an operator's stop ends it", () => {
    expect(due().on("stop").die(0).state).toMatchObject({ kind: "stopped", closeClock: "off" });
  });

  test("that ends during an operator's restart closes nothing, but the new start inherits it", () => {
    const life = new Life().run().on("restart").fire("closeAfter").die(0);
    expect(life.state).toMatchObject({ kind: "starting", closeClock: "due" });
    expect(life.die().state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
  });

  test("an event of it that comes late, once the bot is settled, is nothing", () => {
    const life = new Life().settled();
    const before = life.state;
    expect(life.fire("closeAfter").state).toBe(before);
  });

  test.each(["stopped", "recovering", "locked"] as const)("is not counting in %s", (kind) => {
    const life = lives[kind]();
    const before = life.state;
    expect(before.closeClock).toBe("off");
    expect(life.fire("closeAfter").state).toBe(before);
  });

  test("does not exist for a bot without an emergency section", () => {
    const life = new Life({ emergency: undefined }).run().die();
    expect(life.all.filter((e) => e.kind === "setTimer" && e.timer === "closeAfter")).toEqual([]);
  });
});

/** A bot that is up and healthy after `pendingMs`. */
const up = (pendingMs: number): World => new World(basePolicy).happen("start").pass(pendingMs).happen("verdict");

/** A bot that comes up, is healthy for `healthyMs` and crashes, until it is down for good or `endMs` is over. */
function crashLoop(policy: Partial<Policy>, healthyMs: number, endMs: number): World {
  const world = new World({ ...basePolicy, budget: { intensity: 1_000, period: 10 * MIN }, ...policy }).happen("start");
  while (world.atMs < endMs && world.state.kind !== "recovering") {
    if (world.state.kind === "running") world.happen("verdict", { health: "healthy" }).pass(healthyMs).happen("exited");
    else world.pass(100);
  }
  return world;
}

describe("step() and closeAfter of a bot that is healthy for a moment at each start", () => {
  test.each([
    { closeAfter: 3 * S, healthyMs: 1 * S },
    { closeAfter: 3 * S, healthyMs: 3 * S - 1 },
    { closeAfter: 60 * S, healthyMs: 10 * S - 1 },
    { closeAfter: 5 * MIN, healthyMs: 9 * S },
  ])("closes positions although restarts would go on: $closeAfter ms, healthy for $healthyMs ms", (row) => {
    const world = crashLoop(withEmergency({ closeAfter: row.closeAfter }), row.healthyMs, 10 * MIN);
    expect(world.state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
    expect(world.atMs).toBeGreaterThanOrEqual(row.closeAfter);
    // When the time ends in a healthy moment, the crash after it closes.
    expect(world.atMs).toBeLessThanOrEqual(row.closeAfter + row.healthyMs);
  });

  test("goes on with a bot that is healthy for 10 s at each start", () => {
    const world = crashLoop({}, 10 * S, 60 * MIN);
    expect(world.state.kind).not.toBe("recovering");
    expect(world.state.restarts).toBeGreaterThan(40);
  });

  test("ends the count at 10 s of health, wherever in the count it becomes healthy", () => {
    expect(up(0).pass(10 * S - 1).state.closeClock).toBe("counting");
    expect(up(0).pass(10 * S).state.closeClock).toBe("off");
    expect(up(0).pass(60 * MIN).state).toMatchObject({ kind: "running", health: "healthy" });
    const late = up(5 * MIN - 1);
    expect(late.pass(10 * S - 1).state.closeClock).toBe("due");
    expect(late.pass(1).state).toMatchObject({ kind: "running", closeClock: "off" });
  });
});
