/** The journal's reader on folders that hold more than a journal's files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readJournal } from "../../../src/supervisor/runtime/journal-reader.ts";

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
