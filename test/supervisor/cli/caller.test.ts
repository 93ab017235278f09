/** Who runs a command: the name of the machine's own list of users, whatever the environment says. */
import { expect, test } from "vitest";
import { callerName } from "../../../src/supervisor/cli/caller.ts";

test.each([
  [{}, "0", "root"],
  [{ USER: "mallory" }, "0", "root"],
  [{ SUDO_USER: "ada" }, "0", "ada as root"],
  [{ SUDO_USER: "root" }, "0", "root"],
  [{}, "4199999999", "uid 4199999999"],
  [{ SUDO_USER: "x".repeat(1_000) }, "0", "x".repeat(100)],
])("callerName() with %o of uid %s is %s", (env, uid, name) => {
  expect(callerName(env, uid)).toBe(name);
});
