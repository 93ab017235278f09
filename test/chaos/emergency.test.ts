/** Everything that closes positions, and everything that must not, against a paper exchange that keeps its own books. */
import { chmodSync, existsSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { program, script, STAY } from "./fixture.ts";
import { CREDENTIALS, emergencyAt, Rig, until, type BotSettings, type RigOptions } from "./harness.ts";
import { changes, startPaper, type Paper } from "./paper.ts";

/** A bot on the paper account. */
function botOn(paper: Paper, bot: object = {}, emergency: object = {}): { bots: Record<string, BotSettings> } {
  return { bots: { bot: { command: STAY, ...bot, emergency: emergencyAt(paper.url, emergency) } } };
}

function rigOn(paper: Paper, bot: object = {}, emergency: object = {}, options: RigOptions = {}): Rig {
  return new Rig({ ...botOn(paper, bot, emergency), ...options });
}

/** The venue's own word: nothing is open, nothing was turned around, nothing was asked for that is not allowed. */
function expectFlat(paper: Paper): void {
  expect(paper.state()).toMatchObject({ flat: true, positions: [], flips: [], violations: [] });
}

async function expectLockedFlat(rig: Rig, paper: Paper, trigger: string): Promise<void> {
  const bot = await rig.botIn("locked");
  expect(bot).toMatchObject({ pid: null, level: "emergency", emergency: { state: "flat" } });
  expectFlat(paper);
  expect(JSON.parse(rig.read(".supervisor/bots/bot/lock.json"))).toMatchObject({ trigger, outcome: "flat" });
  expect((await rig.cli("status")).code).toBe(4);
}

test.concurrent("closeAfter closes positions of a bot that is never ready, although restarts would go on", async () => {
  await using paper = await startPaper();
  const bot = { ready: "notify", startTimeout: "400ms", restart: { intensity: 1_000 } };
  await using rig = rigOn(paper, bot, { closeAfter: "4s" });
  await rig.run();
  await expectLockedFlat(rig, paper, "closeAfter");
  const { restarts } = await rig.bot();
  expect(restarts.total).toBeGreaterThan(1);
  expect(restarts.total).toBeLessThan(20);
});

test.concurrent("closeAfter closes positions of a bot that hangs at each start, although restarts would go on", async () => {
  await using paper = await startPaper();
  const bot = { probes: [{ kind: "heartbeat", timeout: "1s" }], restart: { intensity: 1_000 } };
  await using rig = rigOn(paper, bot, { closeAfter: "3s" });
  await rig.run();
  await expectLockedFlat(rig, paper, "closeAfter");
  const { restarts, reason } = await rig.bot();
  expect(restarts.total).toBeGreaterThan(0);
  expect(restarts.total).toBeLessThan(20);
  expect(reason).toContain("no healthy bot for the time of closeAfter");
  expect(rig.journal.filter(({ text }) => text.includes("heartbeat is healthy"))).toEqual([]);
});

test.concurrent("closeAfter closes positions of a running bot whose probe has failed for too long", async () => {
  await using paper = await startPaper();
  await using rig = new Rig();
  const broken = rig.path("broken");
  const probe = {
    kind: "exec",
    command: ["test", "!", "-e", broken],
    period: "500ms",
    timeout: "490ms",
    onFailure: "alert",
  };
  rig.configure(botOn(paper, { probes: [{ ...probe, failureThreshold: 1 }] }, { closeAfter: "4s" }).bots);
  await rig.run();
  await rig.botUntil("the bot is healthy", ({ health }) => health === "healthy");
  expect(changes(paper.state())).toBe(0);
  writeFileSync(broken, "");
  await expectLockedFlat(rig, paper, "closeAfter");
  // It was `unhealthy` until the time was over, or for a moment only where the time was over already.
  expect(rig.journal.filter(({ text }) => text.includes("probe exec is unhealthy"))).toHaveLength(1);
  expect((await rig.bot()).restarts.total).toBe(0);
});

test.concurrent("onFailure: emergency closes positions at the first verdict", async () => {
  await using paper = await startPaper();
  const probe = { kind: "file", path: "never", maxAge: "1s", period: "100ms", timeout: "90ms", onFailure: "emergency" };
  await using rig = rigOn(paper, { probes: [probe] });
  await rig.run();
  await expectLockedFlat(rig, paper, "probe");
  expect(await rig.bot()).toMatchObject({ generation: 1, restarts: { total: 0 } });
});

test.concurrent("the emergency file closes positions, once, and is taken away", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  const file = rig.state("run/emergency");
  writeFileSync(file, "", { mode: 0o600 });
  await expectLockedFlat(rig, paper, "file");
  await until("the file is gone", () => !existsSync(file));
  const opened = rig.journal.filter(({ text }) => text.includes("closing positions (file)"));
  expect(opened).toHaveLength(1);
});

test.concurrent("an arm that finds the account open again is refused, and the status tells what it has seen, also after the daemon's death", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  await expectLockedFlat(rig, paper, "operator");
  await paper.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 1 }] });
  const arm = await rig.cli("arm", "bot", "--reason", "it looks well");
  expect(arm.err).toContain("its account was flat after the close and is not any more");
  await rig.endDaemon("SIGKILL");
  await rig.run();
  const bot = await rig.botIn("locked");
  const seen = { at: expect.any(String), positions: 1, orders: 0, loans: 0 };
  expect(bot).toMatchObject({ emergency: { state: "residual", outcome: "flat", retries: false, seen } });
  expect((await rig.cli("status")).out).toContain(
    "and the account is not any more: 1 position, 0 open orders were there",
  );
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  await expectLockedFlat(rig, paper, "operator");
});

test.concurrent("an emergency file that is a link, or that others may write, is refused", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  const { pid } = await rig.botIn("running");
  const file = rig.state("run/emergency");
  symlinkSync(rig.path("paper.key"), file);
  const refusals = (): string[] =>
    rig.journal.flatMap(({ level, text }) => (level === "alert" && text.includes("is ignored") ? [text] : []));
  await until("the link is refused", () => refusals()[0] === `${file} is ignored: it is not a regular file`);
  await Bun.file(file).delete();
  writeFileSync(file, "");
  chmodSync(file, 0o660);
  await until(
    "the group's file is refused",
    () => refusals()[1] === `${file} is ignored: its group or others may write to it`,
  );
  expect(await rig.bot()).toMatchObject({ state: "running", pid, generation: 1 });
  expect(changes(paper.state())).toBe(0);
  expect(existsSync(file)).toBe(true);
});

test.concurrent("SIGUSR2 closes positions of every bot", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  process.kill(rig.daemon.pid, "SIGUSR2");
  await expectLockedFlat(rig, paper, "signal");
  const cause = "SIGUSR2 was sent to the supervisor";
  const { reason, emergency } = await rig.bot();
  expect(reason).toBe(cause);
  expect(emergency.lastClose).toMatchObject({
    outcome: "flat",
    residualNotional: 0,
    orders: { rejected: 0, unknown: 0 },
  });
  expect(emergency.closes).toEqual({ flat: 1 });
  const shown = await rig.cli("emergency", "report", "bot", "--json");
  const told = { method: expect.any(String) };
  expect(JSON.parse(shown.out)).toMatchObject({ cause, fence: told, before: { notional: expect.any(Number) } });
});

test.concurrent("BOT_EMERGENCY_SHUTDOWN=true keeps every bot down and closes its positions", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run({ BOT_EMERGENCY_SHUTDOWN: "true" });
  await expectLockedFlat(rig, paper, "environment");
  expect((await rig.bot()).generation).toBe(0);
});

test.concurrent("a bot whose hidden grandchild goes on trading is dead before its positions are closed", async () => {
  await using paper = await startPaper();
  const { apiKey, apiSecret } = CREDENTIALS;
  const trade = program("trade-on.ts", paper.url, apiKey, apiSecret);
  await using rig = rigOn(paper, { command: script("escape-and-run.sh", ...trade), stopTimeout: "60s" });
  await rig.run();
  await until("the grandchild trades", () => paper.state().fills.length > 3);
  const close = await rig.cli("emergency", "close", "bot", "--yes", "--json");
  expect(close.code).toBe(0);
  // Safe: the command's own JSON.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { report } = JSON.parse(close.out) as { report: { outcome: string; verified: boolean; fence: object } };
  expect(report).toMatchObject({ outcome: "flat", verified: true, foreign: [], fence: { proven: true, pids: [] } });
  await expectLockedFlat(rig, paper, "operator");
  const ours = paper.state().fills.findIndex(({ clientOrderId }) => clientOrderId.startsWith("sv"));
  expect(ours).toBeGreaterThan(3);
  // Once the first order of the close was filled, nobody else ordered anything.
  expect(
    paper
      .state()
      .fills.slice(ours)
      .filter(({ clientOrderId }) => !clientOrderId.startsWith("sv")),
  ).toEqual([]);
});

test.concurrent("supervisor emergency plan shows what is open, exits 20 and changes nothing; its token closes, once", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  const { pid } = await rig.botIn("running");
  const plan = await rig.cli("emergency", "plan", "bot");
  expect(plan.code).toBe(20);
  expect(plan.out).toMatch(/BTC\/USDT:USDT +long +0\.25 +\S+ +sell 0\.25/);
  expect(plan.out).toMatch(/ETH\/USDT:USDT +short +4 +\S+ +buy 4/);
  expect(changes(paper.state())).toBe(0);
  expect(paper.state().positions).toHaveLength(2);
  expect(await rig.bot()).toMatchObject({ state: "running", pid });
  expect(existsSync(rig.state("bots/bot/lock.json"))).toBe(false);

  const token = /--confirm ([0-9a-f]+)/.exec(plan.out)?.[1] ?? "";
  const wrong = await rig.cli("emergency", "close", "bot", "--confirm", "0123456789");
  expect(wrong).toMatchObject({ code: 12, out: "" });
  expect(wrong.err).toContain("not confirmed");
  expect((await rig.cli("emergency", "close", "bot")).code).toBe(12);
  expect(changes(paper.state())).toBe(0);
  const close = await rig.cli("emergency", "close", "bot", "--confirm", token);
  expect(close.code).toBe(0);
  expect(close.out).toMatch(/^incident \w+: flat after/);
  await expectLockedFlat(rig, paper, "operator");
  expect((await rig.cli("emergency", "close", "bot", "--confirm", token)).code).toBe(12);
  expect((await rig.cli("emergency", "plan", "bot")).code).toBe(0);
  expect((await rig.cli("arm", "bot", "--reason", "looked at it")).code).toBe(0);
  expect(await rig.botIn("running")).toMatchObject({ generation: 2 });
});

test.concurrent("a second close is refused while one is in progress, and so are start and arm", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await paper.control("fault", { kind: "latency", match: "POST /fapi/v1/order", ms: 3_000, times: 2 });
  const first = rig.cli("emergency", "close", "bot", "--yes");
  await rig.botUntil(
    "the close runs",
    ({ state, emergency }) => state === "recovering" && emergency.state === "closing",
  );
  const second = await rig.cli("emergency", "close", "bot", "--yes");
  expect(second.code).toBe(12);
  expect(second.err).toContain("a close is in progress");
  const start = await rig.cli("start", "bot");
  expect(start.code).toBe(1);
  expect(start.err).toContain("its positions are being closed");
  expect((await rig.cli("arm", "bot", "--reason", "too early")).code).toBe(1);
  expect((await rig.cli("status")).code).toBe(4);
  expect((await first).code).toBe(0);
  await expectLockedFlat(rig, paper, "operator");
});

test.concurrent("supervisor emergency plan and close work without a daemon, and the lockout holds for the next one", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  const plan = await rig.cli("emergency", "plan", "bot");
  expect(plan.code).toBe(20);
  expect(changes(paper.state())).toBe(0);
  expect((await rig.cli("emergency", "close", "bot")).code).toBe(12);
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(0);
  expectFlat(paper);
  await rig.run();
  await expectLockedFlat(rig, paper, "operator");
  expect((await rig.bot()).generation).toBe(0);
});

test.concurrent("supervisor emergency close without a daemon ends the bot that a killed daemon left", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  expect(isLive(pid ?? 0)).toBe(true);
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  expect(isLive(pid ?? 0)).toBe(false);
  expectFlat(paper);
});

test.concurrent("supervisor arm is refused while positions are not proven closed, unless they are accepted", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  rig.write("paper.secret", "not-the-secret");
  await rig.run();
  await rig.botIn("running");
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(13);
  expect(await rig.botIn("locked")).toMatchObject({ emergency: { state: "unknown" } });
  expect(paper.state().positions).toHaveLength(2);
  const refused = await rig.cli("arm", "bot", "--reason", "hope");
  expect(refused.code).toBe(1);
  expect(refused.err).toContain("its positions are not proven closed (keyRefused)");
  expect(refused.err).toContain("--accept-positions");
  expect(await rig.bot()).toMatchObject({ state: "locked" });
  const accepted = await rig.cli("arm", "bot", "--reason", "closed by hand", "--accept-positions");
  expect(accepted.code).toBe(0);
  expect(await rig.botIn("running")).toMatchObject({ generation: 2 });
});

test.concurrent("supervisor emergency close of a bot without an emergency section exits 15", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(15);
  expect(close.err).toContain("hint: add bots.bot.emergency to the config");
  expect((await rig.cli("emergency", "close", "nobody", "--yes")).code).toBe(2);
});
