/** Folders that an install makes in places where somebody else may write. */
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { installFolder, temporaryOf } from "../../src/platform/install-file.ts";

const ME = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "install-"));
  path = join(folder, "state");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (of: string): number => lstatSync(of).mode & 0o7777;

test("installFolder() makes the folder with its mode, and clears up what a run that was killed has left", () => {
  mkdirSync(`${temporaryOf(path)}-Ab3dEf`);
  installFolder(path, 0o711, ME);
  expect(readdirSync(folder)).toEqual(["state"]);
  expect(modeOf(path)).toBe(0o711);
});

test("installFolder() touches nothing that somebody has put where it works", () => {
  const precious = join(folder, "precious");
  writeFileSync(precious, "");
  chmodSync(precious, 0o600);
  const names = [temporaryOf(path), `${temporaryOf(path)}-folder`, `${temporaryOf(path)}-link`];
  for (const name of names.slice(0, 2)) {
    mkdirSync(name);
    writeFileSync(join(name, "mine"), "");
  }
  symlinkSync(precious, names[2] ?? "");
  installFolder(path, 0o711, ME);
  expect(readdirSync(folder).toSorted()).toEqual([
    ".state.new",
    ".state.new-folder",
    ".state.new-link",
    "precious",
    "state",
  ]);
  for (const name of names.slice(0, 2)) expect(readdirSync(name)).toEqual(["mine"]);
  expect(modeOf(precious)).toBe(0o600);
});

test("installFolder() leaves nothing behind where its name is taken by a file", () => {
  writeFileSync(path, "");
  expect(() => installFolder(path, 0o711, ME)).toThrow(`cannot make folder ${path}`);
  expect(readdirSync(folder)).toEqual(["state"]);
});
