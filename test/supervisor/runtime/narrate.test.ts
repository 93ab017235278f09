/** What the journal says of a step, for people: the cause once, and who asked. */
import { expect, test } from "vitest";
import type { Effect, Event, State, Timer } from "../../../src/core/lifecycle-types.ts";
import { firstState } from "../../../src/supervisor/runtime/handover.ts";
import { decisionEntry } from "../../../src/supervisor/runtime/narrate.ts";
import { systemClock } from "../../../src/platform/clock.ts";

const state: State = firstState({ before: undefined, lastGeneration: 0, carried: undefined, clock: systemClock });
const note = (text: string): Effect => ({ kind: "note", level: "alert", text });
const elapsed = (timer: Timer): Event => ({ kind: "elapsed", timer, generation: 0, roll: 0, atMs: 0 });

test.each<[Event, readonly string[], string]>([
  [{ kind: "stop", atMs: 0 }, [], "stopped: stop"],
  [{ kind: "stop", atMs: 0, why: "stopped for a restore of state" }, [], "stopped: stopped for a restore of state"],
  [
    { kind: "emergency", atMs: 0, trigger: "file", reason: "the file appeared", goal: { kind: "flat" } },
    ["emergency (file): the file appeared; the bot is being killed"],
    "stopped: emergency (file): the file appeared; the bot is being killed",
  ],
  [
    { kind: "emergency", atMs: 0, trigger: "file", reason: "the file appeared", goal: { kind: "flat" } },
    ["closing positions (file): the file appeared"],
    "stopped: closing positions (file): the file appeared",
  ],
  [{ kind: "start", atMs: 0 }, ["not started: it is locked"], "stopped: start; not started: it is locked"],
  [
    { kind: "survivors", generation: 0, pids: [7, 0], atMs: 0 },
    [],
    "stopped: still alive: 7 and a process without a pid here",
  ],
  [{ kind: "start", atMs: 0 }, ["started by nobody"], "stopped: start; started by nobody"],
  [elapsed("backoff"), [], "stopped: the wait is over"],
  [elapsed("start"), [], "stopped: startTimeout is over"],
  [
    elapsed("stop"),
    ["stopTimeout is over: killing what is left"],
    "stopped: stopTimeout is over: killing what is left",
  ],
  [
    elapsed("closeAfter"),
    ["closeAfter is over, and the bot is healthy"],
    "stopped: closeAfter is over, and the bot is healthy",
  ],
])("decisionEntry() of %j with the notes %j says it once", (event, notes, text) => {
  expect(decisionEntry("bot", event, state, state, notes.map(note))).toMatchObject({ text });
});
