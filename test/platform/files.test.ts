/** Whole files or none, and nothing damaged is ever deleted. */
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ensureDir, readTextIfExists, rewriteFile, setAside, writeFileAtomic } from "../../src/platform/files.ts";
import { FakeClock } from "../harness/fake-clock.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("writeFileAtomic() replaces the file, its mode and nothing else", () => {
  const path = join(folder, "state.json");
  writeFileSync(path, "old", { mode: 0o644 });
  writeFileAtomic(path, "new");
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["state.json"]);
});

test("writeFileAtomic() leaves no temporary file behind when it fails, however late", () => {
  const path = join(folder, "state.json");
  writeFileSync(path, "old");
  // A rename onto a folder fails after everything was written, as late as a failure can come.
  ensureDir(join(folder, "taken"));
  expect(() => writeFileAtomic(join(folder, "taken"), "new")).toThrow(/^cannot write .*taken: /);
  expect(() => writeFileAtomic(join(folder, "none", "x"), "new")).toThrow(/^cannot write .*none\/x: ENOENT/);
  expect(readdirSync(folder).sort()).toEqual(["state.json", "taken"]);
});

test("writeFileAtomic() replaces a symbolic link and not what it points to", () => {
  const [target, link] = [join(folder, "target"), join(folder, "link")];
  writeFileSync(target, "keep");
  symlinkSync(target, link);
  writeFileAtomic(link, "new");
  expect([readFileSync(target, "utf8"), readFileSync(link, "utf8")]).toEqual(["keep", "new"]);
});

test("readTextIfExists() tells absence, content and excess apart", () => {
  const path = join(folder, "text");
  expect(readTextIfExists(path, 10)).toBeUndefined();
  writeFileSync(path, "0123456789");
  expect(readTextIfExists(path, 10)).toBe("0123456789");
  expect(() => readTextIfExists(path, 9)).toThrow(/larger than 9 bytes/);
  expect(() => readTextIfExists(folder, 9)).toThrow(/not a regular file|EISDIR/);
});

test("readTextIfExists() does not wait for the writer of a FIFO", () => {
  const path = join(folder, "fifo");
  Bun.spawnSync({ cmd: ["mkfifo", path] });
  expect(() => readTextIfExists(path, 10)).toThrow(/not a regular file/);
});

test("ensureDir() makes parents, takes no offence at an existing folder and names the one it cannot make", () => {
  const path = join(folder, "a", "b");
  ensureDir(path, 0o750);
  ensureDir(path, 0o750);
  expect(statSync(path).mode & 0o777).toBe(0o750);
  writeFileSync(join(folder, "file"), "");
  expect(() => ensureDir(join(folder, "file", "x"))).toThrow(/^cannot make folder .*file\/x: /);
  chmodSync(path, 0o700);
});

test("setAside() renames with the time, keeps every copy and notes the reason", () => {
  const [path, clock] = [join(folder, "lock.json"), new FakeClock()];
  const moved = ["one", "two"].map((text) => {
    writeFileSync(path, text);
    return setAside(path, `not JSON: ${text}`, clock);
  });
  expect(existsSync(path)).toBe(false);
  expect(moved).toEqual([`${path}.damaged-20260101T000000Z`, `${path}.damaged-20260101T000000Z-1`]);
  expect(moved.map((file) => readFileSync(file, "utf8"))).toEqual(["one", "two"]);
  expect(readFileSync(`${moved[0] ?? ""}.reason`, "utf8")).toBe("not JSON: one\n");
});

test("rewriteFile() keeps file and size, and replaces what is not a file of that size", () => {
  const path = join(folder, "identity.json");
  rewriteFile(path, '{"a":1}');
  const { ino, size } = statSync(path);
  rewriteFile(path, '{"b":2}');
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ b: 2 });
  expect(statSync(path)).toMatchObject({ ino, size });
  rmSync(path);
  writeFileSync(join(folder, "other"), "untouched");
  symlinkSync(join(folder, "other"), path);
  rewriteFile(path, '{"c":3}');
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ c: 3 });
  expect(readFileSync(join(folder, "other"), "utf8")).toBe("untouched");
  expect(readdirSync(folder).sort()).toEqual(["identity.json", "other"]);
});
