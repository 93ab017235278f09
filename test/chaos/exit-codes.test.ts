/** The exit codes of plan and close that an operator's script goes by, on the compiled binary and on both venues; 11 has second-actor. */
import { expect, test } from "vitest";
import type { CloseReport } from "../../src/core/close-job.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig } from "./harness.ts";
import { changes, PASSPHRASE, startPaper, type Paper } from "./paper.ts";

type Venue = "binance" | "okx";
const VENUES: readonly Venue[] = ["binance", "okx"];
/** A close to its end, and the slow round that follows after half a minute, on a busy machine. */
const SLOW_ROUND_TEST_MS = 300_000;
const POSITIONS = { binance: "GET /fapi/v3/positionRisk", okx: "GET /api/v5/account/positions" };
const ORDER = { binance: "POST /fapi/v1/order", okx: "POST /api/v5/trade/batch-orders" };

async function rigOn(venue: Venue, paper: Paper, timeout = "60s"): Promise<Rig> {
  const okx = venue === "okx" ? { exchange: "okx", passphraseFile: "paper.passphrase" } : {};
  const emergency = emergencyAt(paper.url, { ...okx, timeout });
  const rig = new Rig({ bots: { bot: { command: STAY, emergency } } });
  rig.write("paper.passphrase", PASSPHRASE);
  await rig.run();
  await rig.botIn("running");
  return rig;
}

async function close(rig: Rig): Promise<{ code: number | null; report: CloseReport }> {
  const { code, out } = await rig.cli("emergency", "close", "bot", "--yes", "--json");
  // Safe: the command's own JSON.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { code, report: (JSON.parse(out) as { report: CloseReport }).report };
}

test.concurrent.each(VENUES)(
  "a plan at %s exits 20 where there is something to do, and 0 where there is nothing",
  async (venue) => {
    await using full = await startPaper({ venue });
    await using rig = await rigOn(venue, full);
    expect((await rig.cli("emergency", "plan", "bot")).code).toBe(20);
    await using empty = await startPaper({ venue, empty: true });
    await using idle = await rigOn(venue, empty);
    expect((await idle.cli("emergency", "plan", "bot")).code).toBe(0);
    expect(changes(full.state()) + changes(empty.state())).toBe(0);
  },
);

test.concurrent.each(VENUES)(
  "a close at %s with a key that may only read exits 13 after two rounds, and waits for nothing",
  async (venue) => {
    await using paper = await startPaper({ venue });
    await paper.control("set", { canTrade: false });
    await using rig = await rigOn(venue, paper);
    const { code, report } = await close(rig);
    expect(code).toBe(13);
    // How long that takes is measured by the bench: a busy machine is no reason to fail.
    expect(report).toMatchObject({ outcome: "keyRefused", verified: false, rounds: 2 });
    expect(paper.state()).toMatchObject({ fills: [], positions: [{}, {}], orders: [{}] });
    expect(await rig.botIn("locked")).toMatchObject({ pid: null, emergency: { state: "unknown" } });
  },
);

test.concurrent.each(VENUES)(
  "a close at %s that cannot read the positions exits 14, and sells nothing from memory",
  async (venue) => {
    await using paper = await startPaper({ venue });
    await paper.control("fault", { match: POSITIONS[venue], kind: "http", status: 503, times: 100_000 });
    await using rig = await rigOn(venue, paper, "10s");
    const { code, report } = await close(rig);
    expect(code).toBe(14);
    expect(report).toMatchObject({ outcome: "unreadable", verified: false, orders: [] });
    expect(paper.state().fills).toEqual([]);
    expect(await rig.botIn("locked")).toMatchObject({ pid: null });
  },
);

test.concurrent.each(VENUES)(
  "a close at %s whose orders are refused to the end exits 10, names what is left, and goes on in slow rounds",
  async (venue) => {
    await using paper = await startPaper({ venue });
    const refusal =
      venue === "okx" ? { code: 51008, msg: "Order failed." } : { code: -2019, msg: "Margin is insufficient." };
    await paper.control("fault", { match: ORDER[venue], kind: "apiCode", ...refusal, times: 100_000 });
    await paper.control("fault", { match: "close-position", kind: "http", status: 503, times: 100_000 });
    await using rig = await rigOn(venue, paper, "10s");
    const { code, report } = await close(rig);
    expect(code).toBe(10);
    expect(report).toMatchObject({ outcome: "residual", verified: false, after: { positions: [{}, {}] } });
    expect(paper.state()).toMatchObject({ fills: [], flips: [] });
    await paper.control("reset", {});
    await paper.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 1 }] });
    await rig.botUntil("a slow round closes it", ({ emergency }) => emergency.state === "flat", 120_000);
    expect(paper.state()).toMatchObject({ positions: [], flips: [] });
  },
  SLOW_ROUND_TEST_MS,
);
