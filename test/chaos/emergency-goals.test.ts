/** What an operator can ask of a close beside "close everything": only cancel, only reduce, only look, and let it be. */
import { appendFileSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callerName } from "../../src/supervisor/cli/caller.ts";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { changes, startPaper, type Paper } from "./paper.ts";

function rigOn(paper: Paper, bot: object = {}, emergency: object = {}): Rig {
  return new Rig({ bots: { bot: { command: STAY, ...bot, emergency: emergencyAt(paper.url, emergency) } } });
}

function exposure(paper: Paper): number {
  return paper.state().positions.reduce((sum, { notional }) => sum + notional, 0);
}

/** Writes what a daemon has written that took an order to close everything, and was killed on the next line. */
function takeOrder(rig: Rig): void {
  const last = rig.journal.findLast((each) => each.kind === "decision");
  if (last === undefined) throw new Error("nothing was decided yet");
  const opening = {
    kind: "openIncident",
    trigger: "file",
    reason: "the emergency file is there",
    goal: { kind: "flat" },
  };
  const entry = { ...last, from: "recovering", to: "recovering", effects: [opening] };
  const [file = ""] = readdirSync(rig.state("journal")).toSorted().slice(-1);
  appendFileSync(join(rig.state("journal"), file), `${JSON.stringify(entry)}\n`);
}

test.concurrent("supervisor emergency close --cancel-only ends the bot, cancels its orders and keeps its positions, and locks it", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  const { pid } = await rig.botIn("running");
  const { positions } = paper.state();
  const dry = await rig.cli("emergency", "close", "bot", "--cancel-only", "--dry-run");
  expect(dry.code).toBe(20);
  expect(changes(paper.state())).toBe(0);
  expect(await rig.bot()).toMatchObject({ state: "running", pid });
  const close = await rig.cli("emergency", "close", "bot", "--cancel-only", "--yes");
  expect(close).toMatchObject({ code: 0 });
  expect(paper.state()).toMatchObject({ orders: [], fills: [], violations: [] });
  expect(paper.state().positions.map(({ symbol, amount }) => [symbol, amount])).toEqual(
    positions.map(({ symbol, amount }) => [symbol, amount]),
  );
  expect(await rig.botIn("locked")).toMatchObject({ pid: null, level: "emergency", emergency: { state: "residual" } });
  expect(rig.journal.filter(({ text }) => text.includes("the account is flat"))).toEqual([]);
  const status = await rig.cli("status", "bot");
  expect(status.out).toContain("its last close cancelled the orders, as asked");
  const arm = await rig.cli("arm", "bot", "--reason", "hope");
  expect(arm.code).toBe(1);
  expect(arm.err).toContain("not proven closed (cancelled)");
  // The lockout is in nobody's way who wants to close.
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
});

test.concurrent("supervisor emergency close --reduce-to reduces what the plan has shown, and its token is good for nothing else", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  const asked = Math.round(exposure(paper) / 2);
  const plan = await rig.cli("emergency", "plan", "bot", "--reduce-to", String(asked));
  expect(plan.code).toBe(20);
  expect(plan.out).toContain(`reduce, to an exposure of ${asked}:`);
  const token = /--confirm ([0-9a-f]+)/.exec(plan.out)?.[1] ?? "";
  expect((await rig.cli("emergency", "close", "bot", "--confirm", token)).code).toBe(12);
  expect(changes(paper.state())).toBe(0);
  const close = await rig.cli("emergency", "close", "bot", "--reduce-to", String(asked), "--confirm", token);
  expect(close).toMatchObject({ code: 0 });
  expect(exposure(paper)).toBeLessThanOrEqual(asked * 1.005);
  expect(exposure(paper)).toBeGreaterThan(asked * 0.9);
  expect(paper.state()).toMatchObject({ flips: [], violations: [] });
  expect((await rig.cli("emergency", "close", "bot", "--reduce-to", "-1", "--yes")).code).toBe(2);
  expect((await rig.cli("emergency", "close", "bot", "--reduce-to", "1", "--cancel-only", "--yes")).code).toBe(2);
});

test.concurrent.each(["environment", "file"])(
  "an order by %s that lies ready for the daemon closes what the last close of a locked bot has left open",
  async (trigger) => {
    await using paper = await startPaper();
    await using rig = rigOn(paper);
    await rig.run();
    await rig.botIn("running");
    expect((await rig.cli("emergency", "close", "bot", "--cancel-only", "--yes")).code).toBe(0);
    expect(paper.state().positions).not.toEqual([]);
    await rig.endDaemon("SIGTERM");
    const order = rig.path(".supervisor/run/emergency");
    if (trigger === "file") writeFileSync(order, "", { mode: 0o600 });
    await rig.run(trigger === "environment" ? { BOT_EMERGENCY_SHUTDOWN: "true" } : {});
    await rig.botUntil("the account is flat", ({ emergency }) => emergency.state === "flat");
    expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { outcome: "flat" } });
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    expect(existsSync(order)).toBe(false);
  },
);

test.concurrent.each(["meanwhile", "at the next start", "and is in the journal when the daemon dies"])(
  "an order to close everything that comes %s wins over a close that only cancels orders",
  async (when) => {
    await using paper = await startPaper();
    await using rig = rigOn(paper);
    await rig.run();
    await rig.botIn("running");
    // The close stays where it is until the order is there.
    await paper.control("fault", { kind: "late", match: "DELETE /fapi/v1", ms: 3_000, times: 2 });
    const close = rig.cli("emergency", "close", "bot", "--cancel-only", "--yes");
    await rig.botUntil("the close is under way", ({ emergency }) => emergency.state === "closing");
    const order = rig.path(".supervisor/run/emergency");
    if (when === "meanwhile") {
      writeFileSync(order, "", { mode: 0o600 });
      await until("the order is taken", () => !existsSync(order));
    } else if (when === "at the next start") {
      await rig.endDaemon("SIGKILL");
      await rig.run({ BOT_EMERGENCY_SHUTDOWN: "true" });
    } else {
      await rig.endDaemon("SIGKILL");
      takeOrder(rig);
      await rig.run();
    }
    await rig.botUntil("the account is flat", ({ emergency }) => emergency.outcome === "flat", 60_000);
    await close;
    const then =
      when === "at the next start" ? "BOT_EMERGENCY_SHUTDOWN=true at the start" : "the emergency file appeared";
    const reason = `an operator asked for it; then ${then}`;
    const locked = { pid: null, reason, emergency: { outcome: "flat", reason } };
    expect(await rig.botIn("locked")).toMatchObject(locked);
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    const report = await rig.cli("emergency", "report", "bot");
    expect(report.out).toMatch(new RegExp(`cause +operator: a person asked for it\n +then +\\w+: ${then}\n`));
    await rig.endDaemon("SIGKILL");
    await rig.run();
    expect(await rig.botIn("locked")).toMatchObject(locked);
  },
);

test.concurrent("supervisor emergency close --yes names the account where that is not the bot's name, with and without a daemon", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, { account: "main" });
  const refuses = async (...more: readonly string[]): Promise<void> => {
    const { code, err } = await rig.cli("emergency", "close", "bot", "--yes", ...more);
    expect(code).toBe(12);
    expect(err).toContain("--yes --account main");
  };
  await refuses();
  await refuses("--account", "other");
  await rig.run();
  await rig.botIn("running");
  await refuses();
  await refuses("--account", "other");
  expect(changes(paper.state())).toBe(0);
  expect((await rig.cli("emergency", "close", "bot", "--yes", "--account", "main")).code).toBe(0);
  expect(paper.state()).toMatchObject({ flat: true });
});

test.concurrent("supervisor emergency ack ends the slow rounds, also those of the next daemon, and an order to close is still obeyed", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, {}, { timeout: "1s" });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "ack", "bot", "--reason", "nothing is wrong")).code).toBe(12);
  await paper.control("fault", {
    kind: "apiCode",
    match: "POST /fapi/v1/order",
    code: -2019,
    msg: "no",
    times: 100_000,
  });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(10);
  const retries = (): boolean[] =>
    rig.journal.flatMap((entry) =>
      entry.kind === "decision" && entry.to === "locked" && entry.from !== "locked"
        ? [
            entry.effects.some(
              (effect) => effect.kind === "setTimer" && "timer" in effect && effect["timer"] === "retry",
            ),
          ]
        : [],
    );
  expect(retries()).toEqual([true]);
  const ack = await rig.cli("emergency", "ack", "bot", "--reason", "I close it by hand");
  expect(ack).toMatchObject({ code: 0 });
  expect(rig.journal.some(({ text }) => /acknowledged by a person \(.+\): I close it by hand/.test(text))).toBe(true);
  await rig.endDaemon("SIGKILL");
  await rig.run();
  const acknowledged = { by: callerName({}), reason: "I close it by hand" };
  expect(await rig.botIn("locked")).toMatchObject({ emergency: { state: "residual", acknowledged } });
  expect(retries()).toEqual([true, false]);
  await paper.control("reset", {});
  await paper.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 1 }] });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
});

test.concurrent("a spot wallet is sold once and for all although the first replies are lost and late, by plan, close and every daemon", async () => {
  await using paper = await startPaper({ venue: "binance-spot" });
  await using rig = rigOn(paper, {}, { exchange: "binance", spot: { quote: "USDT", keep: ["BNB"] }, timeout: "60s" });
  await rig.run();
  await rig.botIn("running");
  const plan = await rig.cli("emergency", "plan", "bot");
  expect(plan.code).toBe(20);
  expect(plan.out).toMatch(/BTC\/USDT +long +0\.25 +16875\.00 +sell 0\.25/);
  await paper.control("fault", { kind: "late", match: "POST /api/v3/order", ms: 4_000, times: 2 });
  process.kill(rig.daemon.pid, "SIGUSR2");
  await until("an order is on its way", () => (paper.state().requests["POST /api/v3/order"] ?? 0) > 0);
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(await rig.botIn("locked", 60_000)).toMatchObject({ emergency: { state: "flat" } });
  const { fills, flips, violations, orders, positions } = paper.state();
  expect({ flips, violations, orders, positions }).toEqual({ flips: [], violations: [], orders: [], positions: [] });
  expect(fills.map(({ symbol, quantity }) => `${symbol} ${quantity}`).toSorted()).toEqual([
    "BTCUSDT 0.25",
    "ETHUSDT 4",
  ]);
});

test.concurrent("a close in a thin book is an alert that names the worst fill, once", async () => {
  await using paper = await startPaper();
  await paper.control("set", { impact: 0.03 });
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  const told = rig.journal.filter(
    (entry) => entry.kind === "fact" && entry.text.includes("worse than the price before it"),
  );
  expect(told).toMatchObject([{ level: "alert", text: expect.stringMatching(/3\.\d\d % worse/) as unknown }]);
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
});
