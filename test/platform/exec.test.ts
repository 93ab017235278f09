import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileStamp, programProblem, startedAs, takeDescriptor } from "../../src/platform/exec.ts";
import { inheritLock, tryLock } from "../../src/platform/lock.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sv-exec-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program in a folder of its own. */
function place(mode = 0o755): string {
  mkdirSync(join(folder, "bin"), { recursive: true });
  const path = join(folder, "bin", "program");
  copyFileSync("/bin/true", path);
  chmodSync(path, mode);
  return path;
}

test("programProblem() takes a binary that nobody else can change, also by a link", () => {
  const path = place();
  symlinkSync(path, join(folder, "link"));
  expect(programProblem(path)).toBeUndefined();
  expect(programProblem(join(folder, "link"))).toBeUndefined();
});

test("programProblem() refuses what somebody else could have put there", () => {
  expect(programProblem(place(0o775))).toContain("written by its group or others");
  const path = place();
  chmodSync(join(folder, "bin"), 0o777);
  symlinkSync(path, join(folder, "link"));
  expect(programProblem(path)).toContain(`${join(folder, "bin")} may be written`);
  expect(programProblem(join(folder, "link"))).toContain("may be written");
});

test("programProblem() refuses what is no program of this machine", () => {
  expect(programProblem("bin/program")).toContain("not absolute");
  expect(programProblem("/nowhere/program")).toBe("there is no such file");
  expect(programProblem(join(folder, "none"))).toContain("no such file");
  expect(programProblem(folder)).toContain("not a file");
  expect(programProblem(place(0o644))).toContain("not executable");
  const path = place();
  writeFileSync(path, "#!/bin/sh\n");
  expect(programProblem(path)).toContain("not a binary");
  writeFileSync(path, "");
  expect(programProblem(path)).toContain("not a binary");
});

test("fileStamp() is another one once the file was replaced", () => {
  const path = place();
  const before = fileStamp(path);
  expect(fileStamp(path)).toBe(before);
  copyFileSync("/bin/false", `${path}.new`);
  rmSync(path);
  copyFileSync(`${path}.new`, path);
  expect(fileStamp(path)).not.toBe(before);
});

test("startedAs() is an absolute path of this program", () => {
  expect(startedAs()).toMatch(/^\//);
});

test("takeDescriptor() says whether there is one", () => {
  const fd = openSync(folder, "r");
  expect(takeDescriptor(fd)).toBe(true);
  closeSync(fd);
  expect(takeDescriptor(1_000_000)).toBe(false);
});

test("inheritLock() takes the lock that the descriptor holds, and no other file for it", () => {
  const path = join(folder, "lock");
  const held = tryLock(path);
  expect(inheritLock(path, held?.fd ?? -1)).toBeDefined();
  const other = openSync(join(folder, "other"), "w");
  expect(inheritLock(path, other)).toBeUndefined();
  expect(inheritLock(path, 1_000_000)).toBeUndefined();
  // Another open of the same file is not the one that holds the lock.
  const again = openSync(path, "r+");
  expect(inheritLock(path, again)).toBeUndefined();
  for (const fd of [other, again]) closeSync(fd);
  held?.release();
});
