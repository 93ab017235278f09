/**
 * The close of margin wallets against the paper exchange that speaks Binance's margin interface: what is held is sold once, what is owed
 * is bought back once and repaid, and nothing is borrowed anew, whatever replies are lost.
 */
import { describe, expect, test, vi } from "vitest";
import type { CloseReport } from "../../src/core/close-job.ts";
import { QUICK, quickClock, startRig, VENUES } from "./rig.ts";
import type { JobChanges, Rig } from "./rig.ts";

// On a machine that is busy with other tests an order whose reply was lost is waited out for long.
vi.setConfig({ maxConcurrency: 12, testTimeout: 180_000 });

const { order: ORDER, cancel: CANCEL, orders: ORDERS } = VENUES["binance-margin"];
const REPAY = "POST /sapi/v1/margin/borrow-repay";
const EXCEEDS_DEBT = "borrow-repay: -3015";

type Mode = "cross" | "isolated";
const MODES = ["cross", "isolated"] as const;

/** Long BTC bought with borrowed USDT, short ETH that was sold, a sale and a stop that hold BNB back, and a purchase that holds USDT back. */
const CROSS = {
  margin: [
    { asset: "BTC", free: 0.5 },
    { asset: "USDT", free: 9_000, borrowed: 20_000, interest: 1.25 },
    { asset: "ETH", free: 0.2, borrowed: 2, interest: 0.000_31 },
    { asset: "BNB", free: 10 },
  ],
  orders: [
    { symbol: "BNBUSDT", side: "sell", amount: 4, wallet: "cross" },
    { symbol: "BNBUSDT", side: "sell", amount: 3, triggerPrice: 500, wallet: "cross" },
    { symbol: "BTCUSDT", side: "buy", amount: 0.01, wallet: "cross" },
  ],
};
/** The same in wallets of their own: a long pair, a short one, and one that is not used. */
const ISOLATED = {
  margin: [
    { pair: "BTCUSDT", asset: "BTC", free: 0.5 },
    { pair: "BTCUSDT", asset: "USDT", free: 100, borrowed: 20_000, interest: 1.25 },
    { pair: "ETHUSDT", asset: "ETH", free: 0.2, borrowed: 2, interest: 0.000_31 },
    { pair: "ETHUSDT", asset: "USDT", free: 9_000 },
    { pair: "BNBUSDT", asset: "BNB" },
  ],
  orders: [
    { symbol: "BTCUSDT", side: "sell", amount: 0.1, wallet: "BTCUSDT" },
    { symbol: "BTCUSDT", side: "sell", amount: 0.1, triggerPrice: 50_000, wallet: "BTCUSDT" },
    { symbol: "ETHUSDT", side: "buy", amount: 0.1, wallet: "ETHUSDT" },
  ],
};
const SEEDS = { cross: CROSS, isolated: ISOLATED };
/** Nothing below the value of the smallest order can be traded, USDT. */
const DUST = 5;
const PRICES: Readonly<Record<string, number>> = { BTC: 67_500, ETH: 3_300, BNB: 600, USDT: 1 };

function policyOf(mode: Mode): JobChanges {
  return { venue: { margin: { mode, keep: [], ...(mode === "cross" ? { quote: "USDT" } : {}) } } };
}

async function closeMargin(
  mode: Mode,
  setUp: (rig: Rig) => Promise<void> = async () => {},
  changes: JobChanges = {},
): Promise<{ rig: Rig; report: CloseReport }> {
  const rig = startRig({ exchange: "binance-margin", speed: QUICK });
  await rig.control("seed", SEEDS[mode]);
  await setUp(rig);
  const { venue, ...more } = changes;
  const all = { ...policyOf(mode).venue, timeoutMs: 300_000, ...venue };
  return { rig, report: await rig.close({ ...more, venue: all }, { clock: quickClock }) };
}

/** What a wallet owes and holds of each asset, in USDT, but for the quote currency that is held. */
function openIn(rig: Rig): { debts: number[]; nets: number[] } {
  const { balances } = rig.paper.state().margin;
  return {
    debts: balances.map(({ asset, borrowed, interest }) => worth(asset, borrowed + interest)),
    nets: balances
      .filter(({ asset }) => asset !== "USDT")
      .map(({ asset, free, locked, borrowed, interest }) => worth(asset, free + locked - borrowed - interest)),
  };
}

function worth(asset: string, amount: number): number {
  return amount * (PRICES[asset] ?? 0);
}

/** `late`: orders may have been executed late. */
function expectSafe(rig: Rig, late = false): void {
  const { violations: all, flips, margin } = rig.paper.state();
  // What is refused while the venue bans says nothing about the order. And an order that is executed late repays with what it
  // brings: a repayment that was planned without it may then be more than is owed, and is refused.
  const violations = all.filter((text) => !text.includes("IP banned") && !(late && text.includes(EXCEEDS_DEBT)));
  const repaid = margin.loans.filter(({ kind, clientOrderId }) => kind === "repay" && clientOrderId === undefined);
  const distinct = new Set(repaid.map(({ wallet, asset, amount }) => `${wallet} ${asset} ${amount}`));
  expect(distinct.size).toBe(repaid.length);
  const borrowed = margin.loans.filter(({ kind }) => kind === "borrow");
  expect({ violations, flips, borrowed, orders: margin.orders }).toEqual({
    violations: [],
    flips: [],
    borrowed: [],
    orders: [],
  });
  const { debts, nets } = openIn(rig);
  expect(Math.max(...debts)).toBeLessThan(DUST);
  expect(Math.max(...nets.map(Math.abs))).toBeLessThan(DUST + 0.4);
}

const FAULTS: readonly { name: string; faults: readonly object[] }[] = [
  { name: "no fault", faults: [] },
  {
    name: "replies that are lost after the order or the repayment was executed",
    faults: [
      { match: ORDER, kind: "dropAfter", times: 2 },
      { match: REPAY, kind: "dropAfter", times: 1 },
    ],
  },
  {
    name: "connections that die before",
    faults: [
      { match: ORDER, kind: "dropBefore", times: 3 },
      { match: REPAY, kind: "dropBefore", times: 1 },
    ],
  },
  {
    name: "late execution",
    faults: [
      { match: ORDER, kind: "late", times: 2, ms: 900 },
      { match: REPAY, kind: "late", times: 1, ms: 900 },
    ],
  },
  {
    name: "late execution after a cancel that failed",
    faults: [
      { match: CANCEL, kind: "http", status: 500, times: 4 },
      { match: ORDER, kind: "late", times: 2, ms: 600 },
    ],
  },
  {
    name: "a stalled body",
    faults: [
      { match: ORDER, kind: "stallBody", times: 1 },
      { match: REPAY, kind: "stallBody", times: 1 },
    ],
  },
  {
    name: "HTML with status 200",
    faults: [
      { match: ORDER, kind: "garbage", times: 2 },
      { match: REPAY, kind: "garbage", times: 1 },
      { match: "account?", kind: "garbage", times: 1 },
      { match: ORDERS, kind: "garbage", times: 1 },
    ],
  },
  { name: "partial fills", faults: [{ match: ORDER, kind: "partial", times: 3, ratio: 0.5 }] },
  { name: "a rate limit", faults: [{ match: ORDER, kind: "rateLimit", times: 2, retryAfterSeconds: 1 }] },
  { name: "a ban", faults: [{ match: ORDER, kind: "ban", times: 1, seconds: 2 }] },
  {
    name: "http 503 on readings, orders and repayments",
    faults: [
      { match: "account?", kind: "http", status: 503, times: 2 },
      { match: ORDER, kind: "http", status: 503, times: 2 },
      { match: REPAY, kind: "http", status: 503, times: 1 },
    ],
  },
  {
    name: "market orders that the price filter refuses",
    faults: [
      { match: "type=MARKET", kind: "apiCode", code: -1013, msg: "Filter failure: PERCENT_PRICE_BY_SIDE", times: 40 },
    ],
  },
  {
    name: "repayments that are refused at first",
    faults: [{ match: REPAY, kind: "apiCode", code: -3044, msg: "System busy. Try again later.", times: 2 }],
  },
];

describe.each(MODES)("closePositions() of %s margin", (mode) => {
  test.concurrent.each(FAULTS)("sells, buys back and repays once with $name", async ({ name, faults }) => {
    const { rig, report } = await closeMargin(mode, async (made) => {
      for (const fault of faults) await made.control("fault", fault);
    });
    await using _ = rig;
    expect(report).toMatchObject({ outcome: "flat", verified: true, foreign: [] });
    expectSafe(rig, name.startsWith("late execution"));
  });
});

describe.each(MODES)("closePositions() of %s margin, asked for less or under trouble,", (mode) => {
  test.concurrent("is flat with a clock that is wrong, a thin book and interest that is due every few milliseconds", async () => {
    const { rig, report } = await closeMargin(mode, (made) =>
      made.control("set", { skewMs: 15_000, impact: 0.004, hourMs: 50 }),
    );
    await using _ = rig;
    expect(report).toMatchObject({ outcome: "flat" });
    const { margin, flips } = rig.paper.state();
    expect({ flips, orders: margin.orders }).toEqual({ flips: [], orders: [] });
    expect(margin.loans.filter(({ kind }) => kind === "borrow")).toEqual([]);
  });

  test.concurrent("shows in mode plan what is held and owed, and changes nothing", async () => {
    const { rig, report } = await closeMargin(mode, undefined, { mode: "plan" });
    await using _ = rig;
    expect(report.outcome).toBe("planNotEmpty");
    expect(report.before?.orders).toBe(3);
    expect(Object.keys(rig.paper.state().requests).filter((name) => !name.startsWith("GET "))).toEqual([]);
  });

  test.concurrent("cancels orders alone when that is asked, and repays nothing", async () => {
    const { rig, report } = await closeMargin(mode, undefined, { goal: { kind: "cancel" } });
    await using _ = rig;
    expect(report.outcome).toBe("cancelled");
    const { margin, fills } = rig.paper.state();
    expect({ orders: margin.orders, loans: margin.loans, fills }).toEqual({ orders: [], loans: [], fills: [] });
  });

  test.concurrent("reduces to an exposure, and turns nothing", async () => {
    const { rig, report } = await closeMargin(mode, undefined, { goal: { kind: "reduce", exposure: 10_000 } });
    await using _ = rig;
    expect(report.outcome).toBe("reduced");
    const { violations, flips, margin } = rig.paper.state();
    expect({ violations, flips, orders: margin.orders }).toEqual({ violations: [], flips: [], orders: [] });
    const exposure = openIn(rig).nets.reduce((sum, net) => sum + Math.abs(net), 0);
    expect(exposure).toBeLessThan(10_000 * 1.006);
    expect(exposure).toBeGreaterThan(9_900);
  });

  test.concurrent("ends keyRefused with a key that may not trade", async () => {
    const { rig, report } = await closeMargin(mode, (made) => made.control("set", { canTrade: false }));
    await using _ = rig;
    expect(report).toMatchObject({ outcome: "keyRefused", verified: false });
    expect(rig.paper.state().margin.loans).toEqual([]);
  });

  test.concurrent("ends unreadable where the venue does not show the wallets", async () => {
    const { rig, report } = await closeMargin(
      mode,
      (made) => made.control("fault", { match: "account?", kind: "http", status: 503, times: 10_000 }),
      { venue: { timeoutMs: 3_000 } },
    );
    await using _ = rig;
    expect(report).toMatchObject({ outcome: "unreadable", verified: false });
  });

  test.concurrent("doubles nothing when it follows another one after an order without outcome", async () => {
    await using rig = startRig({ exchange: "binance-margin", speed: QUICK });
    await rig.control("seed", SEEDS[mode]);
    await rig.control("fault", { match: ORDER, kind: "late", times: 3, ms: 1_500 });
    await rig.control("fault", { match: REPAY, kind: "late", times: 1, ms: 1_500 });
    const { venue } = policyOf(mode);
    const first = await rig.close({ venue: { ...venue, timeoutMs: 300 } }, { clock: quickClock });
    expect(first.outcome).not.toBe("flat");
    const second = await rig.close({ venue: { ...venue, timeoutMs: 300_000 } }, { clock: quickClock });
    expect(second.outcome).toBe("flat");
    expectSafe(rig, true);
  });
});

test.concurrent("closePositions() of cross margin sells, buys back and repays with one order each where nothing goes wrong", async () => {
  const { rig, report } = await closeMargin("cross");
  await using _ = rig;
  const rows = report.orders.map(({ symbol, side, amount, repay }) =>
    repay === undefined ? `${side} ${amount} ${symbol}` : `repay ${amount} ${repay}`,
  );
  // 1.80031 ETH are owed beyond what is there: bought back rounded up to the lot of 0.0001. What the fee takes of it is dust.
  expect(rows.filter((row) => row.includes("ETH")).slice(0, 2)).toEqual(["repay 0.2 ETH", "buy 1.8004 ETH/USDT"]);
  expect(rows).toContain("sell 0.5 BTC/USDT");
  expect(rows).toContain("sell 10 BNB/USDT");
  expectSafe(rig);
});

test.concurrent("closePositions() of cross margin keeps what the config keeps, and repays what is owed of it", async () => {
  const { rig, report } = await closeMargin(
    "cross",
    // Beside the 7 that its orders hold back.
    (made) => made.control("seed", { margin: [{ asset: "BNB", free: 5, borrowed: 2 }] }),
    { venue: { margin: { mode: "cross", quote: "USDT", keep: ["BNB"] } } },
  );
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  const bnb = rig.paper.state().margin.balances.find(({ asset }) => asset === "BNB");
  expect(bnb).toMatchObject({ free: 10, locked: 0, borrowed: 0 });
});

test.concurrent("closePositions() of cross margin names what stays owed, with its amount, where the wallet is worth less", async () => {
  await using rig = startRig({ exchange: "binance-margin", speed: QUICK });
  await rig.control("seed", {
    margin: [
      { asset: "ETH", borrowed: 3 },
      { asset: "USDT", free: 3_400, borrowed: 50 },
    ],
  });
  const report = await rig.close({ venue: { timeoutMs: 300_000 } }, { clock: quickClock });
  expect(report.outcome).toBe("residual");
  expect(report.reason).toMatch(/^1\.97\d* ETH\/USDT, 4\d\.\d* USDT stays owed/);
  const { margin, violations } = rig.paper.state();
  expect(violations).toEqual([]);
  expect(margin.loans.filter(({ kind }) => kind === "borrow")).toEqual([]);
});

test.concurrent("closePositions() of isolated margin with symbols closes the wallets of these pairs alone", async () => {
  const { rig, report } = await closeMargin("isolated", undefined, { venue: { symbols: ["ETH/USDT"] } });
  await using _ = rig;
  expect(report).toMatchObject({ outcome: "flat", scope: ["ETH/USDT"] });
  const { balances } = rig.paper.state().margin;
  expect(balances.find(({ wallet, asset }) => wallet === "BTCUSDT" && asset === "BTC")).toMatchObject({ free: 0.3 });
});

test.concurrent("closePositions() of margin at a venue whose loans are not known sends nothing, and says what is missing", async () => {
  await using rig = startRig({ exchange: "okx" });
  const report = await rig.close({ venue: { margin: { mode: "cross", quote: "USDT", keep: [] } } });
  expect(report).toMatchObject({ outcome: "unsupported", calls: 0 });
  expect(report.reason).toContain("ccxt repays VIP loans alone there");
});

test.concurrent("closePositions() of cross margin repays with what its orders bring, and takes what borrows something after it was flat for foreign", async () => {
  await using rig = startRig({ exchange: "binance-margin" });
  await rig.control("seed", CROSS);
  const closing = rig.close();
  await vi.waitFor(
    () => expect(rig.lines.some((line) => line.kind === "progress" && line.state === "quiet")).toBe(true),
    {
      timeout: 20_000,
      interval: 5,
    },
  );
  await rig.control("seed", { margin: [{ asset: "BNB", free: 0, borrowed: 3 }] });
  const report = await closing;
  expect(report).toMatchObject({ outcome: "foreign", foreign: ["position BNB/USDT short 3"] });
  const { fills, margin } = rig.paper.state();
  const repaying = new Set(margin.loans.map(({ clientOrderId }) => clientOrderId));
  const repaid = fills.filter(({ clientOrderId }) => repaying.has(clientOrderId)).map(({ symbol }) => symbol);
  expect(repaid).toEqual(expect.arrayContaining(["BTCUSDT", "ETHUSDT"]));
});
