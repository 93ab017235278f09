import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findProgram } from "../../src/platform/program.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "program-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function script(path: string, interpreter: string): void {
  writeFileSync(path, `#!${interpreter}\n`);
  chmodSync(path, 0o755);
}

const find = (path: string) => findProgram({ command: ["bot", "-v"], cwd: folder, env: { PATH: path } });

test("findProgram() names an interpreter that a later version of a program asks for and the machine has not", () => {
  script(join(folder, "bot"), "/bin/sh");
  expect(find(folder)).toEqual({ kind: "found", path: join(folder, "bot") });
  script(join(folder, "bot"), "/no/such");
  expect(find(folder)).toEqual({
    kind: "missing",
    reason: "cannot start bot: its interpreter /no/such does not exist",
  });
});

test("findProgram() takes the first place of PATH that has the program, also when it came there later", () => {
  const path = `${join(folder, "absent")}:${folder}:/bin`;
  expect(findProgram({ command: ["sh"], cwd: folder, env: { PATH: path } })).toEqual({
    kind: "found",
    path: "/bin/sh",
  });
  script(join(folder, "sh"), "/bin/sh");
  expect(findProgram({ command: ["sh"], cwd: folder, env: { PATH: path } })).toEqual({
    kind: "found",
    path: join(folder, "sh"),
  });
});
