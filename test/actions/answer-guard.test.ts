/** Answers with status 200 that are none: a reading must fail with them, and an order's fate is unknown, on both venues. */
import { describe, expect, test } from "vitest";
import { CcxtVenue } from "../../src/actions/venue/ccxt-venue.ts";
import { startPlan } from "../../src/core/close-plan.ts";
import { planChains } from "../../src/core/close-orders.ts";
import { held } from "../core/held.ts";
import { QUICK, quickClock, startRig, VENUES } from "./rig.ts";

/** The venues of derivatives. */
type VenueName = Exclude<keyof typeof VENUES, "binance-spot" | "binance-margin" | "okx-spot">;
/** What each venue answers where there is nothing. */
const NOTHING: Readonly<Record<VenueName, string>> = { binance: "[]", okx: '{"code":"0","data":[]}' };
const BODIES = [
  "<html>We are back soon</html>",
  '{"code":"0","data":[{"instId":"BTC-US',
  "",
  "null",
  "{}",
  '{"code":"0"}',
];
/** Paths of the listings of markets. */
const MARKETS = /exchangeInfo|instruments/;
const rows = (["binance", "okx"] as const).flatMap((name) => BODIES.map((body) => ({ name, body })));

async function withVenue<T>(
  name: VenueName,
  answer: (path: string) => string,
  deed: (venue: CcxtVenue) => Promise<T>,
): Promise<T> {
  const markets = name === "okx" ? NOTHING.okx : '{"symbols":[]}';
  const server = Bun.serve({
    port: 0,
    fetch: ({ url }) => {
      const { pathname } = new URL(url);
      return new Response(MARKETS.test(pathname) ? markets : answer(pathname));
    },
  });
  const end = new AbortController();
  const access = { exchange: VENUES[name].exchange, endpoint: server.url.href, sandbox: false, symbols: [] };
  try {
    const keys = { timeoutMs: 1_000, apiKey: "key", apiSecret: "secret", passphrase: "words" };
    const options = { clock: quickClock, signal: end.signal, onFailure: () => undefined };
    return await deed(await CcxtVenue.open({ ...access, ...keys }, options));
  } finally {
    end.abort();
    await server.stop(true);
  }
}

describe("Venue", () => {
  test.each(["binance", "okx"] as const)("Venue reads that nothing is open where %s says so", async (name) => {
    const reading = await withVenue(
      name,
      () => NOTHING[name],
      (venue) => venue.read(),
    );
    expect(reading).toEqual({ positions: [], orders: [], triggers: [], failures: [] });
  });

  test.each(rows)("Venue does not read that nothing is open where $name answers $body", async ({ name, body }) => {
    const reading = await withVenue(
      name,
      () => body,
      (venue) => venue.read(),
    );
    expect(reading).toMatchObject({ positions: undefined, orders: undefined, triggers: undefined });
  });

  test("Venue does not know the fate of an order whose acknowledgement names none", async () => {
    const request = { ...startPlan(), incident: "abc123", run: "run001", orders: [], limit: 1 };
    await using rig = startRig({ exchange: "okx", symbols: 1, speed: QUICK });
    const options = { clock: quickClock, signal: new AbortController().signal, onFailure: () => undefined };
    for (const [result, data] of [
      ["accepted", [{ ordId: "1", sCode: "0" }]],
      ["unknown", []],
      ["unknown", [{}]],
    ] as const) {
      const body = JSON.stringify({ code: "0", data });
      using server = Bun.serve({
        port: 0,
        fetch: async ({ method, url }): Promise<Response> =>
          method === "POST" ? new Response(body) : fetch(url.replace(/^http:\/\/[^/]+/, rig.paper.url)),
      });
      // Safe: cases follow each other on one venue.
      // oxlint-disable-next-line no-await-in-loop
      const venue = await CcxtVenue.open({ ...rig.job().venue, endpoint: server.url.href }, options);
      // Safe: cases follow each other on one venue.
      // oxlint-disable-next-line no-await-in-loop
      expect(await venue.prepare()).toBeUndefined();
      const [chain] = planChains({ ...request, open: [held("S00/USDT:USDT", 1)] }).chains;
      const order = chain?.orders[0];
      if (order === undefined) throw new Error("expected an order");
      // Safe: cases follow each other on one venue.
      // oxlint-disable-next-line no-await-in-loop
      expect((await venue.send(order)).result.kind).toBe(result);
    }
  });
});

describe("closePositions()", () => {
  test.concurrent.each(["binance", "okx"] as const)(
    "closePositions() does not call an account on %s flat whose every reading is a page of HTML",
    async (exchange) => {
      await using rig = startRig({ exchange, symbols: 1, speed: QUICK });
      await rig.control("seed", { positions: [{ symbol: "S00USDT", side: "long", amount: 5 }] });
      for (const match of ["GET /api/v5/account", "GET /api/v5/trade", "GET /fapi/v3/position", "GET /fapi/v1/open"])
        // Safe: cases follow each other on one venue.
        // oxlint-disable-next-line no-await-in-loop
        await rig.control("fault", { match, kind: "garbage", times: 10_000 });
      const report = await rig.close({ venue: { timeoutMs: 2_000 } }, { clock: quickClock });
      expect(report).toMatchObject({ outcome: "unreadable", verified: false });
    },
  );
});
