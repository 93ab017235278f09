/** The supervisor itself is killed, at the worst moments: the next one goes on with the same intent, once, and never runs two bots. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { incidentLineSchema, orderIdPrefix } from "../../src/core/incident.ts";
import { readLockout } from "../../src/core/lockout.ts";
import { isLive } from "../../src/platform/proc.ts";
import { script, STAY } from "./fixture.ts";
import { freezerMount, makeFreezer } from "./freezer.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { ordersSent, startPaper, type Paper } from "./paper.ts";
import { findProcess } from "./processes.ts";

function rigOn(paper: Paper, bot: object = {}): Rig {
  return new Rig({ bots: { bot: { command: STAY, ...bot, emergency: emergencyAt(paper.url) } } });
}

/** Makes each order take its time, so that there is a middle to be killed in. */
function slowOrders(paper: Paper): Promise<void> {
  return paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 2_500, times: 2 });
}

/** Asks for an emergency and waits until its first order is on the way; the incident's id. */
async function startClosing(rig: Rig, paper: Paper): Promise<string> {
  process.kill(rig.daemon.pid, "SIGUSR2");
  await until("the first order of the close is on its way", () => ordersSent(paper.state()) > 0);
  const { emergency } = await rig.bot();
  expect(emergency).toMatchObject({ state: "closing", incident: expect.any(String) });
  return emergency.incident ?? "";
}

/** One incident, one report, each order sent once, the account flat, the bot never started again. */
async function expectFinishedOnce(rig: Rig, paper: Paper, incident: string): Promise<void> {
  const bot = await rig.botIn("locked", 60_000);
  expect(bot).toMatchObject({ generation: 1, pid: null, emergency: { state: "flat", incident } });
  expect(paper.state()).toMatchObject({ flat: true, positions: [], flips: [], violations: [] });
  const folder = rig.state("bots/bot/incidents");
  const files = readdirSync(folder).filter((name) => !name.endsWith(".log"));
  expect(files.toSorted()).toEqual([`${incident}.json`, `${incident}.ndjson`]);
  expect(JSON.parse(readFileSync(join(folder, `${incident}.json`), "utf8"))).toMatchObject({
    incident,
    outcome: "flat",
  });
  const lines = readFileSync(join(folder, `${incident}.ndjson`), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => incidentLineSchema.parse(JSON.parse(line)));
  const intents = lines.flatMap((line) => (line.kind === "intent" ? [line.order.id] : []));
  expect(new Set(intents).size).toBe(intents.length);
  expect(ordersSent(paper.state())).toBeLessThanOrEqual(intents.length);
  const filled = paper.state().fills.map(({ clientOrderId }) => clientOrderId);
  expect(filled.filter((id) => !id.startsWith(orderIdPrefix(incident)))).toEqual([]);
  expect(new Set(filled).size).toBe(filled.length);
  expect(rig.journal.filter((entry) => entry.kind === "decision" && entry.to === "starting")).toHaveLength(1);
}

test.concurrent("a supervisor killed in the middle of a close finishes the same incident at its next start", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "recovering", generation: 1, pid: null });
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("a supervisor killed together with its close worker goes on where the worker was", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  const worker = findProcess(rig.folder, "__action", "close-positions") ?? 0;
  expect(isLive(worker)).toBe(true);
  await rig.endDaemon("SIGKILL");
  process.kill(worker, "SIGKILL");
  await rig.run();
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("a close that a killed supervisor left is not carried over to another account of the bot, and goes on once it has its own again", async () => {
  await using paper = await startPaper();
  await using elsewhere = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  await rig.endDaemon("SIGKILL");
  process.kill(findProcess(rig.folder, "__action", "close-positions") ?? Number.NaN, "SIGKILL");
  const own = rig.read("supervisor.yaml");
  rig.configure({ bot: { command: STAY, account: "other", emergency: emergencyAt(elsewhere.url) } });
  await rig.run();
  const bot = await rig.botIn("locked");
  expect(bot.reason).toContain(`the close of account bot (incident ${incident}) has not ended`);
  expect(elsewhere.state()).toMatchObject({ flat: false, fills: [] });
  expect(paper.state()).toMatchObject({ flat: false });
  await rig.endDaemon("SIGTERM");
  rig.write("supervisor.yaml", own);
  await rig.run();
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("a close goes on in its own process when its supervisor is stopped", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  await rig.endDaemon("SIGTERM");
  const last = await rig.cli("status", "--json");
  expect(last.code).toBe(3);
  expect(last.out).toContain(incident);
  await until("the account is flat without a supervisor", () => paper.state().flat);
  await until("the report is there", () => existsSync(rig.state(`bots/bot/incidents/${incident}.json`)));
  await rig.run();
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("a supervisor killed during the fence finishes the same incident", async () => {
  await using paper = await startPaper();
  // A polite stop of this bot would take two minutes: the fence has no time for that.
  await using rig = rigOn(paper, {
    command: script("ignore-term.sh", "pid"),
    preStop: ["sleep", "30"],
    stopTimeout: "60s",
  });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const lock = rig.state("bots/bot/lock.json");
  process.kill(rig.daemon.pid, "SIGUSR2");
  // At each turn of the loop: the fence lasts some milliseconds. The test's own timeout is the deadline.
  while (!existsSync(lock)) await Bun.sleep(0);
  await rig.endDaemon("SIGKILL");
  const reading = readLockout(readFileSync(lock, "utf8"));
  const incident = reading.kind === "locked" ? reading.lockout.incident : reading.kind;
  await rig.run();
  await expectFinishedOnce(rig, paper, incident);
  expect(isLive(pid ?? 0)).toBe(false);
});

test.concurrent("a close whose worker is killed goes on at once in another one", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  process.kill(findProcess(rig.folder, "__action", "close-positions") ?? Number.NaN, "SIGKILL");
  // A slow round would come 30 s later only.
  await rig.botUntil("the account is flat", ({ emergency }) => emergency.state === "flat", 25_000);
  expect(
    rig.journal.filter(({ text }) => text.includes("ended with SIGKILL without a report; starting another")),
  ).toHaveLength(1);
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("a close whose worker is stopped goes on in another one, long before its deadline", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  process.kill(findProcess(rig.folder, "__action", "close-positions") ?? Number.NaN, "SIGSTOP");
  await rig.botUntil("the account is flat", ({ emergency }) => emergency.state === "flat", 40_000);
  const told = "the close worker hung and was ended: it was stopped for 10 s (SIGSTOP); starting another one";
  expect(rig.journal.filter(({ text }) => text === told)).toHaveLength(1);
  await expectFinishedOnce(rig, paper, incident);
});

test
  .runIf(freezerMount !== undefined)
  .concurrent("a close whose worker was killed and does not die is an alert, and goes on once it is gone", async () => {
    await using paper = await startPaper();
    await using rig = rigOn(paper);
    using freezer = makeFreezer();
    await rig.run();
    await rig.botIn("running");
    await slowOrders(paper);
    const incident = await startClosing(rig, paper);
    const worker = findProcess(rig.folder, "__action", "close-positions") ?? Number.NaN;
    process.kill(worker, "SIGSTOP");
    // The others stand as they were stopped.
    freezer.freezeThread(Math.max(...readdirSync(`/proc/${worker}/task`).map(Number)));
    const told = `closing positions: its worker, pid ${worker}, was killed and does not die: it waits for a disk`;
    await until("it is told", () => rig.journal.some(({ text }) => text.startsWith(told)), 40_000);
    expect((await rig.bot()).emergency).toMatchObject({ state: "closing" });
    // Its first thread is dead, and has no command line any more.
    expect([isLive(worker), findProcess(rig.folder, "__action", "close-positions")]).toEqual([true, undefined]);
    freezer.thaw();
    await rig.botUntil("the account is flat", ({ emergency }) => emergency.state === "flat", 40_000);
    await expectFinishedOnce(rig, paper, incident);
  });

test.concurrent("a worker that was stopped, whose supervisor is killed, does not hold up the close of the next one", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await slowOrders(paper);
  const incident = await startClosing(rig, paper);
  const worker = findProcess(rig.folder, "__action", "close-positions") ?? Number.NaN;
  process.kill(worker, "SIGSTOP");
  await rig.endDaemon("SIGKILL");
  await rig.run();
  await rig.botUntil("the account is flat", ({ emergency }) => emergency.state === "flat", 40_000);
  expect(isLive(worker)).toBe(false);
  await expectFinishedOnce(rig, paper, incident);
});

test.concurrent("orphans: stop ends the bot that a killed supervisor left before it starts the next: never two at once", async () => {
  await using rig = new Rig();
  const starts = rig.path("starts");
  rig.configure({ bot: { command: script("one-at-a-time.sh", starts), orphans: "stop" } });
  const pids: number[] = [];
  for (let generation = 1; generation <= 5; generation += 1) {
    await rig.run();
    const bot = await rig.botUntil("the bot runs", (now) => now.state === "running" && now.generation === generation);
    await until("the bot has the lock", () => rig.read("starts").split("\n").length > generation);
    pids.push(bot.pid ?? 0);
    await rig.endDaemon("SIGKILL");
    expect(isLive(bot.pid ?? 0)).toBe(true);
  }
  await rig.run();
  await rig.botUntil("the bot runs", (now) => now.state === "running" && now.generation === 6);
  await until("the bot has the lock", () => rig.read("starts").split("\n").length > 6);
  const lines = rig.read("starts").trim().split("\n");
  expect(lines.filter((line) => line.startsWith("overlap"))).toEqual([]);
  expect(lines.slice(0, 5)).toEqual(pids.map((pid) => `start ${pid}`));
  expect(pids.filter((pid) => isLive(pid))).toEqual([]);
  expect(rig.journal.some(({ text }) => text.includes("ending what an earlier supervisor left behind"))).toBe(true);
});

test.concurrent("a lockout file that cannot be read keeps the bot down", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  writeFileSync(rig.state("bots/bot/lock.json"), '{"version": 1, "bot');
  await rig.run();
  const locked = await rig.botIn("locked");
  expect(locked).toMatchObject({ generation: 1, pid: null, emergency: { state: "unknown" } });
  expect(locked.reason).toContain("cannot be read");
  expect((await rig.cli("arm", "bot", "--reason", "damaged disk")).code).toBe(1);
  expect((await rig.cli("arm", "bot", "--reason", "looked at the account", "--accept-positions")).code).toBe(0);
  await rig.botIn("running");
});

test.concurrent("an emergency that ended is not taken for one that was interrupted where a full disk has taken only its beginning into the journal", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  process.kill(rig.daemon.pid, "SIGUSR2");
  await rig.botIn("locked", 60_000);
  expect((await rig.cli("arm", "bot", "--reason", "looked at it")).code).toBe(0);
  const { pid, generation } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  const journal = rig.state("journal/000001.ndjson");
  const lines = readFileSync(journal, "utf8").split("\n");
  const begun = lines.findIndex((line) => line.includes('"kind":"openIncident"'));
  expect(begun).toBeGreaterThan(0);
  writeFileSync(journal, `${lines.slice(0, begun + 1).join("\n")}\n`);
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "running", pid, generation, adopted: true });
  expect(rig.journal.filter(({ text }) => text.includes("started since"))).toHaveLength(1);
});
