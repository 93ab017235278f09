/** A bot that trades on margin is killed and does not come back: the compiled binary sells, buys back and repays, and says what it did. */
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { owedOn } from "./margin.ts";
import { changes, startPaper } from "./paper.ts";

const ROWS = [
  { mode: "cross", wallets: ["cross"] },
  { mode: "isolated", wallets: ["BTCUSDT", "ETHUSDT"] },
] as const;
/** Replies that are lost are waited out, once for each daemon. */
const CLOSE_MS = 90_000;
/** A whole story on a machine that is busy, ms. */
const TEST_MS = 240_000;

test.concurrent.each(ROWS)(
  "a bot on $mode margin that is killed for good leaves a wallet that owes nothing, although replies are lost and the supervisor dies as well",
  async ({ mode, wallets }) => {
    await using paper = await startPaper({ venue: "binance-margin" });
    const emergency = emergencyAt(paper.url, { exchange: "binance", margin: { mode }, timeout: "60s" });
    await using rig = new Rig({ bots: { bot: { command: STAY, restart: { intensity: 0 }, emergency } } });
    await rig.run();
    const { pid } = await rig.botIn("running");
    const plan = await rig.cli("emergency", "plan", "bot");
    expect(plan).toMatchObject({ code: 20 });
    expect(plan.out).toMatch(/ETH\/USDT +short +0\.9 +2970\.00 +buy and repay 0\.9/);
    expect(plan.out).toMatch(/owed: 1 ETH( of ETH\/USDT)?, of which 0\.1 are there to repay it/);
    expect(changes(paper.state())).toBe(0);
    await paper.control("fault", { kind: "late", match: "POST /sapi/v1/margin/order", ms: 4_000, times: 1 });
    await paper.control("fault", { kind: "dropAfter", match: "POST /sapi/v1/margin/borrow-repay", times: 1 });
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await until("an order is on its way", () => (paper.state().requests["POST /sapi/v1/margin/order"] ?? 0) > 0);
    await rig.endDaemon("SIGKILL");
    await rig.run();
    expect(await rig.botIn("locked", CLOSE_MS)).toMatchObject({ emergency: { state: "flat" } });
    const { flips, violations, margin } = paper.state();
    expect({ flips, violations }).toEqual({ flips: [], violations: [] });
    for (const wallet of wallets) {
      const { worth, ...rest } = owedOn(margin, wallet);
      expect(rest).toEqual({ orders: 0, borrowed: 0 });
      // Below the value of the smallest order, or what buying back whole lots left.
      expect(worth).toBeLessThan(5.4);
    }
    const page = await rig.cli("emergency", "report", "bot");
    expect(page.out).toMatch(/ETH( of ETH\/USDT)? +repay +0\.1 /);
    expect(page.out).toMatch(/owed 1 ETH/);
    expect(await rig.cli("arm", "bot", "--reason", "the bot is repaired")).toMatchObject({ code: 0 });
  },
  TEST_MS,
);

test.concurrent(
  "what a margin wallet cannot pay for is named with its amount, and left to a person",
  async () => {
    await using paper = await startPaper({ venue: "binance-margin", empty: true });
    await paper.control("seed", {
      margin: [
        { asset: "ETH", borrowed: 1 },
        { asset: "USDT", free: 400 },
      ],
    });
    const emergency = emergencyAt(paper.url, { exchange: "binance", margin: { mode: "cross" } });
    await using rig = new Rig({ bots: { bot: { command: STAY, emergency } } });
    await rig.run();
    await rig.botIn("running");
    const close = await rig.cli("emergency", "close", "bot", "--yes");
    expect(close).toMatchObject({ code: 10 });
    expect(close.out).toMatch(/0\.8[\d.]* ETH\/USDT stays owed, and nothing that may be sold is left to pay for it/);
    const { margin, violations } = paper.state();
    expect(violations).toEqual([]);
    expect(owedOn(margin, "cross").borrowed).toBe(0);
    expect(await rig.cli("emergency", "ack", "bot", "--reason", "USDT is on its way")).toMatchObject({ code: 0 });
  },
  TEST_MS,
);
