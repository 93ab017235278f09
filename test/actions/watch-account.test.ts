/** A look at the account against both paper exchanges: exposure, equity, transfers, and the venue's dead-man switch. */
import { expect, test } from "vitest";
import { watchAccount } from "../../src/actions/watch-account.ts";
import type { CcxtAccess } from "../../src/core/close-job.ts";
import type { WatchAnswer, WatchJob } from "../../src/core/watch-job.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { until } from "../demo/paper.ts";
import { holdings, startRig, VENUES, type Rig } from "./rig.ts";

type Changes = Partial<Omit<WatchJob, "venue">> & { readonly venue?: Partial<CcxtAccess> };

function look(rig: Rig, { venue, ...changes }: Changes = {}): Promise<WatchAnswer> {
  const access = rig.job({ venue: venue ?? {} }).venue;
  return watchAccount({ version: 1, loss: null, deadman: null, venue: access, ...changes }, systemClock);
}

const refresh = (armed: readonly string[] = [], timeoutMs = 60_000): WatchJob["deadman"] => ({
  duty: "refresh",
  timeoutMs,
  armed: [...armed],
});

for (const exchange of ["binance", "okx"] as const) {
  test.concurrent(`watchAccount() adds up both legs at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { hedge: true });
    const positions = ["long", "short"].map((side) => ({ symbol: "BTCUSDT", side, amount: 1 }));
    await rig.control("seed", { positions });
    const notional = rig.paper.state().positions.reduce((sum, each) => sum + each.notional, 0);
    expect(notional).toBeGreaterThan(0);
    expect((await look(rig)).exposure).toBeCloseTo(notional, 4);
  });

  test.concurrent(`watchAccount() tells equity and what was moved since a time at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("set", { transfer: 1_000 });
    const sinceMs = Date.now() + 5;
    await until(() => Date.now() > sinceMs, "a moment passes");
    await rig.control("set", { transfer: -250 });
    const answer = await look(rig, { loss: { sinceMs } });
    expect(answer).toMatchObject({ equity: 100_750, transfers: -250, trouble: null });
    expect((await look(rig, { loss: { sinceMs: null } })).transfers).toBeNull();
  });

  test.concurrent(`watchAccount() tells the time of ${exchange}, not that of this machine or of a gateway`, async () => {
    await using rig = startRig({ exchange });
    const skewMs = -3_600_000;
    await rig.control("set", { skewMs });
    const { venueMs, trouble } = await look(rig, { loss: { sinceMs: null } });
    expect(trouble).toBeNull();
    // A header has whole seconds, and a machine that does much else is slow.
    expect(Math.abs(venueMs - (Date.now() + skewMs))).toBeLessThan(60_000);
  });

  test.concurrent(`watchAccount() knows nothing of an unreadable venue, and says why, at ${exchange}`, async () => {
    await using rig = startRig({ exchange });
    await rig.control("fault", { kind: "http", match: VENUES[exchange].positions, status: 503, times: 100 });
    const answer = await look(rig);
    expect(answer.exposure).toBeNull();
    expect(answer.trouble).not.toBeNull();
  });

  test.concurrent(`the dead-man switch of ${exchange} cancels regular orders when it is not refreshed, and keeps stops`, async () => {
    await using rig = startRig({ exchange, symbols: 2, speed: 20 });
    await rig.control("seed", holdings(2));
    const { deadman } = await look(rig, { deadman: refresh([], 60_000) });
    expect(deadman).toMatchObject({ done: true, reason: null });
    expect(Object.values(rig.paper.state().countdowns)).toContain(60_000);
    await until(() => rig.paper.state().orders.length === 0, "the venue cancels", 20_000);
    expect(rig.paper.state()).toMatchObject({ algoOrders: [{}, {}], positions: [{}, {}] });
  });

  test.concurrent(`the dead-man switch of ${exchange} is disarmed by what was armed`, async () => {
    await using rig = startRig({ exchange, symbols: 1 });
    await rig.control("seed", holdings(1));
    const armed = (await look(rig, { deadman: refresh() })).deadman?.armed ?? [];
    expect(armed).toEqual(exchange === "okx" ? ["*"] : ["S00/USDT:USDT"]);
    const answer = await look(rig, { deadman: { duty: "disarm", timeoutMs: 60_000, armed } });
    expect(answer.deadman).toEqual({ done: true, armed: [], reason: null });
    expect(rig.paper.state().countdowns).toEqual({});
    expect(rig.paper.state().orders).toHaveLength(1);
  });

  test.concurrent(`a refresh that ${exchange} does not take is told, and what was armed stays known`, async () => {
    await using rig = startRig({ exchange, symbols: 1 });
    await rig.control("seed", holdings(1));
    const match = exchange === "okx" ? "cancel-all-after" : "countdownCancelAll";
    await rig.control("fault", { kind: "http", match, status: 503, times: 10 });
    const armed = exchange === "okx" ? ["*"] : ["S00/USDT:USDT"];
    const { deadman } = await look(rig, { deadman: refresh(armed) });
    expect(deadman).toMatchObject({ done: false, armed });
    expect(deadman?.reason).toContain("cannot set the countdown");
  });
}

for (const exchange of ["binance", "okx"] as const) {
  const match = exchange === "okx" ? "cancel-all-after" : "countdownCancelAll";
  const scopes = exchange === "okx" ? ["*"] : ["S00/USDT:USDT"];

  test.concurrent(`a first refresh whose reply is lost counts as armed at ${exchange}`, async () => {
    await using rig = startRig({ exchange, symbols: 1 });
    await rig.control("seed", holdings(1));
    await rig.control("fault", { kind: "dropAfter", match, times: 100 });
    const { deadman } = await look(rig, { deadman: refresh() });
    expect(Object.keys(rig.paper.state().countdowns)).toHaveLength(1);
    expect(deadman).toMatchObject({ done: false, armed: scopes });
  });

  test.concurrent(`the countdowns of ${exchange} are told before they are set`, async () => {
    await using rig = startRig({ exchange, symbols: 1 });
    await rig.control("seed", holdings(1));
    const told: unknown[] = [];
    const job: WatchJob = { version: 1, loss: null, deadman: refresh(), venue: rig.job({ venue: {} }).venue };
    await watchAccount(job, systemClock, ({ deadman }) => {
      told.push([deadman?.armed, rig.paper.state().countdowns]);
    });
    expect(told).toEqual([[scopes, {}]]);
  });
}

test.concurrent("a symbol whose orders are gone has its countdown stopped", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(1));
  const { deadman } = await look(rig, { deadman: refresh(["S01/USDT:USDT"]) });
  expect(deadman).toMatchObject({ done: true, armed: ["S00/USDT:USDT"] });
  expect(rig.paper.state().countdowns).toEqual({ S00USDT: 60_000 });
});

test.concurrent("the countdowns of many symbols are set and stopped within the time of a look though each takes 2 s", async () => {
  await using rig = startRig({ symbols: 16 });
  await rig.control("seed", holdings(16));
  await rig.control("fault", { kind: "latency", match: "countdownCancelAll", ms: 2_000, times: 32 });
  const { deadman } = await look(rig, { deadman: refresh() });
  expect(deadman).toMatchObject({ done: true, reason: null });
  expect(Object.keys(rig.paper.state().countdowns)).toHaveLength(16);
  const armed = deadman?.armed ?? [];
  const stopped = await look(rig, { deadman: { duty: "disarm", timeoutMs: 60_000, armed } });
  expect(stopped.deadman).toEqual({ done: true, armed: [], reason: null });
  expect(rig.paper.state().countdowns).toEqual({});
});

test.concurrent("watchAccount() sends no order and cancels none", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  await look(rig, { loss: { sinceMs: 0 }, deadman: refresh() });
  const posts = Object.keys(rig.paper.state().requests).filter((label) => !label.startsWith("GET "));
  expect(posts).toEqual(["POST /fapi/v1/countdownCancelAll"]);
});

test.concurrent("watchAccount() of another account than the configured one reads and arms nothing", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  const answer = await look(rig, { deadman: refresh(), venue: { uid: "somebody-else" } });
  expect(answer).toMatchObject({ exposure: null, deadman: { done: false } });
  expect(rig.paper.state().countdowns).toEqual({});
});

test.concurrent("watchAccount() adds up what the balances of a spot wallet are worth, without the quote currency", async () => {
  await using rig = startRig({ exchange: "binance-spot" });
  await rig.control("seed", { positions: [{ symbol: "BTCUSDT", side: "long", amount: 0.5 }] });
  const [held] = rig.paper.state().positions;
  expect(await look(rig)).toMatchObject({ exposure: held?.notional, trouble: null });
});

test.concurrent("watchAccount() adds up what margin wallets hold and owe beyond the other, without the quote currency", async () => {
  await using rig = startRig({ exchange: "binance-margin" });
  await rig.control("seed", {
    margin: [
      { asset: "BTC", free: 0.5, borrowed: 0.1 },
      { asset: "ETH", borrowed: 2 },
      { asset: "USDT", free: 10, borrowed: 20_000 },
    ],
  });
  expect(await look(rig)).toMatchObject({ exposure: 0.4 * 67_500 + 2 * 3_300, trouble: null });
});
