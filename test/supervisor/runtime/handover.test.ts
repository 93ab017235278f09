import { openSync } from "node:fs";
import { expect, test } from "vitest";
import { initialState } from "../../../src/core/lifecycle.ts";
import type { State } from "../../../src/core/lifecycle-types.ts";
import { HANDOVER_VERSION, type CarriedBot } from "../../../src/core/upgrade.ts";
import { readStat } from "../../../src/platform/proc.ts";
import {
  carriedBot,
  carriedFor,
  changeOf,
  carriedUnder,
  firstState,
  HANDOVER_VARIABLE,
  obstacleOf,
  packHandover,
  takeHandover,
  waitingOf,
  type Judgement,
} from "../../../src/supervisor/runtime/handover.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { Loop } from "../../../src/supervisor/runtime/loop.ts";
import { Pulse } from "../../../src/supervisor/runtime/pulse.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { FakeClock } from "../../harness/fake-clock.ts";
import { basePolicy } from "../../core/lifecycle-life.ts";

const plan = planBot("bot", botConfig("bot"), { stateDir: "/state", runtimeDir: "/run", logDir: "/log" });

const carried: CarriedBot = {
  kind: "running",
  reason: "",
  wanted: true,
  attempt: 2,
  restarts: 7,
  restartsBy: { oom: 4, probe: 2 },
  restartAgesMs: [5_000, 1_000],
  lastExit: { cause: "signal", code: null, signal: "SIGKILL", detail: "killed", at: "2026-01-01T00:00:00.000Z" },
  closeAfterLeftMs: 30_000,
};

const past = (of: CarriedBot | undefined, clock = new FakeClock()): Parameters<typeof firstState>[0] => ({
  before: undefined,
  lastGeneration: 3,
  carried: of,
  clock,
});

test("takeHandover() gives back what was packed, once, and takes the variable away", () => {
  const data = packHandover({
    pid: process.pid,
    from: "1",
    to: "2",
    bots: { bot: carried },
    commands: [],
    workers: [],
    left: [],
  });
  const env = { [HANDOVER_VARIABLE]: `${HANDOVER_VERSION} 9 ${data}` };
  expect(takeHandover(env)).toMatchObject({ from: "1", to: "2", lockFd: 9, bots: { bot: carried } });
  expect(env).toEqual({});
  expect(takeHandover(env)).toBeUndefined();
});

test("takeHandover() is an ordinary start for whatever else the variable holds", () => {
  const other = openSync("/dev/null", "r");
  const foreign = packHandover({
    pid: process.pid + 1,
    from: "1",
    to: "2",
    bots: {},
    commands: [],
    workers: [],
    left: [],
  });
  for (const text of ["", "x", "1 0 1", `2 9 ${foreign}`, `1 9 ${foreign}`, `1 9 ${other}`, "1 9 1000000"])
    expect(takeHandover({ [HANDOVER_VARIABLE]: text })).toBeUndefined();
});

test("firstState() moves the times of the earlier version to this one's clock", () => {
  const clock = new FakeClock();
  const nowMs = clock.monotonicMs();
  const state = firstState(past(carried, clock));
  expect(state).toMatchObject({ kind: "stopped", generation: 3, attempt: 2, restarts: 7, closeClock: "counting" });
  expect(state.log).toEqual([
    { atMs: nowMs - 5_000, count: 1 },
    { atMs: nowMs - 1_000, count: 1 },
  ]);
  expect(firstState(past({ ...carried, kind: "halted", reason: "code 78" }, clock))).toMatchObject({
    kind: "halted",
    reason: "code 78",
    wanted: true,
  });
  expect(firstState(past(undefined, clock))).toMatchObject({ kind: "stopped", log: [], closeClock: "off" });
});

test("firstState() takes the reasons of restarts from what was handed over, and calls unknown what an earlier version counted without", () => {
  expect(firstState(past(carried)).restartsBy).toEqual({ oom: 4, probe: 2, unknown: 1 });
  const { restartsBy: _, ...older } = carried;
  expect(firstState(past(older)).restartsBy).toEqual({ unknown: 7 });
});

/** The loop of a version of the daemon whose clock began by itself. */
function loopOf(first: State, clock = new FakeClock()): { readonly loop: Loop; readonly clock: FakeClock } {
  const deps = {
    clock,
    pulse: new Pulse(clock),
    random: () => 0,
    record: () => {},
    perform: () => {},
    onBug: () => {},
  };
  return { loop: new Loop(basePolicy, deps, first), clock };
}

/** A bot that ended, and waits for its restart since half a second. */
function waiting(): { readonly loop: Loop; readonly clock: FakeClock } {
  const { loop, clock } = loopOf(initialState);
  loop.post({ kind: "start" });
  loop.post({ kind: "spawned", generation: 1 });
  loop.post({ kind: "exited", generation: 1, code: 1, signal: null, oom: false });
  loop.post({ kind: "gone", generation: 1 });
  clock.advance(500);
  return { loop, clock };
}

test("obstacleOf() lets a bot in backoff be handed over", () => {
  expect(obstacleOf({ loop: waiting().loop, plan, owed: undefined })).toBeUndefined();
});

test("obstacleOf() refuses while the disk has not taken a lockout or its end", () => {
  const owed = "the disk has not taken it";
  expect(obstacleOf({ loop: loopOf(initialState).loop, plan, owed })).toBe(`of bot bot: ${owed}`);
});

test("a backoff that is handed over goes on with what is left of it, and restarts the bot once", () => {
  const { loop: before, clock: clockBefore } = waiting();
  const state = carriedBot(
    { plan, loop: before, lastExitAt: undefined, turn: { isDue: false, keptDown: undefined, staysDown: false } },
    clockBefore,
  );
  expect(state).toMatchObject({
    kind: "backoff",
    account: "bot",
    backoffLeftMs: 500,
    wanted: true,
    attempt: 1,
    restarts: 0,
  });
  const clock = new FakeClock();
  const { loop } = loopOf(firstState({ ...past(state, clock), lastGeneration: 1 }), clock);
  loop.resumeClosing(state?.closeAfterLeftMs);
  loop.post({ kind: "backoffFound", leftMs: state?.backoffLeftMs ?? 0 });
  expect(loop.state).toMatchObject({ kind: "backoff", attempt: 1, restarts: 0, closeClock: "counting" });
  expect(loop.state.log).toEqual([{ atMs: clock.monotonicMs() - 500, count: 1 }]);
  expect(loop.dueAtMs("closeAfter")).toBe(clock.monotonicMs() + (state?.closeAfterLeftMs ?? 0));
  clock.advance(499);
  expect(loop.state.kind).toBe("backoff");
  clock.advance(1);
  expect(loop.state).toMatchObject({ kind: "starting", generation: 2, restarts: 1 });
});

test("carriedUnder() ends closeAfter where the config has no emergency section any more, and in maintenance", () => {
  const suspended = { ...basePolicy, emergency: { closeAfter: 1, onGiveUp: true, ladder: [], suspended: true } };
  expect(carriedUnder(basePolicy, carried)).toEqual(carried);
  expect(carriedUnder({ ...basePolicy, emergency: undefined }, carried)?.closeAfterLeftMs).toBeNull();
  expect(carriedUnder(suspended, carried)?.closeAfterLeftMs).toBeNull();
});

test("carriedFor() drops what is left of backoff and closeAfter where the bot has another account, and says so", () => {
  const waits: CarriedBot = { ...carried, kind: "backoff", account: "x", backoffLeftMs: 900 };
  expect(carriedFor("x", "y", waits)).toEqual({ carried: waits, dropped: undefined });
  const { carried: under, dropped } = carriedFor("y", "y", waits);
  expect(under).toMatchObject({ kind: "backoff", restarts: 7, closeAfterLeftMs: null });
  expect(under).not.toHaveProperty("backoffLeftMs");
  expect(dropped).toContain("its account was x and is y by now");
  // An older version does not say the account; the last start does.
  expect(carriedFor("y", "x", carried).dropped).toBeDefined();
  expect(carriedFor("y", undefined, carried)).toEqual({ carried, dropped: undefined });
  expect(carriedFor("y", "x", { ...carried, closeAfterLeftMs: null }).dropped).toBeUndefined();
});

test("waitingOf() names who is in backoff, and who is down while closeAfter counts", () => {
  expect(waitingOf({ plan, ...waiting() })).toEqual([{ name: "bot", account: "bot", until: "restart" }]);
  const halted: State = { ...initialState, kind: "halted", reason: "code 78" };
  expect(waitingOf({ plan, ...loopOf({ ...halted, closeClock: "counting" }) })).toMatchObject([
    { until: "closeAfter" },
  ]);
  expect(waitingOf({ plan, ...loopOf(halted) })).toEqual([]);
});

/** This very process, as the third start of a bot that runs. */
function runs() {
  const { loop } = loopOf({ ...initialState, generation: 3 });
  loop.post({ kind: "adopted", generation: 3, ready: true });
  expect(loop.state).toMatchObject({ kind: "running", generation: 3 });
  return {
    plan,
    loop,
    generation: { child: { pid: process.pid, startTicks: readStat(process.pid)?.startTicks ?? 0 } },
  };
}

const judging = (...judged: [string, number | undefined][]): Judgement => ({
  takesBackoff: true,
  judged: new Map(judged),
});

test("changeOf() finds who ended or was started since the new program has judged the bots", () => {
  expect(changeOf(runs(), judging(["bot", 3]))).toBeUndefined();
  expect(changeOf(runs(), judging(["bot", 2]))).toBe("bot bot has just been started");
  expect(changeOf(runs(), judging(["bot", undefined]))).toBe("bot bot has just been started");
  expect(changeOf(runs(), judging())).toBe("bot bot has just been started");
  const reused = { child: { pid: process.pid, startTicks: 0 } };
  expect(changeOf({ ...runs(), generation: reused }, judging(["bot", 3]))).toBe("bot bot has just ended");
  expect(changeOf({ ...runs(), generation: undefined }, judging(["bot", 3]))).toBe("bot bot has just ended");
});

test("changeOf() finds who has come into a backoff that the new program does not take, or has not judged", () => {
  const waits = { plan, ...waiting(), generation: undefined };
  const judged = new Map([["bot", 1]]);
  expect(changeOf(waits, { takesBackoff: true, judged })).toBeUndefined();
  expect(changeOf(waits, { takesBackoff: false, judged })).toContain("does not go on with the backoff of bot bot");
  expect(changeOf(waits, { takesBackoff: true, judged: new Map() })).toBe("bot bot has just ended");
  const rests = { plan, ...loopOf(initialState), generation: undefined };
  expect(changeOf(rests, { takesBackoff: false, judged: new Map() })).toBeUndefined();
});
