/** A person's `stop` and the death of the supervisor that was told it: it is not forgotten, and how that supervisor ended is said. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { script, STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const file = (rig: Rig): string => rig.state("bots/bot/stopped.json");

test.concurrent("a bot that a person had stopped stays down when the supervisor dies, and says why, until it is started", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  const { pid: died } = rig.daemon;
  for (let death = 0; death < 2; death += 1) {
    await rig.endDaemon("SIGKILL");
    await rig.run();
    const reason = expect.stringMatching(/^stopped by the operator at \d{4}-.*Z; to start it: supervisor start bot$/);
    expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false, generation: 1, reason });
  }
  expect((await rig.cli("status")).code).toBe(0);
  expect(rig.journal.filter(({ text }) => text.startsWith("stays down: stopped by the operator"))).toHaveLength(2);
  expect(rig.journal.map(({ text }) => text)).toContainEqual(
    expect.stringMatching(new RegExp(`^the supervisor before, pid ${died}, ended without a word between `)),
  );
  expect((await rig.cli("start", "bot")).code).toBe(0);
  await rig.endDaemon("SIGKILL");
  await rig.run();
  await rig.botUntil("the started bot is adopted", ({ state, adopted }) => state === "running" && adopted);
});

test.concurrent("a stop that was under way when the supervisor died is seen through by the next one", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("ignore-term.sh", "pid"), stopTimeout: "60s" } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await until("the bot has started", () => rig.read("pid") !== "");
  const stop = rig.cli("stop", "bot");
  await rig.botIn("stopping");
  await rig.endDaemon("SIGKILL");
  await stop;
  await rig.run();
  await until("nothing of it lives", () => !isLive(pid ?? 0));
  await rig.botUntil("it is down and stays so", ({ state, wanted }) => state === "stopped" && !wanted);
  expect((await rig.bot()).generation).toBe(1);
});

test.concurrent("a supervisor that was stopped starts the bot again, and a reload that takes it in anew does, too", async () => {
  const bots = { bot: { command: STAY }, other: { command: STAY } };
  await using rig = new Rig({ bots });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  expect(existsSync(file(rig))).toBe(true);
  await rig.endDaemon("SIGTERM");
  expect(existsSync(file(rig))).toBe(false);
  await rig.run();
  await rig.botIn("running");
  expect(rig.journal.filter(({ text }) => text.includes("ended without a word"))).toEqual([]);
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  rig.configure({ other: bots.other });
  expect((await rig.cli("reload")).code).toBe(0);
  rig.configure(bots);
  expect((await rig.cli("reload")).code).toBe(0);
  await rig.botIn("running");
});

test.concurrent("a supervisor that could not begin does not take a stop back", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  await rig.endDaemon("SIGKILL");
  const identity = ".supervisor/bots/bot/identity.json";
  const text = rig.read(identity);
  rig.write(identity, '{"version":99}');
  expect((await rig.cli("run")).code).toBe(2);
  rig.write(identity, text);
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false });
});

test.concurrent("a damaged note of a stop is set aside and said, and the bot stays down", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  await rig.endDaemon("SIGKILL");
  rig.write(".supervisor/bots/bot/stopped.json", "{");
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "stopped", wanted: false });
  expect(rig.journal.some(({ level, text }) => level === "alert" && text.includes("which stays down"))).toBe(true);
});
