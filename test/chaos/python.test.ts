/** A bot in Python with the one-file client on the compiled binary: it is heard, asked, degraded, recorded and dumped as one in TypeScript. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CREDENTIALS, Rig, until, type BotSettings } from "./harness.ts";
import { ordersSent, startPaper } from "./paper.ts";

const BOT = join(import.meta.dirname, "..", "..", "clients", "python", "example_bot.py");
const python = Bun.which("python3");

/** The example bot, quick, on the paper exchange at `url`. */
function exampleBot(url: string, more: BotSettings, env: Readonly<Record<string, string>> = {}): BotSettings {
  return {
    command: [python ?? "", "-u", BOT],
    ready: "notify",
    env: {
      PYTHONDONTWRITEBYTECODE: "1",
      VENUE_URL: url,
      VENUE_KEY: CREDENTIALS.apiKey,
      VENUE_SECRET: CREDENTIALS.apiSecret,
      TICK_SECONDS: "0.05",
      ...env,
    },
    dump: { minFree: "1KiB", minFreeRatio: 0 },
    ...more,
  };
}

test
  .runIf(python !== null)
  .concurrent(
    "the Python bot trades, is heard, and does less while its venue is down instead of being restarted",
    async () => {
      await using paper = await startPaper({ empty: true });
      const probes = [
        { kind: "heartbeat", timeout: "20s" },
        { kind: "progress", timeout: "600s" },
      ];
      await using rig = new Rig({ bots: { bot: exampleBot(paper.url, { probes }, { BREAKER_OPEN_MS: "500" }) } });
      await rig.run();
      const first = await rig.botUntil(
        "it trades",
        ({ heartbeat, ready }) => ready && / [2-9] orders/.test(heartbeat?.status ?? ""),
      );
      expect(first.health).toBe("healthy");
      expect(ordersSent(paper.state())).toBeGreaterThanOrEqual(2);

      await paper.control("fault", { match: "GET /fapi/v1/ticker/price", kind: "http", status: 503, times: 12 });
      await rig.botUntil("it is degraded", ({ heartbeat }) => heartbeat?.status?.startsWith("level degraded") === true);
      await until("its breaker closes again", async () => {
        const { out } = await rig.cli("blackbox", "grep", "bot", "venue.market", "--type", "breaker", "--json");
        return out.includes('"to":"open"') && out.includes('"to":"closed"');
      });
      const last = await rig.bot();
      expect(last).toMatchObject({ pid: first.pid, health: "healthy" });
      const tail = await rig.cli("blackbox", "tail", "bot", "-n", "500");
      expect(tail).toMatchObject({ code: 0, err: "" });
      expect(tail.out).toContain("order.sent");
      expect(tail.out).not.toMatch(/missing|lost/);
    },
  );

test
  .runIf(python !== null)
  .concurrent(
    "the dump of the Python bot that hangs in an order names the operation, the order and the line",
    async () => {
      await using paper = await startPaper({ empty: true });
      const probes = [{ kind: "heartbeat", timeout: "5s" }];
      await using rig = new Rig();
      const env = { HANG_FILE: rig.path("hang") };
      rig.configure({ bot: exampleBot(paper.url, { probes }, env) });
      await rig.run();
      await rig.botUntil("it trades", ({ heartbeat }) => / [2-9] orders/.test(heartbeat?.status ?? ""));
      rig.write("hang", "");
      const folder = rig.state("dumps");
      await until(
        "it is dumped",
        () => existsSync(folder) && readdirSync(folder).some((name) => name.endsWith(".zst")),
      );
      const { out } = await rig.cli("dump", "show", "bot");
      expect(out).toMatch(/in progress since .*: place_order \(py-1-\d+-\d+\)/);
      expect(out).toMatch(/example_bot\.py", line \d+ in hang_if_asked\n.*in place/);
      expect(out).toContain("order.sent");
      expect(out).not.toContain(CREDENTIALS.apiSecret);
    },
  );

test
  .runIf(python !== null)
  .concurrent("state level sets what a stopped Python bot begins with, and is refused while it runs", async () => {
    await using paper = await startPaper({ empty: true });
    await using rig = new Rig({ bots: { bot: exampleBot(paper.url, {}) } });
    await rig.run();
    await rig.botUntil("it trades", ({ heartbeat }) => heartbeat?.status?.startsWith("level normal") === true);
    const early = await rig.cli("state", "level", "bot", "minimal", "--reason", "x");
    expect(early).toMatchObject({ code: 1, err: expect.stringContaining("the bot that keeps it runs; stop it first") });
    expect(await rig.cli("stop", "bot")).toMatchObject({ code: 0 });
    const done = await rig.cli("state", "level", "bot", "minimal", "--reason", "looked at it");
    expect(done).toMatchObject({ code: 0, err: "" });
    await rig.cli("start", "bot");
    await rig.botUntil("it begins so", ({ heartbeat }) => heartbeat?.status?.startsWith("level minimal") === true);
    expect(rig.log).toContain("level normal -> minimal: looked at it");
  });
