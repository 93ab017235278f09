/** The journal's reader on folders that hold more than a journal's files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  endedCleanly,
  interruptedOrder,
  readJournal,
  STOPPED_TEXT,
} from "../../../src/supervisor/runtime/journal-reader.ts";

const root = mkdtempSync(join(tmpdir(), "reader-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

test("readJournal() passes over a FIFO and a folder among the files, and counts them", () => {
  const dir = join(root, "mixed");
  mkdirSync(join(dir, "000001.ndjson"), { recursive: true });
  Bun.spawnSync(["mkfifo", join(dir, "000002.ndjson")]);
  const entry = { v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "daemon", level: "info", text: "started" };
  writeFileSync(join(dir, "000003.ndjson"), `${JSON.stringify(entry)}\nnot an entry\n`);
  expect(readJournal(dir, 10, () => true)).toEqual({ entries: [entry], damaged: 3 });
});

test("readJournal() finds nothing where a file is in the folder's place", () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  expect(readJournal(file, 10, () => true)).toEqual({ entries: [], damaged: 0 });
});

const decision = (seq: number, bot: string, effects: readonly object[]): string =>
  JSON.stringify({
    v: 1,
    seq,
    at: "2026-01-01T00:00:00.000Z",
    kind: "decision",
    bot,
    generation: 1,
    level: "info",
    text: "x",
    event: { kind: "elapsed", atMs: 1 },
    from: "running",
    to: "stopping",
    effects,
  });
const opening = { kind: "openIncident", trigger: "signal", reason: "SIGUSR2" };
const fact = '{"v":1,"seq":3,"at":"2026-01-01T00:00:00.000Z","kind":"fact","bot":"b","level":"info","text":"said"}';

const taken = { bot: "a", generation: 1, trigger: "signal", reason: "SIGUSR2", taken: true };

test.each([
  ["the last decision, which opens an emergency", [decision(1, "a", [opening])], taken],
  ["a decision that others only report after", [decision(1, "a", [opening]), fact], taken],
  ["a decision that another one follows", [decision(1, "a", [opening]), decision(2, "b", [])], undefined],
  ["a line that was cut short", [decision(1, "a", []), decision(2, "a", [opening]).slice(0, -9)], undefined],
  [
    "one that a decision is behind which was cut short",
    [decision(1, "a", [opening]), decision(2, "b", []).slice(0, -9)],
    taken,
  ],
  ["no lines", [], undefined],
])("interruptedOrder() answers for %s", (name, lines, expected) => {
  const dir = join(root, name.replaceAll(" ", "-"));
  mkdirSync(dir);
  writeFileSync(join(dir, "000001.ndjson"), `${"x".repeat(100_000)}\n${lines.join("\n")}\n`);
  expect(interruptedOrder(dir)).toEqual(expected);
});

test("interruptedOrder() and readJournal() go by the files of the journal alone, not by what somebody has put beside them", () => {
  const dir = join(root, "beside");
  mkdirSync(dir);
  writeFileSync(join(dir, "000001.ndjson"), `${decision(1, "a", [opening])}\n${decision(2, "a", [])}\n`);
  for (const name of ["emergency.ndjson", "000001-copy.ndjson", "000001.ndjson.old.ndjson"])
    writeFileSync(join(dir, name), `${decision(1, "a", [opening])}\n`);
  expect(interruptedOrder(dir)).toBe(undefined);
  expect(readJournal(dir, 10, () => true).entries.map(({ seq }) => seq)).toEqual([1, 2]);
});

const line = (text: string, more: object = {}): string =>
  `${JSON.stringify({ v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "daemon", level: "info", text, ...more })}\n`;

test("endedCleanly() is true only when the journal's last word is that of a supervisor that has stopped", () => {
  const dir = join(root, "ended");
  mkdirSync(dir);
  expect(endedCleanly(dir)).toBe(false);
  writeFileSync(join(dir, "000001.ndjson"), line("started") + line(STOPPED_TEXT));
  expect(endedCleanly(dir)).toBe(true);
  writeFileSync(join(dir, "000002.ndjson"), "");
  expect(endedCleanly(dir)).toBe(true);
  writeFileSync(join(dir, "000002.ndjson"), line("started"));
  expect(endedCleanly(dir)).toBe(false);
  writeFileSync(join(dir, "000002.ndjson"), `${line(STOPPED_TEXT)}{"v":1,`);
  expect(endedCleanly(dir)).toBe(false);
  writeFileSync(join(dir, "000002.ndjson"), line(STOPPED_TEXT, { from: "command" }));
  expect(endedCleanly(dir)).toBe(false);
});
