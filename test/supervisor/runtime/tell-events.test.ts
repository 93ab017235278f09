/** The daemon's events for people: on standard error and in the log file, which may fail without costing more than its lines. */
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Journal } from "../../../src/supervisor/runtime/journal.ts";
import { tellEvents } from "../../../src/supervisor/runtime/tell-events.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sv-tell-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("tellEvents() writes dated lines, says once that it cannot, and once that it can again", () => {
  const clock = new FakeClock();
  const journal = new Journal(join(folder, "journal"), clock);
  const file = join(folder, "supervisor.log");
  const lines: string[] = [];
  const mirror = tellEvents(journal, { toStderr: (text) => void lines.push(...text.split("\n")), file, clock });
  const say = (text: string): void => journal.write({ kind: "daemon", level: "info", text });
  mkdirSync(file);
  say("one");
  say("two");
  clock.advance(1_000);
  say("three");
  rmdirSync(file);
  clock.advance(1_000);
  say("four");
  mirror.flush();
  journal.close();
  expect(lines.map((line) => line.slice(27))).toEqual([
    "one",
    expect.stringMatching(/^cannot write to the log file: .*supervisor\.log/),
    "two",
    "three",
    "four",
    "the log file is written again; it misses 4 lines",
  ]);
  expect(readFileSync(file, "utf8")).toBe(
    "2026-01-01T00:00:02.000Z   supervisor  four\n" +
      "2026-01-01T00:00:02.000Z   supervisor  the log file is written again; it misses 4 lines\n",
  );
});
