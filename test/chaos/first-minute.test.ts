/** The machine's first minute, in which nothing closes positions by itself, on a machine that is said to have just booted. */
import { describe, expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { canSetUptime, emergencyAt, Rig, type BotSettings } from "./harness.ts";
import { startPaper, type Paper } from "./paper.ts";

/** What is left of the first minute when the daemon starts, s: enough for some restarts also of a slow machine. */
const LEFT_SECONDS = 15;
/** Until the minute is over, and the account is flat on a machine that is ten times slower, ms. */
const PATIENCE_MS = 90_000;

const why = canSetUptime ? "" : " (no time namespace can be had here)";

function rigWith(paper: Paper, leftSeconds: number, bot: BotSettings, emergency: object = {}): Rig {
  return new Rig({
    bots: { bot: { ...bot, emergency: emergencyAt(paper.url, emergency) } },
    uptimeSeconds: 60 - leftSeconds,
  });
}

/** Waits for the lockout; returns how long after `startedAt` the daemon decided to close, ms. */
async function closedAfterMs(rig: Rig, startedAt: number): Promise<number> {
  expect((await rig.botIn("locked", PATIENCE_MS)).emergency.state).toBe("flat");
  const entry = rig.journal.find((each) => each.kind === "decision" && each.to === "recovering");
  return Date.parse(entry?.at ?? "") - startedAt;
}

/** The machine's uptime is cut to seconds. */
const LEAST_MS = (LEFT_SECONDS - 1) * 1_000;

describe.skipIf(!canSetUptime).concurrent(`a machine that has just booted${why}`, () => {
  test(`a bot that crashes at every start is closed for only when the minute is over`, async () => {
    await using paper = await startPaper();
    await using rig = rigWith(paper, LEFT_SECONDS, { command: ["false"], restart: { intensity: 2 } });
    const startedAt = Date.now();
    await rig.run();
    expect(await closedAfterMs(rig, startedAt)).toBeGreaterThanOrEqual(LEAST_MS);
    // Those of the minute are not counted.
    expect((await rig.bot()).restarts.total).toBeGreaterThan(4);
  });

  test(`closeAfter counts from the end of the minute`, async () => {
    await using paper = await startPaper();
    const bot = { command: STAY, ready: "notify", startTimeout: "400ms", restart: { intensity: 1_000 } };
    await using rig = rigWith(paper, LEFT_SECONDS, bot, { closeAfter: "2s" });
    const startedAt = Date.now();
    await rig.run();
    expect(await closedAfterMs(rig, startedAt)).toBeGreaterThanOrEqual(LEAST_MS + 2_000);
  });

  test(`a probe with onFailure: emergency restarts the bot until the minute is over`, async () => {
    await using paper = await startPaper();
    const probe = {
      kind: "file",
      path: "never",
      maxAge: "1s",
      period: "100ms",
      timeout: "90ms",
      onFailure: "emergency",
    };
    await using rig = rigWith(paper, LEFT_SECONDS, { command: STAY, probes: [probe] });
    const startedAt = Date.now();
    await rig.run();
    expect(await closedAfterMs(rig, startedAt)).toBeGreaterThanOrEqual(LEAST_MS);
    expect((await rig.bot()).restarts.total).toBeGreaterThan(0);
  });

  test(`an order is obeyed at once`, async () => {
    await using paper = await startPaper();
    await using rig = rigWith(paper, 59, { command: STAY });
    await rig.run();
    const { pid } = await rig.botIn("running");
    expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
    expect(isLive(pid ?? 0)).toBe(false);
    expect((await rig.bot()).emergency.state).toBe("flat");
  });
});
