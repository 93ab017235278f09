/** Who was started with a mark, found once for many bots, on real processes. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { Census } from "../../src/platform/census.ts";

/** A process that waits for the end of its input, with these variables and nothing else. */
function start(env: Record<string, string>): { readonly pid: number } & AsyncDisposable {
  const child = Bun.spawn({ cmd: ["/bin/cat"], env, stdio: ["pipe", "ignore", "ignore"] });
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.end();
      await child.exited;
    },
  };
}

test("withEntry() finds who was started with exactly this value, whatever else its environment holds", async () => {
  const name = `MARK_${randomUUID().replaceAll("-", "")}`;
  await using first = start({ OTHER: "x", [name]: "a=b" });
  await using second = start({ [name]: "a", [`${name}_LONGER`]: "a=b" });
  await using third = start({ [name]: "a=b", LAST: "" });
  const census = new Census();
  expect(new Set(census.withEntry(`${name}=a=b`))).toEqual(new Set([first.pid, third.pid]));
  expect(census.withEntry(`${name}=a`)).toEqual([second.pid]);
  expect(census.withEntry(`${name}=`)).toEqual([]);
});
