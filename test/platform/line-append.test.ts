/** Lines at the end of a file that others have left torn, on a disk that takes none. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openForLines, writeLines } from "../../src/platform/line-append.ts";

function scratch(): Disposable & { readonly folder: string; readonly path: string } {
  const folder = mkdtempSync(join(tmpdir(), "lines-"));
  return {
    folder,
    path: join(folder, "made", "a.ndjson"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

test("writeLines() appends to a file that is made with its folder, and takes what it wrote from the list", () => {
  using at = scratch();
  for (const lines of [["one", "two"], ["three"]]) {
    const fd = openForLines(at.path);
    writeLines(fd, lines);
    closeSync(fd);
    expect(lines).toEqual([]);
  }
  expect(readFileSync(at.path, "utf8")).toBe("one\ntwo\nthree\n");
});

test("openForLines() ends a torn line, so that the next one can be read", () => {
  using at = scratch();
  const path = join(at.folder, "torn.ndjson");
  writeFileSync(path, "one\ntw");
  const fd = openForLines(path);
  writeLines(fd, ["three"]);
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe("one\ntw\nthree\n");
});

test("writeLines() keeps what a full disk does not take", () => {
  const lines = ["one", "two"];
  const fd = openSync("/dev/full", "w");
  expect(() => writeLines(fd, lines)).toThrow("ENOSPC");
  closeSync(fd);
  expect(lines).toEqual(["one", "two"]);
});

test("openForLines() refuses what is no regular file and does not wait for a reader", () => {
  using at = scratch();
  const path = join(at.folder, "fifo");
  Bun.spawnSync(["mkfifo", path]);
  expect(() => openForLines(path)).toThrow("it is not a regular file");
});
