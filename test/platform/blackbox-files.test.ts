import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { pruneSealed, readStart, recordedStarts, sealBlackbox } from "../../src/platform/blackbox-files.ts";

class Folders implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "bb-"));
  readonly blackbox = join(this.folder, "box");
  readonly sealed = join(this.folder, "sealed");

  constructor() {
    mkdirSync(this.blackbox);
  }

  write(name: string, text = `{"ts":1,"type":"a"}\n`): void {
    writeFileSync(join(this.blackbox, name), text);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test("sealBlackbox() moves the files of an ended start and leaves everything else of the bot", () => {
  using folders = new Folders();
  for (const name of ["000003-aa-events-0001.ndjson", "000003-aa-page.bin", "py.ndjson", "state.db", ".tmp.ndjson"])
    folders.write(name);
  expect(sealBlackbox(folders, 3)).toBe(3);
  expect(readdirSync(folders.blackbox).toSorted()).toEqual([".tmp.ndjson", "state.db"]);
  expect(readdirSync(join(folders.sealed, "000003"))).toHaveLength(3);
});

test("sealBlackbox() never replaces what is sealed already", () => {
  using folders = new Folders();
  for (const text of ["first", "second"]) {
    folders.write("py.ndjson", text);
    sealBlackbox(folders, 3);
  }
  const texts = readdirSync(join(folders.sealed, "000003")).map((name) =>
    readFileSync(join(folders.sealed, "000003", name), "utf8"),
  );
  expect(texts.toSorted()).toEqual(["first", "second"]);
});

test("sealBlackbox() and readStart() follow no link that a bot has laid", () => {
  using folders = new Folders();
  const secret = join(folders.folder, "secret");
  writeFileSync(secret, `{"ts":1,"type":"secret"}\n`);
  symlinkSync(secret, join(folders.blackbox, "link.ndjson"));
  linkSync(secret, join(folders.blackbox, "hard.ndjson"));
  mkdirSync(join(folders.blackbox, "folder.ndjson"));
  expect(recordedStarts(folders).flatMap((start) => readStart(start).events)).toEqual([]);
  expect(sealBlackbox(folders, 1)).toBe(0);
});

test("pruneSealed() keeps the newest ten starts, and of large ones fewer, but always the newest", () => {
  using folders = new Folders();
  for (let generation = 1; generation <= 14; generation += 1) {
    folders.write("py.ndjson");
    sealBlackbox(folders, generation);
  }
  pruneSealed(folders);
  expect(readdirSync(folders.sealed).toSorted().map(Number)).toEqual(Array.from({ length: 10 }, (_, n) => n + 5));
  // Sparse: only the size counts.
  truncateSync(join(folders.sealed, "000014", "py.ndjson"), 300 * 1_048_576);
  pruneSealed(folders);
  expect(readdirSync(folders.sealed)).toEqual(["000014"]);
});

test("recordedStarts() tells sealed starts from the living one, and whose writer has names of its own", () => {
  using folders = new Folders();
  folders.write("000002-aa-kept-0001.ndjson");
  sealBlackbox(folders, 2);
  for (const name of ["000003-bb-kept-0001.ndjson", "000003-bb-events-0001.ndjson", "py.ndjson"]) folders.write(name);
  expect(recordedStarts(folders).map(({ name, live, paths }) => [name, live, paths.length])).toEqual([
    ["000002", false, 1],
    ["000003-bb", true, 2],
    ["py.ndjson", true, 1],
  ]);
});

test("readStart() counts torn lines and reads the rest", () => {
  using folders = new Folders();
  folders.write(
    "000001-a-events-0001.ndjson",
    `{"seq":2,"ts":1,"type":"b"}\n{"seq":1,"ts":1,"type":"a"}\n{"seq":3,"ts`,
  );
  folders.write("000001-a-page.bin", "no page");
  const [start] = recordedStarts(folders);
  if (start === undefined) throw new Error("no start");
  const { events, damaged, page } = readStart(start);
  expect(events.map(({ type }) => type)).toEqual(["a", "b"]);
  expect({ damaged, page }).toEqual({ damaged: 1, page: undefined });
});
