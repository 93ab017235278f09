/** `emergency.limits` and `emergency.deadman` on the compiled binary, against both paper exchanges. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { STAY } from "./fixture.ts";
import { changes, PASSPHRASE, startPaper, type Paper } from "./paper.ts";

type Venue = "binance" | "okx";
const VENUES = ["binance", "okx"] as const;
/** A cut, its confirmation and the close behind it, on a machine that does much else. */
const PATIENCE_MS = 60_000;

function rigOn(venue: Venue, paper: Paper, emergency: object, bot: BotSettings = {}): Rig {
  const okx = venue === "okx" ? { exchange: "okx", passphraseFile: "paper.passphrase" } : {};
  const rig = new Rig();
  rig.write("paper.passphrase", PASSPHRASE);
  rig.configure({ bot: { command: STAY, ...bot, emergency: emergencyAt(paper.url, { ...okx, ...emergency }) } });
  return rig;
}

const LIBFAKETIME = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));
const DAY_MS = 86_400_000;

/**
 * The environment of a daemon whose clock, like the venue's, stands at noon UTC of today, or `days` later: a day that ended in the
 * middle of a test would change what that is about.
 */
async function atNoon(paper: Paper, days = 0): Promise<Readonly<Record<string, string>>> {
  const toNoonMs = DAY_MS / 2 - (Date.now() % DAY_MS) + days * DAY_MS;
  await paper.control("set", { skewMs: toNoonMs });
  const seconds = (toNoonMs / 1_000).toFixed(3);
  return {
    LD_PRELOAD: LIBFAKETIME ?? "",
    FAKETIME: seconds.startsWith("-") ? seconds : `+${seconds}`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

const exposure = (paper: Paper): number => paper.state().positions.reduce((sum, { notional }) => sum + notional, 0);
const isArmed = (paper: Paper): boolean => Object.keys(paper.state().countdowns).length > 0;
const locked = (rig: Rig) => rig.botIn("locked", PATIENCE_MS);

for (const venue of VENUES) {
  test.concurrent(`an exposure over its limit at ${venue} ends the bot first and is cut to the limit, stops kept`, async () => {
    await using paper = await startPaper({ venue });
    const maxExposure = Math.round(exposure(paper) * 0.5);
    await using rig = rigOn(venue, paper, { limits: { maxExposure, period: "5s" } });
    await rig.run();
    const bot = await locked(rig);
    expect(bot.reason).toContain("more than emergency.limits.maxExposure");
    expect(bot.pid).toBeNull();
    expect(exposure(paper)).toBeLessThanOrEqual(maxExposure);
    expect(exposure(paper)).toBeGreaterThan(0);
    expect(paper.state()).toMatchObject({ flips: [], orders: [], algoOrders: [{}] });
    const texts = rig.journal.map(({ text }) => text);
    const killed = texts.findIndex((text) => text.includes("the process tree is proven gone"));
    expect(killed).toBeGreaterThan(texts.findIndex((text) => text.includes("looking again before anything is done")));
    expect(texts.findIndex((text) => text.includes("closing positions (exposure)"))).toBe(killed);
  });

  test.concurrent(`a daily loss over its limit at ${venue} closes, and a person cannot arm on the same UTC day`, async (context) => {
    if (LIBFAKETIME === undefined) return context.skip("libfaketime is not installed");
    await using paper = await startPaper({ venue });
    await using rig = rigOn(venue, paper, { limits: { maxDailyLoss: "0.5%", period: "5s" } });
    await rig.run(await atNoon(paper));
    await rig.botUntil(
      "the day has begun",
      ({ emergency }) => (emergency.limits?.maxDailyLoss ?? null) !== null,
      PATIENCE_MS,
    );
    // Money that leaves is no loss.
    await paper.control("set", { transfer: -5_000 });
    await rig.botUntil(
      "the transfer is seen and no loss",
      ({ emergency }) =>
        (emergency.limits?.equity ?? 1e9) < 96_000 && Math.abs(emergency.limits?.dailyLoss ?? 1e9) < 100,
      PATIENCE_MS,
    );
    expect(changes(paper.state())).toBe(0);
    await paper.control("set", { prices: { BTCUSDT: 60_000 } });
    const bot = await locked(rig);
    expect(bot).toMatchObject({ emergency: { state: "flat" } });
    expect(bot.reason).toContain("since 00:00 UTC");
    expect(paper.state()).toMatchObject({ flat: true, flips: [] });
    const arm = await rig.cli("arm", "bot", "--reason", "wanted");
    expect(arm.code).toBe(1);
    expect(arm.err).toContain("it stays locked until");
  });

  test.concurrent(`a daemon killed with SIGKILL lets the dead-man switch of ${venue} cancel what rests, and keep the stops`, async () => {
    await using paper = await startPaper({ venue });
    await using rig = rigOn(venue, paper, { deadman: { timeout: "10s", refresh: "2s" } });
    await rig.run();
    await until("the switch is armed", () => isArmed(paper), PATIENCE_MS);
    await rig.botUntil("the status says so", ({ emergency }) => emergency.deadman?.state === "armed", PATIENCE_MS);
    expect(paper.state().orders).toHaveLength(1);
    await rig.endDaemon("SIGKILL");
    await until("the venue cancels", () => paper.state().orders.length === 0, PATIENCE_MS);
    expect(paper.state()).toMatchObject({ algoOrders: [{}], positions: [{}, {}], fills: [] });
    // Takes the bot up that the killed daemon left, so that the end of the test ends it.
    await rig.run();
  });
}

test.concurrent("the next UTC day and a person end the lockout of a daily loss", async (context) => {
  if (LIBFAKETIME === undefined) return context.skip("libfaketime is not installed");
  await using paper = await startPaper();
  await using rig = rigOn("binance", paper, { limits: { maxDailyLoss: 100, period: "5s" } });
  const today = await atNoon(paper);
  await rig.run(today);
  await rig.botUntil("the day has begun", ({ emergency }) => (emergency.limits ?? null) !== null, PATIENCE_MS);
  await paper.control("set", { prices: { BTCUSDT: 60_000 } });
  await locked(rig);
  await rig.endDaemon("SIGTERM");
  await rig.run(today);
  expect((await rig.cli("arm", "bot", "--reason", "the same day")).code).toBe(1);
  await rig.endDaemon("SIGTERM");
  await rig.run(await atNoon(paper, 1));
  expect(await locked(rig)).toMatchObject({ generation: 1 });
  const arm = await rig.cli("arm", "bot", "--reason", "a new day", "--accept-positions");
  expect(arm.err).toBe("");
  expect(arm.code).toBe(0);
  expect((await rig.botIn("running")).generation).toBe(2);
});

test.concurrent("a venue that cannot be read never trips a limit, and is an alert when it lasts", async () => {
  await using paper = await startPaper();
  await using rig = rigOn("binance", paper, { limits: { maxExposure: 1, period: "5s" } });
  await paper.control("fault", { kind: "http", match: "GET /fapi/v3/positionRisk", status: 503, times: 100_000 });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await until(
    "it is an alert",
    () => rig.journal.some(({ text }) => text.startsWith("the limits cannot be judged")),
    PATIENCE_MS,
  );
  expect(await rig.bot()).toMatchObject({ state: "running", pid, emergency: { limits: { exposure: null } } });
  expect(changes(paper.state())).toBe(0);
});

test.concurrent("the dead-man switch is disarmed by maintenance and by a stop, and let run for a bot that is not healthy", async () => {
  await using paper = await startPaper();
  await using rig = new Rig();
  const broken = rig.path("broken");
  const probe = {
    kind: "exec",
    command: ["test", "!", "-e", broken],
    period: "1s",
    timeout: "900ms",
    failureThreshold: 1,
    onFailure: "alert",
  };
  const deadman = { timeout: "2m", refresh: "1s" };
  rig.configure({
    bot: { command: STAY, probes: [probe], emergency: emergencyAt(paper.url, { closeAfter: "10m", deadman }) },
  });
  await rig.run();
  const armed = () => isArmed(paper);
  await until("it is armed", armed, PATIENCE_MS);
  await rig.cli("maintenance", "on", "--for", "1h");
  await until("maintenance disarms it", () => !armed(), PATIENCE_MS);
  await rig.cli("maintenance", "off");
  await until("it is armed again", armed, PATIENCE_MS);
  rig.write("broken", "");
  const missing = () =>
    rig.journal.some(
      ({ level, text }) => level === "alert" && text.includes("is not refreshed: the bot is not healthy"),
    );
  await until("a missing refresh is an alert", missing, PATIENCE_MS);
  expect(armed()).toBe(true);
  await Bun.file(broken).delete();
  await until(
    "it is refreshed again",
    () => rig.journal.some(({ text }) => text.includes("is refreshed again")),
    PATIENCE_MS,
  );
  await rig.cli("stop", "bot");
  await until("the stop disarms it", () => !armed(), PATIENCE_MS);
  await rig.cli("start", "bot");
  await until("it is armed for the new start", armed, PATIENCE_MS);
  await rig.endDaemon("SIGTERM");
  expect(armed()).toBe(false);
  expect(paper.state().orders).toHaveLength(1);
});

/** A daemon that keeps a dead-man switch of two minutes alive. */
async function armedOn(paper: Paper): Promise<Rig> {
  const rig = rigOn("binance", paper, { closeAfter: "10m", deadman: { timeout: "2m", refresh: "1s" } });
  await rig.run();
  await until("it is armed", () => isArmed(paper), PATIENCE_MS);
  return rig;
}

test.concurrent("the dead-man switch is disarmed also when a refresh that was lost arrives after the bot was stopped", async () => {
  await using paper = await startPaper();
  await using rig = await armedOn(paper);
  const refreshes = (): number => paper.state().requests["POST /fapi/v1/countdownCancelAll"] ?? 0;
  await paper.control("fault", { kind: "late", match: "countdownCancelAll", ms: 3_000, times: 1 });
  const before = refreshes();
  await until("a refresh is lost", () => refreshes() > before, PATIENCE_MS);
  await rig.cli("stop", "bot");
  await rig.botUntil("it is disarmed", ({ emergency }) => emergency.deadman?.state === "disarmed", PATIENCE_MS);
  expect(isArmed(paper)).toBe(false);
  expect(refreshes()).toBeGreaterThanOrEqual(before + 3);
});

test.concurrent("the dead-man switch is disarmed by the end of the daemon though a refresh hangs at the venue", async () => {
  await using paper = await startPaper();
  await using rig = await armedOn(paper);
  await paper.control("fault", { kind: "stallBody", match: "positionRisk", times: 1_000 });
  const readings = (): number =>
    Object.entries(paper.state().requests).reduce((n, [name, times]) => n + (/positionRisk/.test(name) ? times : 0), 0);
  const before = readings();
  await until("a refresh hangs", () => readings() > before, PATIENCE_MS);
  await rig.endDaemon("SIGTERM");
  expect(isArmed(paper)).toBe(false);
});

test.concurrent("the dead-man switch is disarmed before a reload lets go of its bot", async () => {
  await using paper = await startPaper();
  await using rig = await armedOn(paper);
  rig.configure({ other: { command: STAY } });
  expect(await rig.cli("reload")).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).bots.map(({ name }) => name)).toEqual(["other"]);
  expect(isArmed(paper)).toBe(false);
});

test.concurrent("the dead-man switch of a bot that is locked holds up no reload that lets go of it, and is left to the venue", async () => {
  await using paper = await startPaper();
  await using rig = await armedOn(paper);
  await rig.cli("emergency", "close", "bot", "--yes");
  await rig.botUntil("it is locked", ({ state }) => state === "locked", PATIENCE_MS);
  rig.configure({ other: { command: STAY } });
  expect(await rig.cli("reload")).toMatchObject({ code: 0, err: "" });
  expect(rig.journal.filter(({ text }) => text.includes("dead-man switch is not known"))).toEqual([]);
});

test.concurrent("a dead-man switch that the end of the daemon cannot disarm is told, and not forgotten by the next daemon", async () => {
  await using paper = await startPaper();
  await using rig = await armedOn(paper);
  await paper.control("fault", { kind: "dropBefore", match: "countdownCancelAll", times: 100_000 });
  await rig.cli("stop", "bot");
  await rig.endDaemon("SIGTERM");
  expect(
    rig.journal.some(({ level, text }) => level === "alert" && text.includes("is not known to be disarmed after 10 s")),
  ).toBe(true);
  expect(isArmed(paper)).toBe(true);
  // The venue is well again, and nothing rests there.
  await paper.control("reset", {});
  await rig.run();
  await rig.botUntil("it is disarmed", ({ emergency }) => emergency.deadman?.state === "disarmed", PATIENCE_MS);
});
