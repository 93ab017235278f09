/** The emergency close against the paper exchange, which is asked itself afterwards: flat, nothing turned, no rule broken. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CloseIo } from "../../src/actions/close-io.ts";
import type { CloseReport } from "../../src/core/close-job.ts";
import { lockHolder } from "../../src/platform/lock.ts";
import { FIXTURES, until } from "../platform/until.ts";
import { holdings, quickClock, sinceUnknownMs, startRig, TIME_SLACK_MS, VENUES } from "./rig.ts";
import type { JobChanges, Rig } from "./rig.ts";

const ORDER = "POST /fapi/v1/order";
const TIME = "GET /fapi/v1/time";
const POSITIONS = "GET /fapi/v3/positionRisk";

interface Row {
  readonly name: string;
  readonly faults?: readonly object[];
  readonly settings?: object;
  /** Positions; default 6. */
  readonly count?: number;
  readonly amount?: number;
  /** Not at three times the speed: the row counts calls or waits for the venue's own clock. */
  readonly realTime?: boolean;
  readonly check?: (report: CloseReport, rig: Rig) => void;
}

const rows: readonly Row[] = [
  {
    name: "without a fault",
    realTime: true,
    count: 20,
    check: (report, rig) => {
      expect(report).toMatchObject({ rounds: 2, verified: true, errors: {}, foreign: [], dust: [] });
      expect(report.before).toMatchObject({ orders: 40 });
      // Every fill against the price before it, and what happened in the order in which it did.
      expect(report.orders.every(({ reference, slippage }) => reference !== undefined && slippage !== undefined)).toBe(
        true,
      );
      expect(report.slippage).toBeCloseTo(
        report.orders.reduce((sum, { slippage = 0 }) => sum + slippage, 0),
        3,
      );
      expect(report).toMatchObject({ unknown: [], next: expect.stringContaining("supervisor arm momentum") });
      expect(report.timeline?.map(({ text }) => text.split(/[:;]/)[0])).toEqual([
        "proving that the bot is dead",
        "reading the account at binanceusdm",
        "round 1",
        "round 2",
        "the account is flat",
        "flat",
      ]);
      expect(report.after).toEqual({ positions: [], orders: 0, notional: 0 });
      // Two rounds with a cancel each per symbol, one order per symbol, four readings of three calls, the markets. Where an answer
      // comes so late that the clocks seem apart, the venue's time is asked for as well.
      const { requests } = rig.paper.state();
      expect(report.calls - (requests[TIME] ?? 0)).toBe(20 * 3 + 4 * 3 + 1);
      expect(requests[TIME] ?? 0).toBeLessThanOrEqual(1);
      expect(requests[ORDER]).toBe(20);
    },
  },
  {
    name: "when five replies are lost after the order was executed",
    faults: [{ match: ORDER, kind: "dropAfter", times: 5 }],
    check: (report) => {
      const lost = report.orders.filter(({ outcome }) => outcome === "unknown");
      expect(lost).toHaveLength(5);
      // Nobody told what became of them, and 0 would be a claim.
      for (const order of lost) expect([order.filled, order.average]).toEqual([undefined, undefined]);
      expect(report.orders.filter(({ filled }) => filled === 3)).toHaveLength(1);
      // The last lost order could be executed until recvWindow and its margin are over.
      expect(sinceUnknownMs(report)).toBeGreaterThan(6_000 - TIME_SLACK_MS);
    },
  },
  {
    name: "when ten connections die before anything was executed",
    faults: [{ match: ORDER, kind: "dropBefore", times: 10 }],
  },
  {
    name: "when orders are answered by 429 with Retry-After",
    realTime: true,
    faults: [{ match: ORDER, kind: "rateLimit", times: 3, retryAfterSeconds: 1 }],
    check: (report) => {
      expect(report.errors).toMatchObject({ throttled: 3 });
      expect(report.durationMs).toBeGreaterThan(1_900);
    },
  },
  {
    name: "when the address is banned for a second",
    realTime: true,
    faults: [{ match: POSITIONS, kind: "ban", after: 1, seconds: 1 }],
  },
  {
    name: "when readings, cancels and orders are answered by 503",
    faults: [
      { match: POSITIONS, kind: "http", status: 503, times: 2 },
      { match: "GET /fapi/v1/openOrders", kind: "http", status: 503, times: 2 },
      { match: "DELETE /fapi/v1/", kind: "http", status: 500, times: 4 },
      { match: ORDER, kind: "http", status: 503, times: 5 },
    ],
  },
  {
    name: "when the list of markets fails at first",
    faults: [{ match: "GET /fapi/v1/exchangeInfo", kind: "http", status: 503, times: 3 }],
  },
  {
    name: "when reduce-only orders are refused (-2022)",
    faults: [{ match: ORDER, kind: "rejectReduceOnly", times: 12 }],
    check: (report) => expect(report.errors).toMatchObject({ "rejected:reduceOnly": 12 }),
  },
  {
    name: "when every order is filled by half",
    faults: [{ match: ORDER, kind: "partial", times: 15, ratio: 0.5 }],
    amount: 4,
  },
  {
    name: "when the venue's clock is 15 s behind",
    settings: { skewMs: -15_000 },
    check: (_, rig) => expect(rig.paper.state().requests["GET /fapi/v1/time"]).toBe(1),
  },
  {
    name: "when the venue's clock is 15 s ahead",
    settings: { skewMs: 15_000 },
  },
  {
    name: "when market orders leave the price band (-4131)",
    faults: [
      {
        match: "type=MARKET",
        kind: "apiCode",
        code: -4131,
        msg: "best price does not meet the PERCENT_PRICE filter",
        times: 40,
      },
    ],
    count: 3,
    check: (report) => expect(report.errors).toMatchObject({ "rejected:band": 3 }),
  },
  {
    name: "when answers are HTML",
    faults: [
      { match: ORDER, kind: "garbage", times: 5 },
      { match: POSITIONS, kind: "garbage", times: 1 },
    ],
  },
];

test.concurrent.each(rows)("closePositions() ends flat $name", async (row) => {
  await using rig = startRig({ symbols: row.count ?? 6 });
  await rig.control("seed", holdings(row.count ?? 6, row.amount));
  if (row.settings !== undefined) await rig.control("set", row.settings);
  for (const fault of row.faults ?? []) await rig.control("fault", fault);
  const report = await rig.close({}, row.realTime === true ? {} : { clock: quickClock });
  expect(report).toMatchObject({ outcome: "flat", verified: true });
  row.check?.(report, rig);
  expectSound(rig);
});

/** The venue itself holds nothing, no fill turned a position, and no rule of the venue was broken. */
function expectSound(rig: Rig): void {
  expect(rig.paper.state()).toMatchObject({
    flat: true,
    positions: [],
    orders: [],
    algoOrders: [],
    flips: [],
    violations: [],
  });
}

async function closeOne(
  setUp: (rig: Rig) => Promise<void>,
  changes?: JobChanges,
): Promise<{ rig: Rig; report: CloseReport }> {
  const rig = startRig({ symbols: 6 });
  await setUp(rig);
  return { rig, report: await rig.close(changes, { clock: quickClock }) };
}

test.concurrent("closePositions() splits a position above the market's maximum into serial orders", async () => {
  const seed = { positions: [{ symbol: "BTCUSDT", side: "long", amount: 300 }] };
  const { rig, report } = await closeOne((r) => r.control("seed", seed));
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  expect(report.orders.map(({ amount }) => amount)).toEqual([120, 120, 60]);
  expectSound(rig);
});

test.concurrent("closePositions() closes both legs of a symbol in hedge mode", async () => {
  const { rig, report } = await closeOne(async (r) => {
    await r.control("set", { hedge: true });
    const symbol = "BTCUSDT";
    await r.control("seed", {
      positions: [
        { symbol, side: "long", amount: 1 },
        { symbol, side: "short", amount: 2 },
      ],
      orders: [{ symbol, side: "sell", amount: 1, reduceOnly: true }],
    });
  });
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  // The two legs are closed side by side, so which reply is booked first is chance.
  const sent = report.orders.map(({ side, positionSide, amount }) => [side, positionSide, amount].join(" "));
  expect(sent.toSorted()).toEqual(["buy short 2", "sell long 1"]);
  expectSound(rig);
});

test.concurrent("closePositions() gives a body that stalls 6 s, not for ever", async () => {
  const { rig, report } = await closeOne(async (r) => {
    await r.control("seed", holdings(6));
    await r.control("fault", { match: ORDER, kind: "stallBody", times: 2 });
  });
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  expect(report.durationMs).toBeGreaterThan(6_000);
  expectSound(rig);
});

test.concurrent("closePositions() waits for an order that is executed long after its connection died, and turns nothing", async () => {
  const { rig, report } = await closeOne(async (r) => {
    await r.control("seed", holdings(6));
    await r.control("fault", { match: ORDER, kind: "late", times: 3, ms: 500 });
  });
  await using _ = rig;
  expect(report.outcome).toBe("flat");
  expect(sinceUnknownMs(report)).toBeGreaterThan(6_000 - TIME_SLACK_MS);
  expectSound(rig);
});

test.concurrent("closePositions() keeps a stop until its position is closed", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match: ORDER, kind: "dropBefore", times: 1_000 });
  const report = await rig.close({ venue: { timeoutMs: 1_500 } }, { clock: quickClock });
  expect(report).toMatchObject({ outcome: "residual", verified: false, after: { orders: 1 } });
  expect(rig.paper.state()).toMatchObject({ orders: [], algoOrders: [{ symbol: "S00USDT" }] });
});

test.concurrent("closePositions() closes only the job's symbols, and says that it looked at no other", async () => {
  const scope = ["S01/USDT:USDT"];
  const words = "flat for the configured symbols (S01/USDT:USDT); other symbols were not looked at";
  const { rig, report } = await closeOne((r) => r.control("seed", holdings(3)), { venue: { symbols: scope } });
  await using _ = rig;
  expect(report).toMatchObject({
    outcome: "flat",
    scope,
    reason: words,
    before: { positions: [{ symbol: scope[0] }] },
  });
  expect(said(rig).find((text) => text.includes("looking again"))).toMatch(words);
  expect(await rig.close({ mode: "plan", venue: { symbols: scope } })).toMatchObject({ scope, reason: words });
  expect(rig.paper.state().positions.map(({ symbol }) => symbol)).toEqual(["S00USDT", "S02USDT"]);
  expect(rig.paper.state().orders).toHaveLength(2);
});

test.concurrent("closePositions() reports a position that appears after the account was flat as foreign", async () => {
  await using rig = startRig({ symbols: 1 });
  const intruder = { positions: [{ symbol: "S00USDT", side: "long", amount: 1 }] };
  let planted: Promise<void> | undefined;
  const progress = (line: { kind: string; state?: string }): void => {
    if (line.state === "quiet") planted ??= rig.control("seed", intruder);
  };
  const report = await rig.close({}, { progress });
  await planted;
  expect(report).toMatchObject({
    outcome: "foreign",
    verified: false,
    foreign: ["position S00/USDT:USDT long 1"],
    orders: [],
  });
});

test.concurrent("closePositions() gives up a wrong key after two refusals", async () => {
  const { rig, report } = await closeOne((r) => r.control("seed", holdings(1)), { venue: { apiKey: "another-key" } });
  await using _ = rig;
  expect(report).toMatchObject({ outcome: "keyRefused", before: null, orders: [] });
  expect(rig.paper.state().requests[POSITIONS]).toBe(2);
});

test.concurrent.each([
  ["an exchange that ccxt does not have", { exchange: "binanceusmd" }, "the nearest are binanceusdm"],
  ["a symbol that the venue does not list", { symbols: ["BTC/USDT"] }, "the nearest are BTC/USDT:USDT"],
])("closePositions() names the nearest names for %s", async (_, venue, hint) => {
  await using rig = startRig();
  expect(await rig.close({ venue })).toMatchObject({ outcome: "unsupported", reason: expect.stringContaining(hint) });
});

/** The texts of the progress lines. */
function said(rig: Rig): string[] {
  return rig.lines.flatMap((line) => (line.kind === "progress" ? [line.text] : []));
}

/** Nobody listens there: tcpmux is not used any more, and the kernel gives no test a port below 1024. */
const CLOSED_PORT = "http://127.0.0.1:1";

test.concurrent.each([
  ["nobody listens at the endpoint", () => CLOSED_PORT, "connection refused"],
  ["the endpoint speaks no TLS", (rig: Rig) => rig.paper.url.replace("http:", "https:"), "TLS handshake failed"],
])("closePositions() names it when %s, in mode close and plan", async (_, address, why) => {
  await using rig = startRig();
  const endpoint = address(rig);
  const venue = { endpoint: `${endpoint}/path?key=in-the-address`, timeoutMs: 9_000 };
  const io = { clock: quickClock };
  const reports = [await rig.close({ venue }, io), await rig.close({ mode: "plan", venue }, io)];
  const text = `cannot reach ${endpoint} (${why})`;
  for (const report of reports) {
    expect(report).toMatchObject({ outcome: "unreadable", verified: false, before: null, after: null });
    expect(report.reason).toBe(`${text}; look at the account by hand`);
    expect(report.errors["unknown"]).toBeGreaterThan(0);
    // Refusals come at once: nowhere near the deadline of a venue that is silent.
    expect(report.durationMs).toBeLessThan(20_000);
  }
  const reading = ["reading the account at binanceusdm", `${text}; trying again`];
  expect(said(rig)).toEqual(["proving that the bot is dead", ...reading, ...reading]);
});

test.concurrent("closePositions() says once for each reason that the venue cannot be read, while it waits for it", async () => {
  await using rig = startRig();
  await rig.control("fault", { match: VENUES.binance.positions, kind: "dropBefore", times: 3 });
  await rig.control("fault", { match: VENUES.binance.positions, kind: "rateLimit", retryAfterSeconds: 1, times: 1 });
  expect(await rig.close({}, { clock: quickClock })).toMatchObject({ outcome: "flat" });
  const waits = said(rig).filter((text) => text.endsWith("trying again"));
  const reasons = ["the connection broke off", "it asks for fewer requests"];
  expect(waits).toEqual(reasons.map((why) => `cannot read the positions at ${rig.paper.url}: ${why}; trying again`));
});

test.concurrent("closePositions() says that it reads the account before the first call", async () => {
  await using rig = startRig();
  const before: object[] = [];
  const progress = (line: { kind: string; text?: string }): void => {
    if (line.text?.startsWith("reading") === true) before.push(rig.paper.state().requests);
  };
  await rig.close({ mode: "plan" }, { progress });
  expect(before).toEqual([{}]);
});

test.concurrent("closePositions() ends a close that was stopped with the account's lock in its hands, and goes on", async () => {
  await using rig = startRig();
  const { accountLock } = rig.job();
  const command = [process.execPath, join(FIXTURES, "hold-lock.ts"), accountLock];
  const other = Bun.spawn(command, { stdio: ["pipe", "ignore", "inherit"] });
  try {
    await until("it has the lock", () => lockHolder(accountLock) === other.pid);
    other.kill("SIGSTOP");
    expect(await rig.close({}, { clock: quickClock })).toMatchObject({ outcome: "flat" });
    const why = "the worker hung and was ended: it was stopped for 10 s (SIGSTOP)";
    expect(said(rig)).toContain(`the other close, pid ${other.pid}: ${why}`);
  } finally {
    other.kill("SIGKILL");
    await other.exited;
  }
});

test.concurrent("closePositions() says it when the venue is lost in the middle, and repeats no order blindly", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  let gone: Promise<void> | undefined;
  const progress: CloseIo["progress"] = (line) => {
    rig.lines.push(line);
    if (line.kind === "progress" && line.text.startsWith("round 1:")) gone ??= rig.paper.stop();
  };
  const report = await rig.close({ venue: { timeoutMs: 1_500 } }, { progress, clock: quickClock });
  await gone;
  const text = `cannot reach ${rig.paper.url} (connection refused)`;
  expect(said(rig)).toContain("round 1: 1 position open; sends 1 order and cancels those of 1 symbol");
  expect(said(rig)).toContain(`${text}; trying again`);
  expect(report).toMatchObject({ outcome: "unreadable", orders: [{ outcome: "unknown" }] });
  expect(report.reason).toContain(`${text}: the venue did not show positions`);
});

test.concurrent("closePositions() in mode plan reads, reports and changes nothing", async () => {
  await using rig = startRig({ symbols: 2 });
  expect(await rig.close({ mode: "plan" })).toMatchObject({ outcome: "flat" });
  await rig.control("seed", holdings(2));
  const report = await rig.close({ mode: "plan" });
  expect(report).toMatchObject({ outcome: "planNotEmpty", orders: [], rounds: 0, before: { orders: 4 } });
  expect(report.before?.positions).toHaveLength(2);
  const { requests } = rig.paper.state();
  expect(Object.keys(requests).filter((name) => !name.startsWith("GET "))).toEqual([]);
});

test.concurrent("closePositions() reports the timeline of all runs of the incident", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  await rig.control("fault", { match: ORDER, kind: "http", status: 503, times: 1_000 });
  await rig.close({ venue: { timeoutMs: 300 } });
  const second = await rig.close({ venue: { timeoutMs: 300 } });
  const texts = second.timeline?.map(({ text }) => text) ?? [];
  expect(texts.filter((text) => text === "a further run begins")).toHaveLength(1);
  expect(texts.filter((text) => text === "proving that the bot is dead")).toHaveLength(2);
  expect(texts.filter((text) => text.startsWith("residual: "))).toHaveLength(2);
  expect(texts.at(-1)).toMatch(/^residual: /);
});
