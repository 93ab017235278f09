import { openSync } from "node:fs";
import { expect, test } from "vitest";
import { HANDOVER_VERSION, type CarriedBot } from "../../../src/core/upgrade.ts";
import { firstState, HANDOVER_VARIABLE, packHandover, takeHandover } from "../../../src/supervisor/runtime/handover.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

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
  });
  const env = { [HANDOVER_VARIABLE]: `${HANDOVER_VERSION} 9 ${data}` };
  expect(takeHandover(env)).toMatchObject({ from: "1", to: "2", lockFd: 9, bots: { bot: carried } });
  expect(env).toEqual({});
  expect(takeHandover(env)).toBeUndefined();
});

test("takeHandover() is an ordinary start for whatever else the variable holds", () => {
  const other = openSync("/dev/null", "r");
  const foreign = packHandover({ pid: process.pid + 1, from: "1", to: "2", bots: {}, commands: [], workers: [] });
  for (const text of ["", "x", "1 0 1", `2 9 ${foreign}`, `1 9 ${foreign}`, `1 9 ${other}`, "1 9 1000000"])
    expect(takeHandover({ [HANDOVER_VARIABLE]: text })).toBeUndefined();
});

test("firstState() moves the times of the earlier version to this one's clock", () => {
  const clock = new FakeClock();
  const nowMs = clock.monotonicMs();
  const state = firstState(past(carried, clock));
  expect(state).toMatchObject({ kind: "stopped", generation: 3, attempt: 2, restarts: 7, closeClock: "counting" });
  expect(state.log).toEqual([nowMs - 5_000, nowMs - 1_000]);
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
