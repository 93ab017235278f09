/** Closes that leave positions open on purpose, against both paper exchanges: only what was asked for is gone, whatever replies are lost. */
import { expect, test, vi } from "vitest";
import type { CloseGoal } from "../../src/core/close-goal.ts";
import { bothLegs, holdings, QUICK, quickClock, startRig, VENUES } from "./rig.ts";

vi.setConfig({ maxConcurrency: 12 });

const venues = ["binance", "okx"] as const;
const modes = venues.flatMap((venue) =>
  [false, true].map((hedge) => ({ venue, hedge, mode: hedge ? "hedged" : "one-way" })),
);

test.concurrent.each(modes)(
  "closePositions() on $venue, $mode, only cancels, and keeps the stops of open positions",
  async ({ venue, hedge }) => {
    await using rig = startRig({ exchange: venue, symbols: 3, speed: QUICK });
    if (hedge) await rig.control("set", { hedge });
    await rig.control("seed", hedge ? bothLegs(3) : holdings(3));
    const before = rig.paper.state();
    await rig.control("fault", { match: VENUES[venue].cancel, kind: "http", status: 500, times: 2 });
    const report = await rig.close({ goal: { kind: "cancel" } }, { clock: quickClock });
    expect(report).toMatchObject({ outcome: "cancelled", verified: true, goal: { kind: "cancel" }, orders: [] });
    const { orders, algoOrders, positions, fills, violations } = rig.paper.state();
    expect({ orders, fills, violations }).toEqual({ orders: [], fills: [], violations: [] });
    expect(algoOrders).toHaveLength(3);
    expect(positions).toEqual(before.positions);
  },
);

const faults = [
  { name: "no fault", fault: undefined },
  { name: "replies that are lost after the order was accepted", fault: { kind: "dropAfter", times: 2 } },
  { name: "connections that die before", fault: { kind: "dropBefore", times: 2 } },
  { name: "late execution", fault: { kind: "late", times: 2, ms: 400 } },
  { name: "partial fills", fault: { kind: "partial", times: 3, ratio: 0.5 } },
];
const rows = modes.flatMap((mode) => faults.map((fault) => ({ ...mode, ...fault })));

test.concurrent.each(rows)(
  "closePositions() on $venue, $mode, reduces to the asked exposure with $name, and not by an order twice",
  async ({ venue, hedge, fault }) => {
    await using rig = startRig({ exchange: venue, symbols: 3, speed: QUICK });
    if (hedge) await rig.control("set", { hedge });
    await rig.control("seed", hedge ? bothLegs(3, 40) : holdings(3, 40));
    const exposure = (): number => rig.paper.state().positions.reduce((sum, { notional }) => sum + notional, 0);
    const asked = Math.round(exposure() * 0.4);
    const largestLot = Math.max(...rig.paper.state().positions.map(({ amount, notional }) => notional / amount));
    if (fault !== undefined) await rig.control("fault", { match: VENUES[venue].order, ...fault });
    const goal: CloseGoal = { kind: "reduce", exposure: asked };
    const report = await rig.close({ goal }, { clock: quickClock });
    expect(report).toMatchObject({ outcome: "reduced", verified: true, goal });
    expect(exposure()).toBeLessThanOrEqual(asked * 1.005);
    expect(exposure()).toBeGreaterThanOrEqual(asked - largestLot);
    expect(rig.paper.state()).toMatchObject({ orders: [], flips: [], violations: [] });
    expect(rig.paper.state().positions).toHaveLength(hedge ? 6 : 3);
  },
);

test.concurrent("closePositions() in mode plan names the parts that a reduction would close, and sends nothing", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2, 10));
  // Two positions of 10 at 20 and at 21.
  const report = await rig.close({ mode: "plan", goal: { kind: "reduce", exposure: 205 } });
  expect(report).toMatchObject({ outcome: "planNotEmpty", planned: { orders: 2 } });
  expect(report.planned?.positions.map(({ symbol, amount }) => [symbol, amount])).toEqual([
    ["S01/USDT:USDT", 5],
    ["S00/USDT:USDT", 5],
  ]);
  expect(await rig.close({ mode: "plan", goal: { kind: "reduce", exposure: 10_000 } })).toMatchObject({
    outcome: "planNotEmpty",
    planned: { positions: [], orders: 2 },
    next: expect.stringMatching(/close \S+ --reduce-to 10000 --yes --account main$/) as unknown,
  });
  expect(Object.keys(rig.paper.state().requests).filter((name) => !name.startsWith("GET "))).toEqual([]);
});

test.concurrent.each<CloseGoal>([{ kind: "reduce", exposure: 100 }, { kind: "cancel" }])(
  "closePositions() of an account in which nothing is open ends flat, whatever less was asked for ($kind)",
  async (goal) => {
    await using rig = startRig({ symbols: 2 });
    const planned = await rig.close({ mode: "plan", goal });
    expect(planned).toMatchObject({ outcome: "flat", next: "nothing is open: there is nothing to do" });
    expect(await rig.close({ goal }, { clock: quickClock })).toMatchObject({ outcome: "flat", verified: true, goal });
  },
);

test.concurrent("closePositions() reports the goals of all runs of an incident where they are not the same", async () => {
  await using rig = startRig({ symbols: 1, speed: QUICK });
  await rig.control("seed", holdings(1));
  expect(await rig.close({ goal: { kind: "cancel" } }, { clock: quickClock })).not.toHaveProperty("goals");
  const report = await rig.close({}, { clock: quickClock });
  expect(report).toMatchObject({ outcome: "flat", goals: [{ kind: "cancel" }, { kind: "flat" }] });
});
