/** What the seeded runs stand on: a sequence that repeats, and judges that see a violation which was planted. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../../src/core/journal-entry.ts";
import { checkJournal } from "../invariants.ts";
import { botStatusOf } from "../../harness/status.ts";
import { canLimit } from "../kernel-limits.ts";
import { watchForDoubles } from "./doubles.ts";
import { limitLieOf } from "./limit-faults.ts";
import { drawFaults } from "./sequence.ts";

const names = ["a", "b", "c", "d", "e", "f"];
const first = (seed: number, count: number) => drawFaults(names, seed).take(count).toArray();

test("drawFaults() repeats a sequence, rolls and all, for the same seed, and not for another one", () => {
  expect(first(7, 40)).toEqual(first(7, 40));
  expect(first(7, 40)).not.toEqual(first(8, 40));
  expect(first(7, 10)).toEqual(first(7, 40).slice(0, 10));
});

test("drawFaults() draws each fault once in each round", () => {
  const drawn = first(3, 18).map(({ fault }) => fault);
  for (const round of [0, 6, 12]) expect(drawn.slice(round, round + 6).toSorted()).toEqual(names);
});

test("watchForDoubles() sees two starts of one bot that live at the same time", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-doubles-"));
  const start = (id: string) =>
    Bun.spawn(["sleep", "30"], {
      cwd: folder,
      env: { SUPERVISOR_BOT: "bot", INVOCATION_ID: id, PATH: "/usr/bin:/bin" },
    });
  const watch = watchForDoubles(folder, ["bot"]);
  await using one = start("a");
  expect(watch.check).not.toThrow();
  await using two = start("b");
  expect(watch.check).toThrow(`two starts of bot live at the same time: pid ${one.pid}, ${two.pid}`);
  watch.stop();
  for (const each of [one, two]) each.kill("SIGKILL");
  await Promise.all([one.exited, two.exited]);
  rmSync(folder, { recursive: true });
});

test.skipIf(!canLimit).each([
  [
    "a limit that the kernel does not have",
    67_108_864,
    {},
    "memoryLimitBytes is 67108864, and the kernel has undefined",
  ],
  ["a bot called current without its limits", null, { pids: 20 }, "it is current with limits"],
  ["nothing where nothing is limited", null, {}, ""],
] as const)("limitLieOf() sees %s", (_name, memoryLimitBytes, wanted, lie) => {
  const bot = botStatusOf({ pid: process.pid, definition: "current" });
  const resources = { rssBytes: 1, cpuPercent: 0, pids: 1, openFiles: 1, oomKills: 0, memoryLimitBytes };
  expect(limitLieOf({ ...bot, resources }, wanted).slice(0, lie.length || 1)).toBe(lie);
});

const at = "2026-01-01T00:00:00.000Z";
const decision = (
  seq: number,
  from: string,
  to: string,
  effects: { kind: string }[] = [],
  generation = 1,
): JournalEntry => ({
  v: 1,
  seq,
  at,
  kind: "decision",
  bot: "bot",
  generation,
  level: "info",
  text: "planted",
  event: { kind: "elapsed", atMs: 1 },
  from,
  to,
  effects,
});
const incident = { kind: "openIncident" };
const spawn = { kind: "spawn" };
const unlock = { kind: "unlock" };

test.each([
  ["a line that is lost", [decision(1, "stopped", "starting"), decision(3, "starting", "running")], "lines are lost"],
  ["a step that is lost", [decision(1, "stopped", "starting"), decision(2, "running", "stopping")], "was starting"],
  ["a start under a lockout", [decision(1, "a", "b", [incident]), decision(1, "c", "d", [spawn])], "under a lockout"],
  [
    "a generation that comes again",
    [decision(1, "a", "b", [], 5), decision(2, "b", "c", [], 4)],
    "generation 4 follows",
  ],
])("checkJournal() sees %s", (_name, entries, message) => {
  expect(() => checkJournal(entries)).toThrow(message);
});

test("checkJournal() finds nothing wrong with a lockout that was ended, nor with the next daemon", () => {
  const lives = [decision(1, "a", "b", [incident]), decision(2, "b", "c", [unlock]), decision(1, "x", "y", [spawn])];
  expect(() => checkJournal(lives)).not.toThrow();
});
