/** The demo leaves nothing behind, whatever its visitor does to it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { isLive, listPids, readProc } from "../../src/platform/proc.ts";
import { until } from "./harness.ts";

function pidIn(file: string): number {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return Number(/"pid":\s*(\d+)/.exec(text)?.[1] ?? /^(\d+)/.exec(text)?.[1] ?? 0);
}

/** A demo whose bot runs, and whom it has started. */
async function staged() {
  const demo = Bun.spawn([inject("supervisorBinary"), "demo"], { stdout: "pipe", stderr: "ignore" });
  let said = "";
  for await (const chunk of demo.stdout) {
    said += Buffer.from(chunk).toString();
    if (said.includes("starting → running")) break;
  }
  const folder = /everything lives in (\S+);/.exec(said)?.[1] ?? "";
  const state = join(folder, "state");
  const daemon = pidIn(join(state, "supervisor.lock"));
  const bot = pidIn(join(state, "bots/momentum/identity.json"));
  expect([isLive(daemon), isLive(bot)]).toEqual([true, true]);
  return { demo, folder, daemon, bot };
}

test.concurrent("a demo that is interrupted after its daemon was killed ends the bot and removes its folder", async () => {
  const { demo, folder, daemon, bot } = await staged();
  process.kill(daemon, "SIGKILL");
  await until("the daemon is dead", () => !isLive(daemon));
  demo.kill("SIGINT");
  await demo.exited;
  expect([isLive(bot), existsSync(folder)]).toEqual([false, false]);
});

test.concurrent("a demo that is killed leaves neither its processes nor its folder, also where its daemon was killed before", async () => {
  const whole = await staged();
  whole.demo.kill("SIGKILL");
  const halved = await staged();
  process.kill(halved.daemon, "SIGKILL");
  halved.demo.kill("SIGKILL");
  for (const { folder, daemon, bot } of [whole, halved]) {
    await until("the folder is gone", () => !existsSync(folder));
    expect([isLive(daemon), isLive(bot)]).toEqual([false, false]);
    const exchange = listPids().filter((pid) => readProc(`/proc/${pid}/environ`)?.includes(`HOME=${folder}`));
    await until("nothing of it lives", () => !exchange.some((pid) => isLive(pid)));
  }
});
