/** Scenarios of the lifecycle without emergencies: start, readiness, crash loops, stops, operators and late events. */
import { describe, expect, test } from "vitest";
import { initialState, step, table } from "../../src/core/lifecycle.ts";
import { EXTEND_LIMIT_FACTOR, SWEEP_RETRY_MS } from "../../src/core/lifecycle-moves.ts";
import type { EventKind, StateKind } from "../../src/core/lifecycle-types.ts";
import { basePolicy, Life, lives, MIN, S, samples } from "./lifecycle-life.ts";

const noEmergency = { emergency: undefined } as const;
const bothHooks = { hooks: { preStop: true, postStop: true } } as const;
// Safe: the keys of a record over all states and all events are those states and events.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const stateKinds = Object.keys(lives) as StateKind[];
// Safe: the table has these keys by its type.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const eventKinds = Object.keys(samples(0, 0)) as EventKind[];

describe("table", () => {
  test("has a row for every state and a cell for every event", () => {
    expect(Object.keys(table).toSorted()).toEqual(stateKinds.toSorted());
    for (const row of Object.values(table)) expect(Object.keys(row).toSorted()).toEqual(eventKinds.toSorted());
  });

  test.each(stateKinds)("answers every event in %s, and nothing comes of an ignored one", (kind) => {
    for (const event of eventKinds) {
      const life = lives[kind]();
      expect(life.state.kind).toBe(kind);
      const before = life.state;
      life.on(event);
      if (table[kind][event] !== "ignore") continue;
      expect(life.state).toBe(before);
      expect(life.effects).toEqual([]);
    }
  });

  test.each(["starting", "running", "stopping", "stuck", "backoff"] as const)(
    "lets no event of an older or a newer generation change %s",
    (kind) => {
      for (const event of eventKinds)
        for (const generation of [0, 2]) {
          const life = lives[kind]();
          if (!("generation" in samples(0, 0)[event])) continue;
          const before = life.state;
          life.on(event, { generation });
          expect(life.state).toBe(before);
        }
    },
  );
});

describe("step() on the way up", () => {
  test("starts generation 1 with closeAfter counting, orders permitted and the start timer set", () => {
    const life = new Life().on("start");
    expect(life.state).toMatchObject({ kind: "starting", generation: 1, wanted: true, deadlineMs: 30 * S });
    expect(life.deeds()).toEqual(["setTimer closeAfter", "permitOrders", "setTimer start", "spawn"]);
    expect(life.effects.at(-1)).toEqual({ kind: "spawn", generation: 1 });
  });

  test("is running as soon as it is adopted where ready is started, whatever the earlier supervisor noted", () => {
    const life = new Life({ ready: "started" }).on("adopted", { ready: false });
    expect(life.state.kind).toBe("running");
    expect(new Life({ ready: "notify" }).on("adopted", { ready: false }).state.kind).toBe("starting");
  });

  test("is running as soon as it is spawned where ready is started", () => {
    const life = new Life({ ready: "started" }).on("start").on("spawned");
    expect(life.state).toMatchObject({ kind: "running", health: "pending" });
    expect(life.effects).toEqual([
      { kind: "clearTimer", timer: "start" },
      { kind: "watch", stage: "running" },
    ]);
  });

  test.each(["notify", "probe"] as const)("waits for the word of the bot where ready is %s", (ready) => {
    const life = new Life({ ready }).on("start").on("spawned");
    expect(life.state.kind).toBe("starting");
    expect(life.deeds()).toEqual(["watch"]);
    life.on("ready");
    expect(life.state.kind).toBe("running");
    expect(life.effects.at(-1)).toEqual({ kind: "watch", stage: "running" });
  });

  test("replaces a bot that is not ready in time", () => {
    const life = new Life({ ready: "notify" }).on("start").on("spawned").fire("start");
    expect(life.state).toMatchObject({ kind: "stopping", after: { kind: "restart" } });
    expect(life.state.lastExit?.cause).toBe("startTimeout");
  });

  test("halts at once when a start can never succeed, and starts again only for an operator", () => {
    const life = new Life(noEmergency).on("start").on("spawnFailed", { permanent: true, reason: "no such file" });
    expect(life.deeds()).toContain("sweep");
    life.on("gone");
    expect(life.state).toMatchObject({ kind: "halted", reason: "no such file", log: [], restarts: 0 });
    expect(life.on("start").state).toMatchObject({ kind: "starting", generation: 2 });
  });

  test("counts a start that failed for want of memory or processes as a restart", () => {
    const life = new Life().on("start").on("spawnFailed").on("gone");
    expect(life.state).toMatchObject({ kind: "backoff", attempt: 1, restarts: 0, lastExit: { cause: "spawnFailed" } });
    expect(life.delay("backoff")).toBe(1 * S);
    expect(life.comeBack().state).toMatchObject({ restarts: 1, restartsBy: { spawnFailed: 1 } });
  });

  test("moves the start deadline when the bot asks, up to ten times the timeout", () => {
    const life = lives
      .starting()
      .after(20 * S)
      .on("extend", { extendMs: 60 * S });
    expect(life.state).toMatchObject({ deadlineMs: 80 * S });
    expect(life.delay("start")).toBe(60 * S);
    life.on("extend", { extendMs: 5 * S });
    expect(life.effects).toEqual([]);
    life.on("extend", { extendMs: 100 * MIN });
    expect(life.state).toMatchObject({ deadlineMs: 30 * S * EXTEND_LIMIT_FACTOR });
    expect(life.on("extend", { extendMs: 200 * MIN }).effects).toEqual([]);
  });
});

describe("step() in a crash loop", () => {
  test("waits 1, 2, 4 … seconds up to the cap", () => {
    const life = new Life({ budget: { intensity: 9, period: 10 * MIN } }).run();
    const delays: (number | undefined)[] = [];
    for (let i = 0; i < 9; i++) {
      life.die();
      delays.push(life.delay("backoff"));
      life.comeBack();
    }
    expect(delays.map((ms) => (ms ?? 0) / S)).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(life.state).toMatchObject({ kind: "running", generation: 10, restarts: 9, attempt: 9 });
  });

  test("sweeps the tree before every restart", () => {
    const life = new Life().run().on("exited");
    expect(life.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life.deeds()).toEqual(["unwatch", "forbidOrders", "sweep"]);
  });

  test("halts when the budget is spent and the bot has no emergency section", () => {
    const life = new Life({ ...noEmergency, budget: { intensity: 2, period: 10 * MIN } }).run();
    life.die().comeBack().die().comeBack().die();
    expect(life.state).toMatchObject({ kind: "halted", restarts: 2 });
    expect(life.notes()).toEqual(["exited with 1", "halted: restart budget spent: more than 2 restarts in 10m"]);
  });

  test("goes on for ever when the crashes are further apart than the period allows", () => {
    const life = new Life({ budget: { intensity: 2, period: 10 * MIN } }).run();
    for (let i = 0; i < 10; i++)
      life
        .after(6 * MIN)
        .die()
        .comeBack();
    expect(life.state).toMatchObject({ kind: "running", restarts: 10 });
  });

  test("an operator's start grants a new budget and a new backoff", () => {
    const life = new Life().run().die().comeBack().die();
    expect(life.on("start").state).toMatchObject({ kind: "starting", log: [], attempt: 0 });
  });

  test.each(["start", "restart", "stop"] as const)("a %s in the place of a restart leaves it uncounted", (wish) => {
    const life = new Life().run().die().comeBack().die();
    expect(life.state.log).toHaveLength(2);
    expect(life.on(wish).state).toMatchObject({ restarts: 1, restartsBy: { exited: 1 } });
  });

  test("resets the backoff only after resetAfter of healthy running", () => {
    const life = new Life().run().die().comeBack();
    expect(life.fire("stable").state.attempt).toBe(1);
    life.on("verdict", { health: "healthy" });
    expect(life.delay("stable")).toBe(basePolicy.resetAfter);
    expect(life.on("verdict", { health: "pending" }).effects).toEqual([
      { kind: "clearTimer", timer: "stable" },
      { kind: "clearTimer", timer: "settled" },
    ]);
    expect(life.fire("stable").state.attempt).toBe(1);
    expect(life.on("verdict", { health: "healthy" }).fire("stable").state).toMatchObject({ attempt: 0, restarts: 1 });
  });

  test("RESTART_RESET starts the backoff anew and leaves the budget as it is", () => {
    const life = new Life().run().die().comeBack().on("resetBackoff");
    expect(life.state).toMatchObject({ attempt: 0, log: [{ atMs: 0, count: 1 }] });
  });
});

describe("step() on an end that nobody asked for", () => {
  test.each([
    ["always", 0, "backoff"],
    ["always", 1, "backoff"],
    ["always", 78, "halted"],
    ["on-failure", 0, "stopped"],
    ["on-failure", 1, "backoff"],
    ["on-failure", 78, "halted"],
    ["never", 0, "stopped"],
    ["never", 1, "halted"],
    ["never", 78, "halted"],
  ] as const)("restart policy %s makes of exit code %i: %s", (restart, code, kind) => {
    expect(new Life({ restart }).run().die(code).state.kind).toBe(kind);
  });

  test("does not want a bot any more that ended well and that the policy leaves down, until somebody starts it", () => {
    for (const restart of ["on-failure", "never"] as const) {
      const life = new Life({ restart }).run().die(0);
      expect(life.state).toMatchObject({ kind: "stopped", wanted: false });
      expect(life.on("start").state).toMatchObject({ kind: "starting", wanted: true });
      expect(new Life({ restart }).healthy().on("leaving").die(0).state).toMatchObject({ wanted: false });
      expect(new Life({ restart }).run().die(1).state).toMatchObject({ wanted: true });
    }
  });

  test("restart policy never also holds for probes, start timeouts and failed forks", () => {
    const never = { restart: "never" } as const;
    expect(new Life(never).run().on("failing").die().state.kind).toBe("halted");
    expect(new Life({ ...never, ready: "notify" }).on("start").fire("start").die().state.kind).toBe("halted");
    expect(new Life(never).on("start").on("spawnFailed").on("gone").state.kind).toBe("halted");
  });

  test.each([
    [
      { code: null, signal: "SIGSEGV" },
      { cause: "signal", detail: "killed by SIGSEGV" },
    ],
    [
      { code: null, signal: "SIGKILL", oom: true },
      { cause: "oom", detail: "killed for want of memory" },
    ],
    [{ code: 3 }, { cause: "exited", code: 3, detail: "exited with 3" }],
  ] as const)("remembers how the bot ended: %o", (fields, exit) => {
    expect(new Life().run().on("exited", fields).state.lastExit).toMatchObject(exit);
  });
});

describe("step() on the way down", () => {
  test("asks politely, waits stopTimeout, kills, and proves the end", () => {
    const life = new Life().healthy().on("stop");
    expect(life.state).toMatchObject({ kind: "stopping", phase: "signal", wanted: false });
    expect(life.deeds()).toEqual(["unwatch", "forbidOrders", "askToStop", "setTimer stop"]);
    life.fire("stop");
    expect(life.state).toMatchObject({ phase: "kill" });
    expect(life.deeds()).toContain("sweep");
    expect(life.on("gone").state.kind).toBe("stopped");
  });

  test("runs preStop before the signal and postStop after the end", () => {
    const life = new Life(bothHooks).healthy().on("stop");
    expect(life.deeds()).toEqual(["unwatch", "forbidOrders", "runHook", "setTimer stop"]);
    expect(life.on("hookEnded", { hook: "preStop" }).deeds()).toEqual(["askToStop", "setTimer stop"]);
    life.die(0);
    expect(life.state).toMatchObject({ kind: "stopping", phase: "postStop" });
    expect(life.deeds()).toEqual(["runHook", "setTimer stop"]);
    expect(life.on("hookEnded", { hook: "postStop" }).state.kind).toBe("stopped");
  });

  test("a hook that hangs delays each phase by stopTimeout at most", () => {
    const life = new Life(bothHooks).healthy().on("stop").fire("stop");
    expect(life.state).toMatchObject({ phase: "signal" });
    life.fire("stop").on("gone").fire("stop");
    expect(life.state.kind).toBe("stopped");
  });

  test("a hook that ends out of its phase changes nothing", () => {
    const life = new Life(bothHooks).healthy().on("stop");
    const before = life.state;
    expect(life.on("hookEnded", { hook: "postStop" }).state).toBe(before);
  });

  test("moves the stop deadline when the bot asks, up to ten times the timeout, and never that of a hook", () => {
    const life = new Life()
      .run()
      .on("stop")
      .on("extend", { extendMs: 60 * S });
    expect(life.delay("stop")).toBe(60 * S);
    life.on("extend", { extendMs: 100 * MIN });
    expect(life.delay("stop")).toBe(30 * S * EXTEND_LIMIT_FACTOR);
    expect(new Life(bothHooks).run().on("stop").on("extend").effects).toEqual([]);
  });
});

describe("step() at the end of a life", () => {
  test("keeps the first cause and adds what the kernel said", () => {
    const life = new Life().run().on("failing", { cause: "heartbeat" });
    life.fire("stop").on("exited", { code: null, signal: "SIGKILL" });
    expect(life.state.lastExit).toMatchObject({ cause: "heartbeat", signal: "SIGKILL", detail: "silent for 60 s" });
  });

  test("a spawn that fails while it is being stopped still ends in the sweep, once", () => {
    const life = new Life().on("start").on("stop").on("spawnFailed");
    expect(life.state).toMatchObject({ kind: "stopping", phase: "kill" });
    expect(life.deeds()).toContain("sweep");
    expect(life.on("spawnFailed").effects).toEqual([]);
    expect(life.on("gone").state.kind).toBe("stopped");
  });

  test("a bot that announces its end gets stopTimeout without a signal, then its exit decides", () => {
    const life = new Life({ restart: "on-failure" }).healthy().on("leaving");
    expect(life.deeds()).toEqual(["unwatch", "setTimer stop"]);
    expect(life.state).toMatchObject({ kind: "stopping", phase: "signal", after: { kind: "restart" } });
    expect(life.die(0).state.kind).toBe("stopped");
    expect(new Life({ restart: "on-failure" }).healthy().on("leaving").die(1).state.kind).toBe("backoff");
    expect(new Life().healthy().on("leaving").die(78).state.kind).toBe("halted");
    expect(new Life().healthy().on("leaving").fire("stop").on("gone").state.kind).toBe("backoff");
  });

  test("what survives SIGKILL is stuck, is swept again and forbids every start until it is gone", () => {
    const life = new Life()
      .run()
      .on("exited")
      .on("survivors", { pids: [7, 8] });
    expect(life.state).toMatchObject({ kind: "stuck", pids: [7, 8] });
    expect(life.delay("sweep")).toBe(SWEEP_RETRY_MS);
    expect(life.fire("sweep").deeds()).toEqual(["sweep"]);
    expect(life.on("survivors", { pids: [8] }).state).toMatchObject({ kind: "stuck", pids: [8] });
    expect(life.on("start").deeds()).toEqual([]);
    expect(life.notes()).toEqual(["not started: 8 of the last start cannot be killed"]);
    expect(life.on("gone").state).toMatchObject({ kind: "starting", generation: 2 });
  });

  test("a stuck bot that nobody wants stays down once it is gone", () => {
    const life = lives.stuck().on("stop");
    expect(life.state).toMatchObject({ kind: "stuck", wanted: false });
    expect(life.on("gone").state.kind).toBe("stopped");
  });

  test("ends what an earlier supervisor left behind before the first start", () => {
    const life = new Life().on("leftovers").on("start");
    expect(life.state).toMatchObject({ kind: "stopping", phase: "kill", generation: 0 });
    expect(life.on("gone").state).toMatchObject({ kind: "starting", generation: 1 });
  });
});

describe("step() on an operator's command", () => {
  test.each([
    ["stopped", "starting"],
    ["starting", "starting"],
    ["running", "running"],
    ["backoff", "starting"],
    ["recovering", "recovering"],
    ["halted", "starting"],
    ["locked", "locked"],
    ["stuck", "stuck"],
  ] as const)("start in %s leads to %s", (kind, next) => {
    expect(lives[kind]().on("start").state.kind).toBe(next);
  });

  test.each([
    ["stopped", "stopped"],
    ["starting", "stopping"],
    ["running", "stopping"],
    ["stopping", "stopping"],
    ["backoff", "stopped"],
    ["recovering", "recovering"],
    ["halted", "stopped"],
    ["locked", "locked"],
    ["stuck", "stuck"],
  ] as const)("stop in %s leads to %s and is remembered", (kind, next) => {
    expect(lives[kind]().on("stop").state).toMatchObject({ kind: next, wanted: false });
  });

  test.each([
    ["stopped", "starting"],
    ["starting", "stopping"],
    ["running", "stopping"],
    ["backoff", "starting"],
    ["recovering", "recovering"],
    ["halted", "starting"],
    ["locked", "locked"],
    ["stuck", "stuck"],
  ] as const)("restart in %s leads to %s", (kind, next) => {
    expect(lives[kind]().on("restart").state.kind).toBe(next);
  });
});

describe("step() on what an operator says in a row", () => {
  test("a restart is at once and costs no budget", () => {
    const life = new Life().healthy().on("restart").die(0);
    expect(life.state).toMatchObject({ kind: "starting", generation: 2, restarts: 0, log: [], attempt: 0 });
  });

  test("the last word of an operator during a stop holds", () => {
    expect(new Life().run().on("stop").on("start").die(0).state).toMatchObject({ kind: "starting", wanted: true });
    expect(new Life().run().on("restart").on("stop").die(0).state).toMatchObject({ kind: "stopped", wanted: false });
    expect(new Life().run().on("failing").on("stop").die().state.kind).toBe("stopped");
  });

  test("a stop after a clean end is remembered, so that re-arming does not start the bot", () => {
    const life = new Life({ restart: "on-failure" }).run().die(0).on("stop").on("emergency").on("actionEnded");
    expect(life.on("arm").state.kind).toBe("stopped");
  });

  test("a stop during backoff clears the timers", () => {
    const life = lives.backoff().on("stop");
    expect(life.effects).toEqual([
      { kind: "clearTimer", timer: "backoff" },
      { kind: "clearTimer", timer: "closeAfter" },
    ]);
  });
});

test("initialState is a stopped bot that nobody has asked for", () => {
  expect(step(basePolicy, initialState, { kind: "stop", atMs: 0 })).toEqual({ state: initialState, effects: [] });
});
