/** What the daemon says on stderr: all of it, in order, and alerts at once. */
import { expect, test } from "vitest";
import type { JournalEntry } from "../../../src/core/journal-entry.ts";
import { Mirror } from "../../../src/supervisor/runtime/mirror.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

function rig() {
  const clock = new FakeClock();
  const told: string[] = [];
  const mirror = new Mirror(clock, (text) =>
    told.push(...text.split("\n").map((line) => line.split(" ").at(-1) ?? "")),
  );
  const tell = (level: JournalEntry["level"], text: string): void =>
    mirror.tell({ v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "daemon", level, text });
  return { clock, told, mirror, tell };
}

test("tell() waits a moment, tells in order, and leaves out what is for machines", () => {
  const { clock, told, tell } = rig();
  tell("info", "one");
  tell("debug", "machine");
  tell("warn", "two");
  expect(told).toEqual([]);
  clock.advance(10);
  expect(told).toEqual(["one", "two"]);
  expect(clock.pending).toBe(0);
});

test("tell() tells an alert at once, after what came before it", () => {
  const { clock, told, tell } = rig();
  tell("info", "one");
  tell("alert", "fire");
  expect(told).toEqual(["one", "fire"]);
  expect(clock.pending).toBe(0);
});

test("tell() never holds back more than 256 lines, and flush() none", () => {
  const { told, mirror, tell } = rig();
  for (let i = 0; i < 257; i += 1) tell("info", String(i));
  expect(told).toHaveLength(256);
  mirror.flush();
  expect(told).toHaveLength(257);
});
