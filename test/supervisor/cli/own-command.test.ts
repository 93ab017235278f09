import { expect, test } from "vitest";
import { ownCommand } from "../../../src/supervisor/cli/own-command.ts";

test.each([
  ["/clone", ["/clone/dist/supervisor"], "dist/supervisor"],
  ["/clone/dist", ["/clone/dist/supervisor"], "./supervisor"],
  ["/somewhere/else", ["/usr/bin/supervisor"], "/usr/bin/supervisor"],
  ["/", ["/x"], "/x"],
  ["/clone", ["/usr/bin/bun", "/clone/src/main.ts"], "/usr/bin/bun src/main.ts"],
  ["/", ["/my tools/it's"], "'my tools/it'\\''s'"],
])("ownCommand() in %s of %j is %s", (cwd, program, typed) => {
  expect(ownCommand(cwd, program)).toBe(typed);
});
