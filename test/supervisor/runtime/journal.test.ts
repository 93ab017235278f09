/** The journal says of itself what it misses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Journal } from "../../../src/supervisor/runtime/journal.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

test("Journal.look() says why lines are lost until the disk takes them again, also when nothing happens", () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-journal-"));
  const dir = join(folder, "journal");
  const clock = new FakeClock();
  const journal = new Journal(dir, clock);
  expect(journal.trouble).toBeNull();
  writeFileSync(dir, "");
  journal.write({ kind: "daemon", level: "info", text: "lost" });
  for (let second = 0; second < 3; second += 1) {
    clock.advance(1_000);
    journal.look();
    expect(journal.trouble).toMatch(/^cannot write to the journal: .*(ENOTDIR|EEXIST)/);
  }
  expect(journal.dropped).toBe(1);
  rmSync(dir);
  clock.advance(5_000);
  journal.look();
  expect(journal.trouble).toBeNull();
  journal.write({ kind: "daemon", level: "info", text: "kept" });
  journal.close();
  const kept = readFileSync(join(dir, "000001.ndjson"), "utf8");
  expect(kept.match(/"text":"[^"]*"/g)).toEqual([
    '"text":"the journal is written again; it misses 1 lines"',
    '"text":"kept"',
  ]);
  rmSync(folder, { recursive: true, force: true });
});

test("Journal.write() tells followers once that lines are lost, and the journal how many when it is written again", () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-journal-"));
  const dir = join(folder, "journal");
  const clock = new FakeClock();
  const journal = new Journal(dir, clock);
  const heard: string[] = [];
  journal.follow((entry) => void heard.push("text" in entry ? `${entry.level} ${entry.text}` : ""));
  const say = (text: string): void => journal.write({ kind: "daemon", level: "info", text });
  // Who may write everywhere is kept out only by a file in the folder's place.
  writeFileSync(dir, "");
  for (const text of ["one", "two", "three"]) say(text);
  rmSync(dir);
  clock.advance(1_000);
  for (const text of ["four", "five"]) say(text);
  journal.close();
  expect(heard).toEqual([
    "info one",
    expect.stringMatching(/^alert cannot write to the journal: .*(ENOTDIR|EEXIST)/),
    "info two",
    "info three",
    "info four",
    "warn the journal is written again; it misses 3 lines",
    "info five",
  ]);
  const kept = readFileSync(join(dir, "000001.ndjson"), "utf8");
  expect(kept.match(/"text":"[^"]*"/g)).toEqual([
    '"text":"four"',
    '"text":"the journal is written again; it misses 3 lines"',
    '"text":"five"',
  ]);
  rmSync(folder, { recursive: true, force: true });
});
