/** One account with derivatives and a spot wallet: both in one incident, against two paper exchanges behind one address, as Binance's are. */
import { expect, test } from "vitest";
import { preflight } from "../../src/actions/preflight.ts";
import { watchAccount } from "../../src/actions/watch-account.ts";
import type { CcxtAccess } from "../../src/core/close-job.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { QUICK, quickClock, startRig, type Rig } from "./rig.ts";

interface Pair extends AsyncDisposable {
  readonly futures: Rig;
  readonly wallet: Rig;
  readonly venue: CcxtAccess;
}

function startPair(): Pair {
  const futures = startRig({ symbols: 3, speed: QUICK });
  const wallet = startRig({ exchange: "binance-spot", symbols: 3, speed: QUICK });
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const { paper } = pathname.startsWith("/fapi/") ? futures : wallet;
      const headers = new Headers(request.headers);
      headers.delete("host");
      const body = await request.text();
      const init = { method: request.method, headers, ...(body === "" ? {} : { body }) };
      // A reply that is lost behind a gateway is one that nobody knows of, too.
      return fetch(`${paper.url}${pathname}${search}`, init).catch(
        () => new Response("<html></html>", { status: 502 }),
      );
    },
  });
  const spot = { quote: "USDT", keep: [], derivatives: true };
  const venue = { ...futures.job().venue, exchange: "binance", endpoint: server.url.href, spot };
  return {
    futures,
    wallet,
    venue,
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      await futures[Symbol.asyncDispose]();
      await wallet[Symbol.asyncDispose]();
    },
  };
}

async function seed({ futures, wallet }: Pair): Promise<void> {
  await futures.control("seed", {
    positions: [
      { symbol: "S00USDT", side: "short", amount: 5 },
      { symbol: "S01USDT", side: "long", amount: 2 },
    ],
    orders: [{ symbol: "S00USDT", side: "sell", amount: 1 }],
  });
  await wallet.control("seed", {
    positions: [{ symbol: "S00USDT", side: "long", amount: 5 }],
    orders: [{ symbol: "S00USDT", side: "sell", amount: 2 }],
  });
}

const io = { clock: quickClock };

function expectClosed({ futures, wallet }: Pair): void {
  for (const { paper } of [futures, wallet])
    expect(paper.state()).toMatchObject({ positions: [], orders: [], flips: [], violations: [] });
}

test.concurrent("closePositions() closes derivatives and sells balances of one account in one incident", async () => {
  await using pair = startPair();
  await seed(pair);
  const report = await pair.futures.close({ venue: pair.venue }, io);
  expect(report).toMatchObject({
    outcome: "flat",
    verified: true,
    before: { orders: 2 },
    after: { positions: [], orders: 0 },
  });
  expect(report.before?.positions.map(({ symbol }) => symbol).toSorted()).toEqual([
    "S00/USDT",
    "S00/USDT:USDT",
    "S01/USDT:USDT",
  ]);
  expectClosed(pair);
});

test.concurrent("closePositions() sells no balance twice and turns no position when replies of both markets are lost", async () => {
  await using pair = startPair();
  await seed(pair);
  await pair.futures.control("fault", { match: "POST /fapi/v1/order", kind: "dropAfter", times: 3 });
  await pair.wallet.control("fault", { match: "POST /api/v3/order", kind: "dropAfter", times: 1 });
  const report = await pair.futures.close({ venue: { ...pair.venue, timeoutMs: 60_000 } }, io);
  expect(report).toMatchObject({ outcome: "flat" });
  expectClosed(pair);
  expect(pair.wallet.paper.state().fills.map(({ quantity }) => quantity)).toEqual([5]);
});

test.concurrent.each(["GET /api/v3/account", "GET /fapi/v3/positionRisk"])(
  "closePositions() calls no account flat of which it cannot read one market (%s)",
  async (match) => {
    await using pair = startPair();
    for (const rig of [pair.futures, pair.wallet])
      await rig.control("fault", { match, kind: "http", status: 503, times: 1_000 });
    const report = await pair.futures.close({ venue: { ...pair.venue, timeoutMs: 1_000 } }, io);
    expect(report).toMatchObject({ outcome: "unreadable", verified: false });
  },
);

test.concurrent("closePositions() looks only at the markets whose symbols are named", async () => {
  await using pair = startPair();
  await seed(pair);
  const report = await pair.futures.close({ venue: { ...pair.venue, symbols: ["S00/USDT:USDT"] } }, io);
  expect(report).toMatchObject({ outcome: "flat", scope: ["S00/USDT:USDT"] });
  expect(pair.futures.paper.state().positions).toMatchObject([{ symbol: "S01USDT" }]);
  expect(pair.wallet.paper.state()).toMatchObject({ positions: [{}], orders: [{}] });
});

test.concurrent("preflight() and watchAccount() see both markets of the account", async () => {
  await using pair = startPair();
  await seed(pair);
  const job = { version: 1, bot: "b", account: "a", allowWithdraw: false, drill: false, venue: pair.venue } as const;
  const report = await preflight(job, systemClock);
  expect(report.checks.find(({ name }) => name === "read")?.detail).toBe("3 positions, 2 orders");
  expect(report.checks.filter(({ name }) => name === "markets").map(({ result }) => result)).toEqual(["ok", "ok"]);
  const worth = [pair.futures, pair.wallet]
    .flatMap(({ paper }) => paper.state().positions)
    .reduce((sum, { notional }) => sum + notional, 0);
  const look = await watchAccount({ version: 1, venue: pair.venue, loss: null, deadman: null }, systemClock);
  expect(look.exposure).toBeCloseTo(worth, 4);
});

test.concurrent("closePositions() of derivatives by Binance's class of all markets cancels their orders, not those of the wallet", async () => {
  await using pair = startPair();
  await seed(pair);
  const { spot: _, ...venue } = pair.venue;
  expect(await pair.futures.close({ venue: { ...venue } }, io)).toMatchObject({
    outcome: "flat",
    before: { orders: 1 },
  });
  expect(pair.futures.paper.state()).toMatchObject({ positions: [], orders: [] });
  expect(pair.wallet.paper.state()).toMatchObject({ positions: [{}], orders: [{}] });
});
