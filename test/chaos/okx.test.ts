/** The compiled binary closes an account at a venue of another shape than Binance: OKX, with passphrase, contracts and acknowledgements. */
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig } from "./harness.ts";
import { PASSPHRASE, startPaper, type Paper } from "./paper.ts";

function rigOn(paper: Paper, bot: object = {}): Rig {
  const emergency = emergencyAt(paper.url, { exchange: "okx", passphraseFile: "paper.passphrase", timeout: "3s" });
  const rig = new Rig({ bots: { bot: { command: STAY, ...bot, emergency } } });
  rig.write("paper.passphrase", PASSPHRASE);
  return rig;
}

test.concurrent("a bot that spends its restart budget has its contracts on OKX closed, and stays locked", async () => {
  await using paper = await startPaper({ venue: "okx" });
  // The reply to the first order is lost after it was accepted.
  await paper.control("fault", { match: "POST /api/v5/trade/batch-orders", kind: "dropAfter", times: 1 });
  await using rig = rigOn(paper, { command: ["false"], restart: { intensity: 1, base: "50ms", cap: "50ms" } });
  await rig.run();
  const bot = await rig.botIn("locked");
  expect(bot).toMatchObject({ pid: null, emergency: { state: "flat" } });
  expect(paper.state()).toMatchObject({ flat: true, positions: [], flips: [], violations: [] });
  expect(
    paper
      .state()
      .fills.map(({ quantity }) => quantity)
      .toSorted((a, b) => a - b),
  ).toEqual([25, 40]);
});

test.concurrent("supervisor emergency close on OKX exits 20 for a plan, 13 for a key that may only read, 14 without readings, and 0 flat", async () => {
  await using paper = await startPaper({ venue: "okx" });
  await using rig = rigOn(paper);
  expect((await rig.cli("emergency", "plan", "bot")).code).toBe(20);
  await paper.control("set", { canTrade: false });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(13);
  await paper.control("set", { canTrade: true });
  await paper.control("fault", { match: "GET /api/v5/account/positions", kind: "http", status: 503, times: 1_000 });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(14);
  await paper.control("reset", {});
  await paper.control("seed", { positions: [{ symbol: "SOLUSDT", side: "short", amount: 7_000 }] });
  const closed = await rig.cli("emergency", "close", "bot", "--yes");
  expect(closed.code).toBe(0);
  // Above the venue's maximum of 3000 contracts for a market order.
  expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [], fills: [{}, {}, {}] });
});
