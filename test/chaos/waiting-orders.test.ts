/** Orders to close that lie ready for a daemon as it starts or takes over: whom they end, whom they leave alone, and what follows. */
import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { nextVersion } from "./next-version.ts";
import { startPaper, type Paper } from "./paper.ts";

const next = nextVersion("ordered");

/** Two bots, of which only one has an account that can be closed. */
function botsOn(paper: Paper) {
  return { bot: { command: STAY, emergency: emergencyAt(paper.url) }, other: { command: STAY } };
}

const running = (rig: Rig, name: string) =>
  rig.botUntil(`${name} is running`, ({ state }) => state === "running", undefined, name);

/** Closed and locked by the file, which is gone, and started again by `arm`. */
async function expectObeyed(rig: Rig, paper: Paper): Promise<void> {
  expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { outcome: "flat" } });
  expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
  const told = rig.journal.filter((entry) => entry.kind === "fact" && entry.bot === "other");
  expect(told.map(({ text }) => text).join("\n")).toContain("this bot has no emergency section");
  await until("the file is gone", () => !existsSync(rig.state("run/emergency")));
  expect(await rig.cli("arm", "bot", "--reason", "test")).toMatchObject({ code: 0 });
  expect(await rig.botIn("running")).toMatchObject({ wanted: true });
}

test.concurrent("an emergency file that is there when a daemon starts closes whom it can, lets the others start, and arm starts what would run", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: botsOn(paper) });
  await rig.run();
  await rig.endDaemon("SIGTERM");
  writeFileSync(rig.state("run/emergency"), "", { mode: 0o600 });
  await rig.run();
  await expectObeyed(rig, paper);
  expect(await running(rig, "other")).toMatchObject({ generation: 2, adopted: false });
});

test.concurrent("an emergency file that is there when a daemon finds its living bots closes whom it can, and adopts the others", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: botsOn(paper) });
  await rig.run();
  await running(rig, "bot");
  const { pid } = await running(rig, "other");
  await rig.endDaemon("SIGKILL");
  writeFileSync(rig.state("run/emergency"), "", { mode: 0o600 });
  await rig.run();
  await expectObeyed(rig, paper);
  expect(await running(rig, "other")).toMatchObject({ pid, generation: 1, adopted: true });
});

test.concurrent("BOT_EMERGENCY_SHUTDOWN keeps bots down that cannot be closed, status says so, also after an upgrade, and start starts them", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { ...botsOn(paper), quiet: { command: STAY, autostart: false } } });
  await rig.run();
  await running(rig, "other");
  await rig.endDaemon("SIGKILL");
  await rig.run({ BOT_EMERGENCY_SHUTDOWN: "true" });
  await rig.botIn("locked");
  const kept =
    "kept down: BOT_EMERGENCY_SHUTDOWN was set when the supervisor started; to start it: supervisor start other";
  await rig.botUntil("the other one is down", ({ state }) => state === "stopped", undefined, "other");
  expect(await rig.bot("other")).toMatchObject({ wanted: false, reason: kept, pid: null });
  expect((await rig.cli("status", "other")).out).toContain(`other: ${kept}`);
  expect(await rig.bot("quiet")).toMatchObject({ state: "stopped", reason: null });
  const arm = await rig.cli("arm", "other", "--reason", "test");
  expect(arm).toMatchObject({ code: 1, err: expect.stringContaining("supervisor start other") as unknown });
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect(await rig.bot("other")).toMatchObject({ state: "stopped", wanted: false, reason: kept });
  rig.configure({
    ...botsOn(paper),
    other: { command: STAY, account: "elsewhere" },
    quiet: { command: STAY, autostart: false },
  });
  expect(await rig.cli("reload")).toMatchObject({ code: 0, err: "" });
  expect(await rig.bot("other")).toMatchObject({ state: "stopped", account: "elsewhere", wanted: false, reason: kept });
  expect((await rig.cli("start", "other")).code).toBe(0);
  expect(await running(rig, "other")).toMatchObject({ reason: null });
  expect((await rig.cli("arm", "bot", "--reason", "test")).code).toBe(0);
  await rig.botIn("running");
});

test.concurrent("an emergency file that a new version finds in an upgrade closes whom it can and lets the others run on, and the command says so", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: botsOn(paper) });
  await rig.run();
  await running(rig, "bot");
  const { pid } = await running(rig, "other");
  // The old version looks at the place that it was started with; only the new one finds this file.
  const order = rig.write("order", "");
  rig.configure(botsOn(paper), { emergencyFile: "order" });
  const done = await rig.cli("upgrade", "--binary", next);
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain(
    `the emergency file ${order} was there: the bots with an emergency section are ended and closed, the others run on`,
  );
  expect(await running(rig, "other")).toMatchObject({ pid, generation: 1, adopted: true });
  expect(await rig.botIn("locked")).toMatchObject({ emergency: { outcome: "flat" } });
  expect((await rig.cli("arm", "bot", "--reason", "test")).code).toBe(0);
  await rig.botIn("running");
});
