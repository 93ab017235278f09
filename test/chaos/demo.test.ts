/** The demo leaves nothing behind, whatever its visitor does to it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { until } from "./harness.ts";

function pidIn(file: string): number {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return Number(/"pid":\s*(\d+)/.exec(text)?.[1] ?? /^(\d+)/.exec(text)?.[1] ?? 0);
}

test.concurrent("a demo that is interrupted after its daemon was killed ends the bot and removes its folder", async () => {
  const demo = Bun.spawn([inject("supervisorBinary"), "demo"], { stdout: "pipe", stderr: "ignore" });
  let said = "";
  for await (const chunk of demo.stdout) {
    said += Buffer.from(chunk).toString();
    if (said.includes("starting → running")) break;
  }
  const state = join(/everything lives in (\S+);/.exec(said)?.[1] ?? "", "state");
  const daemon = pidIn(join(state, "supervisor.lock"));
  const bot = pidIn(join(state, "bots/momentum/identity.json"));
  expect([isLive(daemon), isLive(bot)]).toEqual([true, true]);
  process.kill(daemon, "SIGKILL");
  await until("the daemon is dead", () => !isLive(daemon));
  demo.kill("SIGINT");
  await demo.exited;
  expect([isLive(bot), existsSync(state)]).toEqual([false, false]);
});
