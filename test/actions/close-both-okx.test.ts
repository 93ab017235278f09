/** Contracts and spot wallet of one OKX account, whose one interface shows both: closed in one incident, against two paper exchanges behind one address. */
import { expect, test } from "vitest";
import type { CcxtAccess } from "../../src/core/close-job.ts";
import { QUICK, quickClock, startRig, type Rig } from "./rig.ts";

interface Account extends AsyncDisposable {
  readonly contracts: Rig;
  readonly wallet: Rig;
  readonly venue: CcxtAccess;
  /** Instruments of the orders that were sent, in their order. */
  readonly ordered: string[];
}

/** Instruments of contracts have a suffix, or their type is asked for. */
const OF_CONTRACTS = /-SWAP|-\d{6}"|instType=(?:SWAP|FUTURES|OPTION)|account\/positions|algo/;
const OF_WALLET = /instType=SPOT|account\/balance/;
const LIST_OF_BOTH = "/api/v5/trade/orders-pending";

function startAccount(): Account {
  const contracts = startRig({ exchange: "okx", symbols: 3, speed: QUICK });
  const wallet = startRig({ exchange: "okx-spot", symbols: 3, speed: QUICK });
  const ordered: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const headers = new Headers(request.headers);
      headers.delete("host");
      const body = await request.text();
      if (pathname.endsWith("/batch-orders")) ordered.push(/"instId":"([^"]+)"/.exec(body)?.[1] ?? body);
      const init = { method: request.method, headers, ...(body === "" ? {} : { body }) };
      const ask = (rig: Rig): Promise<Response> =>
        fetch(`${rig.paper.url}${pathname}${search}`, init).catch(() => new Response("<html></html>", { status: 502 }));
      if (pathname === LIST_OF_BOTH) return joined(await Promise.all([ask(contracts), ask(wallet)]));
      const label = `${pathname}${search} ${body}`;
      return ask(!OF_WALLET.test(label) && (OF_CONTRACTS.test(label) || body === "") ? contracts : wallet);
    },
  });
  const spot = { quote: "USDT", keep: [], derivatives: true };
  return {
    contracts,
    wallet,
    ordered,
    venue: { ...contracts.job().venue, endpoint: server.url.href, spot },
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      await contracts[Symbol.asyncDispose]();
      await wallet[Symbol.asyncDispose]();
    },
  };
}

/** One list of both; a refusal of one of them is that of the whole. */
async function joined(answers: readonly Response[]): Promise<Response> {
  const bad = answers.find(({ ok }) => !ok);
  if (bad !== undefined) return bad;
  const bodies = await Promise.all(answers.map(async (answer) => Object(await answer.json())));
  const refused = bodies.find((body) => Reflect.get(body, "code") !== "0");
  return Response.json(refused ?? { code: "0", data: bodies.flatMap((body) => Reflect.get(body, "data")), msg: "" });
}

async function seed({ contracts, wallet }: Account): Promise<void> {
  await contracts.control("seed", {
    positions: [
      { symbol: "S00USDT", side: "short", amount: 5 },
      { symbol: "S01USDT", side: "long", amount: 2 },
    ],
    orders: [
      { symbol: "S00USDT", side: "sell", amount: 1 },
      { symbol: "S00USDT", side: "buy", triggerPrice: 1e6, closePosition: true },
    ],
  });
  await wallet.control("seed", {
    positions: [
      { symbol: "S00USDT", side: "long", amount: 5 },
      { symbol: "S02USDT", side: "long", amount: 3 },
    ],
    orders: [{ symbol: "S00USDT", side: "sell", amount: 2 }],
  });
}

const io = { clock: quickClock };

function expectClosed({ contracts, wallet }: Account): void {
  for (const { paper } of [contracts, wallet])
    expect(paper.state()).toMatchObject({ positions: [], orders: [], algoOrders: [], flips: [], violations: [] });
}

test.concurrent("closePositions() closes contracts and sells the wallet of one OKX account in one incident", async () => {
  await using account = startAccount();
  await seed(account);
  const report = await account.contracts.close({ venue: account.venue }, io);
  expect(report).toMatchObject({ outcome: "flat", verified: true, errors: {}, before: { orders: 3 } });
  expect(report.before?.positions.map(({ symbol }) => symbol).toSorted()).toEqual([
    "S00/USDT",
    "S00/USDT:USDT",
    "S01/USDT:USDT",
    "S02/USDT",
  ]);
  expect(account.ordered.toSorted()).toEqual(["S00-USDT", "S00-USDT-SWAP", "S01-USDT-SWAP", "S02-USDT"]);
  expectClosed(account);
});

test.concurrent.each(["dropAfter", "late", "stallBody"] as const)(
  "closePositions() sells no balance of OKX twice and turns no contract, with replies of both markets lost (%s)",
  async (kind) => {
    await using account = startAccount();
    await seed(account);
    const fault = {
      match: "POST /api/v5/trade/batch-orders",
      kind,
      times: 2,
      ...(kind === "late" ? { ms: 1_000 } : {}),
    };
    for (const rig of [account.contracts, account.wallet]) await rig.control("fault", fault);
    const report = await account.contracts.close({ venue: { ...account.venue, timeoutMs: 60_000 } }, io);
    expect(report).toMatchObject({ outcome: "flat" });
    expectClosed(account);
    const sold = account.wallet.paper.state().fills.map(({ symbol, quantity }) => `${symbol} ${quantity}`);
    expect(sold.toSorted()).toEqual(["S00USDT 5", "S02USDT 3"]);
  },
);

test.concurrent.each([
  "GET /api/v5/account/balance",
  "GET /api/v5/account/positions",
  "GET /api/v5/trade/orders-pending",
])("closePositions() calls no OKX account flat of which it cannot read one market (%s)", async (match) => {
  await using account = startAccount();
  for (const rig of [account.contracts, account.wallet])
    await rig.control("fault", { match, kind: "http", status: 503, times: 1_000 });
  const report = await account.contracts.close({ venue: { ...account.venue, timeoutMs: 1_000 } }, io);
  expect(report).toMatchObject({ outcome: "unreadable", verified: false });
});
