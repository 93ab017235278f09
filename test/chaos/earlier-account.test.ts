/** A bot that got another account, or an account that got another bot, while a lockout held: what is kept of it in files of its own outlives every kill of the daemon. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { ordersSent, startPaper } from "./paper.ts";

async function killAndRun(rig: Rig): Promise<void> {
  await rig.endDaemon("SIGKILL");
  await rig.run();
}

test.concurrent("the open close of an account that the bot had before outlives kills amid and after the close of the present one, and ends where the bot has it back", async () => {
  await using paper = await startPaper();
  await using present = await startPaper();
  await using rig = new Rig();
  rig.write("wrong.key", "wrong");
  rig.configure({ bot: { command: STAY, emergency: emergencyAt(paper.url, { apiKeyFile: "wrong.key" }) } });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(13);
  const { incident } = (await rig.botIn("locked")).emergency;
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: STAY, account: "other", emergency: emergencyAt(present.url) } });
  await rig.run();
  const open = `the close of account bot (incident ${incident})`;
  expect((await rig.botIn("locked")).reason).toContain(open);
  // Amid the close of the present account, whose lockout has just taken the place of the older one.
  await present.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 2_500, times: 2 });
  const close = rig.cli("emergency", "close", "bot", "--yes", "--account", "other");
  await until("the first order of that close is on its way", () => ordersSent(present.state()) > 0);
  const kept = rig.state("bots/bot/lock-elsewhere.json");
  expect(existsSync(kept)).toBe(true);
  await killAndRun(rig);
  await close;
  await rig.botUntil("the present account is flat", ({ emergency }) => emergency.state === "flat", 60_000);
  expect(present.state()).toMatchObject({ flat: true, flips: [], violations: [] });
  const refused = await rig.cli("arm", "bot", "--reason", "it is flat");
  expect(refused.code).toBe(1);
  expect(refused.err).toContain(`account other is flat, but ${open}, which it had before, `);
  await killAndRun(rig);
  expect((await rig.botIn("locked")).reason).toContain(open);
  expect(paper.state()).toMatchObject({ flat: false, fills: [] });
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: STAY, emergency: emergencyAt(paper.url) } });
  await rig.run();
  await rig.botIn("locked");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  expect(await rig.bot()).toMatchObject({ generation: 1, emergency: { state: "flat", incident } });
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  expect(existsSync(kept)).toBe(false);
  expect((await rig.cli("arm", "bot", "--reason", "both are flat")).code).toBe(0);
  await killAndRun(rig);
  expect(await rig.botIn("running")).toMatchObject({ generation: 2, adopted: true });
});

test.concurrent("a bot that was re-armed runs on over kills of the daemon while the one that had its account before stays locked", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { first: { command: STAY, account: "main", emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botUntil("it runs", ({ state }) => state === "running", 10_000, "first");
  expect((await rig.cli("emergency", "close", "first", "--yes", "--account", "main")).code).toBe(0);
  await rig.endDaemon("SIGKILL");
  const first = { command: STAY, account: "spare" };
  rig.configure({ first, bot: { command: STAY, account: "main", emergency: emergencyAt(paper.url) } });
  await rig.run();
  await rig.botIn("locked");
  expect((await rig.cli("arm", "bot", "--reason", "the account is flat")).code).toBe(0);
  const { pid } = await rig.botIn("running");
  expect(existsSync(rig.state("bots/bot/ended.json"))).toBe(true);
  for (const kill of [1, 2]) {
    await killAndRun(rig);
    expect(await rig.botIn("running"), `kill ${kill}`).toMatchObject({ pid, generation: 1, adopted: true });
    expect((await rig.bot("first")).state).toBe("locked");
  }
  // Started anew, and not adopted, it is not locked either.
  await rig.endDaemon("SIGTERM");
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ generation: 2 });
});
