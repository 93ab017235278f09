/** Marks of a bot's output stay few, also where each daemon lives for a few of them only. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { outputMarkLine, parseRunMarks } from "../../../src/core/output-marks.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { OutputNotes } from "../../../src/supervisor/runtime/output-notes.ts";

const at = "2026-01-01T00:00:00.000Z";

function rig(starts: number) {
  const root = mkdtempSync(join(tmpdir(), "notes-"));
  const path = join(root, "runs.ndjson");
  const lines = Array.from({ length: starts }, (_, n) => outputMarkLine({ generation: n + 1, at, offset: n }));
  writeFileSync(path, lines.join(""));
  return {
    path,
    notes: new OutputNotes(path, systemClock),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

test("OutputNotes thins the marks of earlier daemons at its first one", () => {
  using made = rig(1_200);
  const before = statSync(made.path).size;
  expect(before).toBeGreaterThan(64 * 1024);
  made.notes.noteStart({ generation: 1_201, at, offset: 1_200 });
  expect(statSync(made.path).size).toBeLessThan(before * 0.6);
  expect(made.notes.lastGeneration).toBe(1_201);
});

test("OutputNotes reads the newest marks of a file that is too large, and thins it", () => {
  using made = rig(4_000);
  expect(statSync(made.path).size).toBeGreaterThan(128 * 1024);
  expect(made.notes.lastGeneration).toBe(4_000);
  expect(made.notes.beginOf(3_999)).toBe(3_998);
  made.notes.noteStart({ generation: 4_001, at, offset: 4_000 });
  expect(statSync(made.path).size).toBeLessThan(128 * 1024);
  expect(parseRunMarks(readFileSync(made.path, "utf8")).at(-1)).toMatchObject({ generation: 4_001, offset: 4_000 });
});
