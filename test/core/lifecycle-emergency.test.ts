/** Scenarios of the lifecycle that end, or must not end, in the closing of positions: closeAfter, emergencies, lockouts. */
import { describe, expect, test } from "vitest";
import { CLOSE_RETRY_MS } from "../../src/core/ladder.ts";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { basePolicy, Life, lives, MIN, S } from "./lifecycle-life.ts";
import { World } from "./lifecycle-world.ts";

const spent = (policy: Partial<Policy> = {}): Life =>
  new Life({ ...policy, budget: { intensity: 1, period: 10 * MIN } }).run().die().comeBack().die();
const withEmergency = (fields: Partial<NonNullable<Policy["emergency"]>>): Partial<Policy> => ({
  emergency: { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"], ...fields },
});
const postStop = { hooks: { preStop: false, postStop: true } } as const;

/** The time of closeAfter is over, and nothing is known against the bot. */
const due = (): Life => new Life().run().fire("closeAfter");
const dueHealthy = (): Life => new Life().healthy().fire("closeAfter");

describe("step() when the budget is spent", () => {
  test("closes positions with onGiveUp: the incident is opened, then the first rung runs", () => {
    const life = spent();
    expect(life.state).toMatchObject({ kind: "recovering", rung: 0, trigger: "giveUp", closeClock: "off" });
    expect(life.deeds()).toEqual(["openIncident", "runAction"]);
  });

  test("halts without onGiveUp, and closeAfter still protects the positions", () => {
    const life = spent(withEmergency({ onGiveUp: false }));
    expect(life.state).toMatchObject({ kind: "halted", closeClock: "counting" });
    expect(life.fire("closeAfter").state).toMatchObject({ kind: "recovering", trigger: "closeAfter" });
  });

  test("a close that ends flat locks the bot for good, one that does not is tried again in slow rounds", () => {
    const flat = spent().on("actionEnded", { outcome: "flat" });
    expect(flat.state).toMatchObject({ kind: "locked", outcome: "flat", trigger: "giveUp" });
    expect(flat.deeds()).toEqual(["endIncident"]);
    const residual = spent().on("actionEnded", { outcome: "residual" });
    expect(residual.delay("retry")).toBe(CLOSE_RETRY_MS);
    expect(residual.fire("retry").state).toMatchObject({ kind: "recovering", rung: 0, trigger: "giveUp" });
    expect(residual.deeds()).toEqual(["openIncident", "runAction"]);
  });

  test.each(["keyRefused", "unsupported", "flat"] as const)("does not retry what time cannot cure: %s", (outcome) => {
    const life = spent().on("actionEnded", { outcome });
    expect(life.delay("retry")).toBeUndefined();
    expect(life.fire("retry").state.kind).toBe("locked");
  });

  test.each(["cancelled", "reduced"] as const)(
    "does not retry a close that was to leave positions open: %s",
    (outcome) => {
      const life = spent()
        .on("emergency", { goal: { kind: "cancel" } })
        .on("actionEnded", { outcome });
      expect(life.delay("retry")).toBeUndefined();
      expect(life.on("arm").state.kind).toBe("locked");
    },
  );

  test("a person who acknowledges ends the slow rounds, also for the next daemon, and the bot stays locked", () => {
    const life = spent().on("actionEnded", { outcome: "residual" }).on("acknowledge");
    expect(life.deeds()).toEqual(["acknowledgeIncident"]);
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "retry" });
    expect(life.state.kind).toBe("locked");
    const next = new Life().on("lockFound", { outcome: "residual", acknowledged: true });
    expect(next.state).toMatchObject({ kind: "locked", outcome: "residual" });
    expect(next.delay("retry")).toBeUndefined();
    expect(next.on("emergency").state.kind).toBe("recovering");
  });

  test("a person has nothing to acknowledge of a close that ended flat", () => {
    expect(spent().on("actionEnded", { outcome: "flat" }).on("acknowledge").effects).toEqual([]);
  });

  test("the goal of an order is in its incident, also when the bot has to be fenced first, and a slow round keeps the incident's", () => {
    const goal = { kind: "reduce", exposure: 500 } as const;
    const fenced = new Life().run().on("emergency", { goal });
    expect(fenced.effects).toContainEqual(expect.objectContaining({ kind: "openIncident", goal }));
    expect(fenced.on("gone").effects).toContainEqual(expect.objectContaining({ kind: "openIncident", goal }));
    const again = fenced.on("actionEnded", { outcome: "residual" }).fire("retry");
    const opened = again.effects.find(({ kind }) => kind === "openIncident");
    expect(opened).not.toHaveProperty("goal");
  });

  test("a rung that fails is followed by the next, and the last outcome is the one remembered", () => {
    const life = spent(withEmergency({ ladder: ["close-positions", "close-positions"] }));
    life.on("actionEnded", { outcome: "failed" });
    expect(life.state).toMatchObject({ kind: "recovering", rung: 1, outcome: "failed" });
    expect(life.deeds()).toEqual(["runAction"]);
    expect(life.on("actionEnded", { outcome: "flat" }).state).toMatchObject({ kind: "locked", outcome: "flat" });
  });

  test("an emergency in a slow round clears its timer, so that a flat account is left alone", () => {
    const life = spent().on("actionEnded", { outcome: "residual" }).on("emergency");
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "retry" });
    expect(life.on("actionEnded").fire("retry").state.kind).toBe("locked");
  });
});

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
      { kind: "note", level: "alert", text: "closeAfter is over and no probe could tell whether the bot is healthy" },
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

describe("step() on an emergency", () => {
  test.each(["stopped", "backoff", "halted", "locked"] as const)("closes at once in %s: the bot is gone", (kind) => {
    const life = lives[kind]().on("emergency");
    expect(life.state).toMatchObject({ kind: "recovering", trigger: "operator" });
    expect(life.deeds()).toEqual(["openIncident", "runAction"]);
  });

  test.each(["starting", "running"] as const)("fences first in %s: no signal, no hook, only the sweep", (kind) => {
    const life = lives[kind]({ hooks: { preStop: true, postStop: false } }).on("emergency");
    expect(life.deeds()).toEqual(["openIncident", "unwatch", "forbidOrders", "sweep"]);
    expect(life.on("gone").deeds()).toEqual(["openIncident", "runAction"]);
  });

  test("cuts a polite stop short, and changes nothing about a sweep under way", () => {
    const signalled = new Life().run().on("stop").on("emergency");
    expect(signalled.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(signalled.deeds()).toContain("sweep");
    const sweeping = new Life().run().on("exited").on("emergency");
    expect(sweeping.deeds()).toEqual(["openIncident"]);
    expect(sweeping.on("gone").state.kind).toBe("recovering");
  });

  test("does not wait for postStop: the hook runs beside the close", () => {
    const before = new Life(postStop).run().on("emergency").on("gone");
    expect(before.deeds()).toEqual(["runHook", "openIncident", "runAction"]);
    const during = new Life(postStop).run().on("stop").die(0);
    expect(during.state).toMatchObject({ kind: "stopping", phase: "postStop" });
    expect(during.on("emergency").state.kind).toBe("recovering");
  });

  test("waits for processes that cannot be killed, and says so", () => {
    const life = lives.stuck().on("emergency");
    expect(life.state.kind).toBe("stuck");
    expect(life.notes()[0]).toContain("positions cannot be closed while the bot may still trade");
    expect(life.on("gone").state.kind).toBe("recovering");
  });

  test("in recovering is already being answered", () => {
    const life = lives.recovering();
    const before = life.state;
    expect(life.on("emergency").state).toBe(before);
  });

  test("of a probe with onFailure: emergency fences the bot", () => {
    const life = new Life().healthy().on("failing", { action: "emergency" });
    expect(life.state).toMatchObject({ phase: "kill", after: { kind: "recover", trigger: "probe" } });
  });

  test("goes on whatever the operator asks for meanwhile", () => {
    const life = new Life().run().on("emergency").on("start");
    expect(life.notes()).toEqual(["not started: an emergency is under way"]);
    expect(life.on("stop").on("gone").state).toMatchObject({ kind: "recovering", wanted: false });
    const stuck = lives.stuck().on("emergency").on("start").on("stop").on("gone");
    expect(stuck.state.kind).toBe("recovering");
  });

  test("locks a bot that has nothing configured to close with, and does not try again", () => {
    const life = new Life({ emergency: undefined }).run().on("emergency").on("gone");
    expect(life.state).toMatchObject({ kind: "locked", outcome: "unsupported" });
    expect(life.deeds()).toEqual(["openIncident", "endIncident"]);
  });

  test("a stop during recovering is remembered: the arm that follows starts nothing", () => {
    const life = new Life().run().on("emergency").on("gone").on("stop").on("actionEnded");
    expect(life.on("arm").state).toMatchObject({ kind: "stopped", wanted: false });
  });
});

describe("step() and the lockout", () => {
  test("arm starts a wanted bot whose account is flat, with a new budget", () => {
    const life = spent().on("actionEnded").on("arm");
    expect(life.state).toMatchObject({ kind: "starting", generation: 3, log: [], attempt: 0 });
    expect(life.deeds()).toEqual(["unlock", "setTimer closeAfter", "permitOrders", "setTimer start", "spawn"]);
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "retry" });
  });

  test("arm is refused while positions are not proven closed, unless a person accepts them", () => {
    const life = spent().on("actionEnded", { outcome: "residual" }).on("arm");
    expect(life.state.kind).toBe("locked");
    expect(life.notes()).toEqual(["not re-armed: positions are not proven closed (residual)"]);
    expect(life.on("arm", { acceptPositions: true }).state.kind).toBe("starting");
  });

  test("start and restart are refused in words", () => {
    for (const kind of ["recovering", "locked"] as const)
      expect(lives[kind]().on("start").notes()).toEqual([
        "not started: the bot is locked out until a person re-arms it",
      ]);
  });

  test("a lockout whose close had ended is kept, one whose close had not is gone on with", () => {
    const ended = new Life().on("lockFound", { outcome: "residual" });
    expect(ended.state).toMatchObject({ kind: "locked", outcome: "residual", wanted: true });
    expect(ended.delay("retry")).toBe(CLOSE_RETRY_MS);
    const open = new Life().on("lockFound", { outcome: undefined });
    expect(open.state).toMatchObject({ kind: "recovering", trigger: "giveUp" });
    expect(open.deeds()).toEqual(["openIncident", "runAction"]);
  });

  test.each([
    ["flat", "locked"],
    [undefined, "recovering"],
  ] as const)("found with leftovers (outcome %s), it waits for their end and is then %s", (outcome, kind) => {
    const swept = new Life().on("leftovers").on("lockFound", { outcome });
    expect(swept.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(swept.on("gone").state.kind).toBe(kind);
    const stuck = new Life().on("leftovers").on("survivors").on("lockFound", { outcome });
    expect(stuck.on("start").on("gone").state.kind).toBe(kind);
  });

  test("an old lockout does not make an emergency forgotten that came before it was read", () => {
    const life = new Life().on("leftovers").on("emergency").on("lockFound", { outcome: "flat" });
    expect(life.on("gone").state).toMatchObject({ kind: "recovering", trigger: "operator" });
  });

  test("an unfinished lockout that is found during postStop does not wait for the hook", () => {
    const life = new Life(postStop).on("leftovers").on("gone").on("lockFound", { outcome: undefined });
    expect(life.state.kind).toBe("recovering");
  });

  test("the policy of these tests is the one of the contract", () => {
    expect(basePolicy.emergency).toEqual({ closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] });
  });
});
