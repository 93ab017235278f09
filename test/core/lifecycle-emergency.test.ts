/** Scenarios of the lifecycle that end, or must not end, in the closing of positions: spent budgets, emergencies, lockouts. */
import { describe, expect, test } from "vitest";
import { FLAT } from "../../src/core/close-goal.ts";
import { CLOSE_RETRY_MS } from "../../src/core/ladder.ts";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { basePolicy, Life, lives, MIN, withEmergency } from "./lifecycle-life.ts";

const spent = (policy: Partial<Policy> = {}): Life =>
  new Life({ ...policy, budget: { intensity: 1, period: 10 * MIN } }).run().die().comeBack().die();
const postStop = { hooks: { preStop: false, postStop: true } } as const;

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

  test("what survives SIGKILL without a pid here is told without one, which somebody might kill", () => {
    const life = new Life().run().on("exited");
    expect(life.on("survivors", { pids: [0] }).notes()).toEqual([
      "cannot kill a process without a pid here: no new start until they are gone",
    ]);
    expect(life.on("start").notes()).toEqual([
      "not started: a process without a pid here of the last start cannot be killed",
    ]);
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

describe("step() on an order while a close is under way", () => {
  test("to close everything, in a close that may do less, is on disk at once and carried out when that has ended", () => {
    const less = new Life().on("emergency", { goal: { kind: "cancel" } });
    less.on("emergency", { trigger: "file", reason: "the file is there", goal: FLAT });
    expect(less.state).toMatchObject({ kind: "recovering", ordered: { trigger: "file", goal: FLAT } });
    expect(less.deeds()).toEqual(["openIncident"]);
    expect(less.effects).toContainEqual(expect.objectContaining({ kind: "openIncident", trigger: "file", goal: FLAT }));
    less.on("emergency", { goal: FLAT });
    expect(less.effects).toEqual([]);
    less.on("actionEnded", { outcome: "cancelled" });
    expect(less.deeds()).toEqual(["openIncident", "runAction"]);
    expect(less.on("actionEnded", { outcome: "flat" }).state).toMatchObject({ kind: "locked", outcome: "flat" });
  });

  test("to close everything is not carried out once more where everything was being closed, or is", () => {
    const all = new Life().on("emergency", { goal: FLAT });
    expect(all.on("emergency", { goal: FLAT }).effects).toEqual([]);
    expect(all.on("actionEnded", { outcome: "residual" }).state.kind).toBe("locked");
    const unknown = new Life().on("lockFound", { outcome: undefined }).on("emergency", { goal: FLAT });
    expect(unknown.on("actionEnded", { outcome: "flat" }).state).toMatchObject({ kind: "locked", outcome: "flat" });
  });

  test("to close less than what is being closed changes nothing", () => {
    const all = new Life().on("emergency");
    expect(all.on("emergency", { goal: { kind: "cancel" } }).effects).toEqual([]);
  });
});

describe("step() and the lockout", () => {
  test("arm starts a wanted bot whose account is flat, with a new budget", () => {
    const life = spent().on("actionEnded").on("arm");
    expect(life.state).toMatchObject({ kind: "starting", generation: 3, log: [], attempt: 0 });
    expect(life.deeds()).toEqual(["unlock", "setTimer closeAfter", "permitOrders", "setTimer start", "spawn"]);
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "retry" });
  });

  test.each([[], ["leftovers"]] as const)(
    "arm starts a bot that an order kept from its first start, if it would have been started (%s)",
    (...before) => {
      const ordered = (wanted: boolean): Life => {
        const life = new Life();
        for (const kind of before) life.on(kind);
        life.on("emergency", { wanted });
        return (before.length === 0 ? life : life.on("gone")).on("actionEnded").on("arm");
      };
      expect(ordered(true).state.kind).toBe("starting");
      expect(ordered(false).state.kind).toBe("stopped");
    },
  );

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

test("a start that waits for what is in its way spends no budget, however often: nothing is given up or closed for it", () => {
  const emergency = { closeAfter: 1_000 * MIN, onGiveUp: true, ladder: ["close-positions"] } as const;
  const life = new Life({ emergency, budget: { intensity: 1, period: 10 * MIN } }).on("start");
  for (let look = 0; look < 20; look += 1) {
    life.on("spawnFailed", { waits: true, reason: "it lives elsewhere" }).on("gone");
    expect(life.state).toMatchObject({ kind: "backoff", log: [] });
    life.fire("backoff");
  }
  // What fails is booked as ever.
  life.on("spawnFailed").on("gone").fire("backoff").on("spawnFailed").on("gone");
  expect(life.state).toMatchObject({ kind: "recovering", trigger: "giveUp" });
});

test.each([{ kind: "cancel" }, { kind: "reduce", exposure: 500 }] as const)(
  "an order to close everything is not made less ($kind) by a later one while its bot is fenced or cannot be killed",
  (goal) => {
    const fenced = new Life().run().on("emergency", { goal: FLAT });
    expect(fenced.on("emergency", { trigger: "exposure", goal }).effects).toEqual([]);
    expect(fenced.state).toMatchObject({ kind: "stopping", after: { kind: "recover", goal: FLAT } });
    const stuck = fenced.on("survivors", { pids: [7] });
    expect(stuck.on("emergency", { goal }).effects).toEqual([]);
    expect(stuck.on("gone").state).toMatchObject({ kind: "recovering", goal: FLAT });
    const less = new Life().run().on("emergency", { goal }).on("emergency", { goal: FLAT });
    expect(less.on("gone").state).toMatchObject({ kind: "recovering", goal: FLAT });
  },
);
