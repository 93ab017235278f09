/** The machine goes down and comes up again under a real systemd: the bot is back, and a bot that was locked out is not. */
import { describe, expect, test } from "vitest";
import { unbootable } from "./bootable.ts";
import { Box, UNIT } from "./box.ts";

/** The box has a network of its own, so the port is free. */
const VENUE = { port: "9001", url: "http://127.0.0.1:9001", key: "box-key", secret: "box-secret" };
const CRASH_FILE = "/opt/bot/crash";

describe.skipIf(unbootable !== undefined)(`reboot${unbootable === undefined ? "" : ` (${unbootable})`}`, () => {
  test("an enabled unit is up again after a reboot, with its bot", async () => {
    await using box = await Box.boot();
    await box.do("systemctl", "enable", "--now", UNIT);
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await box.reboot();
    const after = await box.botUntil("the bot runs again", ({ state }) => state === "running");
    expect(after.startedAt).not.toBe(before.startedAt);
    expect(await box.botPids()).toEqual([after.pid]);
    expect(await box.overlaps()).toBe("");
  });

  test("a bot whose account was closed stays locked out over a reboot; ccxt works inside the unit's fences", async () => {
    await using box = await Box.boot();
    await tradeOnPaper(box);
    const trading = await box.botUntil("the bot trades", ({ heartbeat }) => heartbeat.status === "2 positions open");
    await box.do("touch", CRASH_FILE);
    await box.do("kill", "-9", String(trading.pid));
    const locked = await box.botUntil("the account is closed", ({ state }) => state === "locked");
    expect(locked.emergency.state).toBe("flat");

    await box.reboot();
    const after = await box.botUntil("the daemon is up", () => true);
    expect(after).toMatchObject({
      state: "locked",
      pid: null,
      emergency: { incident: locked.emergency.incident, state: "flat" },
    });
    expect((await box.supervisor("status")).code).toBe(4);
    expect(await box.exec("pgrep", "-f", "__sample-bot")).toMatchObject({ code: 1, out: "" });
  });
});

/** Starts the paper exchange as a service of its own and the unit with the sample bot, which crashes at once where the crash file is. */
async function tradeOnPaper(box: Box): Promise<void> {
  const account = { PAPER_PORT: VENUE.port, PAPER_KEY: VENUE.key, PAPER_SECRET: VENUE.secret };
  const settings = Object.entries(account).map(([name, value]) => `--setenv=${name}=${value}`);
  await box.do("systemd-run", "--unit=paper", ...settings, "/usr/local/bin/supervisor", "__paper-exchange");
  await box.until("the exchange listens", async () =>
    (await box.do("journalctl", "--no-pager", "-u", "paper", "-o", "cat")).includes("paper exchange on"),
  );
  await box.write("/etc/tradingbot/paper.key", VENUE.key, 0o600);
  await box.write("/etc/tradingbot/paper.secret", VENUE.secret, 0o600);
  await box.configure({
    command: ["/usr/local/bin/supervisor", "__sample-bot"],
    env: {
      PAPER_URL: VENUE.url,
      PAPER_KEY: VENUE.key,
      PAPER_SECRET: VENUE.secret,
      BOT_TICK_MS: "100",
      BOT_CRASH_FILE: CRASH_FILE,
    },
    restart: { base: "100ms", cap: "100ms", jitter: 0, intensity: 1, period: "10m" },
    emergency: {
      closeAfter: "60s",
      exchange: "binanceusdm",
      apiKeyFile: "paper.key",
      apiSecretFile: "paper.secret",
      endpoint: VENUE.url,
      timeout: "30s",
    },
  });
  await box.do("systemctl", "enable", "--now", UNIT);
}
