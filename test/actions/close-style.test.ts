/** Closes for a limit that wait at the touch first, against both paper exchanges: at the goal in the end, and no position turned. */
import { expect, test, vi } from "vitest";
import { REACHED_RATIO } from "../../src/core/close-excess.ts";
import type { CloseGoal } from "../../src/core/close-goal.ts";
import type { CloseJob, CloseReport } from "../../src/core/close-job.ts";
import { bothLegs, holdings, QUICK, quickClock, startRig, VENUES } from "./rig.ts";
import type { Rig } from "./rig.ts";

vi.setConfig({ maxConcurrency: 12 });

const LIMIT: Pick<CloseJob, "style" | "trigger"> = { style: "limit-then-market", trigger: "dailyLoss" };
const venues = ["binance", "okx"] as const;
type VenueName = (typeof venues)[number];
const modes = venues.flatMap((venue) =>
  [false, true].map((hedge) => ({ venue, hedge, mode: hedge ? "hedged" : "one-way" })),
);

interface Row {
  readonly name: string;
  readonly settings?: object;
  readonly faults?: (labels: (typeof VENUES)[VenueName]) => readonly object[];
  /** The price comes to the orders that wait. */
  readonly comes?: number;
  readonly check?: (report: CloseReport) => void;
}

const waited = ({ orders }: CloseReport) => orders.filter(({ restedAt }) => restedAt !== undefined);

const rows: readonly Row[] = [
  {
    name: "no fill",
    check: (report) => {
      const bySymbol = Map.groupBy(waited(report), ({ symbol, positionSide }) => `${symbol} ${positionSide}`);
      expect([...bySymbol.values()].every((orders) => orders.length === 3)).toBe(true);
      expect(waited(report).every(({ outcome, filled }) => outcome === "accepted" && filled === 0)).toBe(true);
    },
  },
  {
    name: "a fill in full",
    comes: 1,
    check: (report) => expect(waited(report).some(({ filled, amount }) => filled === amount)).toBe(true),
  },
  {
    name: "fills in part",
    comes: 0.4,
    check: (report) => expect(waited(report).some(({ filled = 0 }) => filled > 0)).toBe(true),
  },
  {
    name: "cancels that cross a fill",
    faults: ({ cancel }) => [{ match: cancel, kind: "crossed", ratio: 0.5, times: 6, after: 2 }],
  },
  {
    name: "cancels whose replies are lost",
    faults: ({ cancel }) => [{ match: cancel, kind: "dropAfter", times: 6 }],
  },
  {
    name: "cancels that do not arrive",
    faults: ({ cancel }) => [{ match: cancel, kind: "dropBefore", times: 6 }],
  },
  {
    name: "orders whose replies are lost",
    faults: ({ order }) => [{ match: order, kind: "dropAfter", times: 3 }],
  },
  {
    name: "orders that arrive late",
    faults: ({ order }) => [{ match: order, kind: "late", times: 3, ms: 1_200 }],
  },
  {
    name: "orders that are refused",
    faults: ({ order }) => [{ match: order, kind: "rejectReduceOnly", times: 3 }],
  },
];
const table = modes.flatMap((mode) => rows.map((row) => ({ ...mode, ...row })));

/** Where parts are to go, each venue in the mode of which it has most to say: OKX holds no closing order to a leg. */
const cuts = table.filter(({ venue, hedge }) => hedge === (venue === "okx"));

type Price = [symbol: string, price: number];
/** Every price that a symbol had, by symbol. */
type Prices = Map<string, Price[]>;

const markPrices = (rig: Rig): Price[] =>
  rig.paper.state().positions.map(({ symbol, markPrice }): Price => [symbol, markPrice]);

/** What is left, in USDT, at the lowest and at the highest prices that were: a close looks at prices which are others a moment later. */
function exposures(rig: Rig, prices: Prices): { lowest: number; highest: number } {
  const at = (choose: (...all: number[]) => number): number =>
    rig.paper.state().positions.reduce((sum, { symbol, notional, markPrice }) => {
      const all = (prices.get(symbol) ?? []).map(([, price]) => price);
      return sum + (notional / markPrice) * choose(markPrice, ...all);
    }, 0);
  return { lowest: at(Math.min), highest: at(Math.max) };
}

/** Moves every price to the orders of the close that wait, and nothing else moves one. Ends with the prices that were. */
function move(rig: Rig, ratio: number): () => Promise<Prices> {
  const seeded = new Set(rig.paper.state().orders.map(({ orderId }) => orderId));
  const prices: Prices = Map.groupBy(markPrices(rig), ([symbol]) => symbol);
  const over = new AbortController();
  const going = (async () => {
    await rig.control("set", { restingFill: ratio });
    while (!over.signal.aborted) {
      const waiting = rig.paper.state().orders.filter(({ orderId, reduceOnly }) => reduceOnly && !seeded.has(orderId));
      const next = waiting.map(({ symbol, price }): Price => [symbol, price]);
      for (const price of next) prices.get(price[0])?.push(price);
      // Safe: each step follows the one before.
      // oxlint-disable-next-line no-await-in-loop
      await rig.control("set", { prices: Object.fromEntries(next) });
      // Safe: the pace of a market, not a wait for anything.
      // oxlint-disable-next-line no-await-in-loop
      await Bun.sleep(50);
    }
  })();
  return async () => {
    over.abort();
    await going;
    return prices;
  };
}

async function prepare(
  rig: Rig,
  { hedge, settings, faults }: Row & { readonly hedge: boolean },
  venue: VenueName,
): Promise<void> {
  if (hedge) await rig.control("set", { hedge });
  await rig.control("seed", hedge ? bothLegs(3, 20) : holdings(3, 20));
  if (settings !== undefined) await rig.control("set", settings);
  for (const fault of faults?.(VENUES[venue]) ?? []) await rig.control("fault", fault);
}

test.concurrent.each(table)(
  "closePositions() on $venue, $mode, that waits at the touch ends flat with $name",
  async (row) => {
    await using rig = startRig({ exchange: row.venue, symbols: 3, speed: QUICK });
    await prepare(rig, row, row.venue);
    const still = row.comes === undefined ? undefined : move(rig, row.comes);
    const report = await rig.close(LIMIT, { clock: quickClock });
    await still?.();
    expect(report.reason).toMatch(/^the venue shows no position/);
    expect(report).toMatchObject({ outcome: "flat", verified: true, style: "limit-then-market" });
    expect(rig.paper.state()).toMatchObject({ flat: true, flips: [] });
    expect(waited(report).length).toBeGreaterThan(0);
    row.check?.(report);
  },
);

test.concurrent.each(cuts)(
  "closePositions() on $venue, $mode, that waits at the touch reduces to the asked exposure with $name, and not by an order twice",
  async (row) => {
    await using rig = startRig({ exchange: row.venue, symbols: 3, speed: QUICK });
    await prepare(rig, row, row.venue);
    const atStart = rig.paper.state().positions.reduce((sum, { notional }) => sum + notional, 0);
    const asked = Math.round(atStart * 0.4);
    const largestLot = Math.max(...rig.paper.state().positions.map(({ amount, notional }) => notional / amount));
    const still = row.comes === undefined ? undefined : move(rig, row.comes);
    const goal: CloseGoal = { kind: "reduce", exposure: asked };
    const report = await rig.close({ ...LIMIT, trigger: "exposure", goal }, { clock: quickClock });
    const { lowest, highest } = exposures(rig, (await still?.()) ?? new Map());
    expect(report.reason).toMatch(/as asked$/);
    expect(report).toMatchObject({ outcome: "reduced", verified: true, style: "limit-then-market" });
    expect(lowest).toBeLessThanOrEqual(asked * REACHED_RATIO);
    expect(highest).toBeGreaterThanOrEqual(asked - largestLot);
    expect(rig.paper.state()).toMatchObject({ orders: [], flips: [] });
    expect(waited(report).length).toBeGreaterThan(0);
  },
);

const others = ["giveUp", "closeAfter", "operator", "probe", "file", "signal", "environment"] as const;
test.concurrent.each(others)(
  "closePositions() for the trigger %s waits for no price, whatever the config says",
  async (trigger) => {
    await using rig = startRig({ symbols: 2, speed: QUICK });
    await rig.control("seed", holdings(2));
    const report = await rig.close({ style: "limit-then-market", trigger }, { clock: quickClock });
    expect(report.outcome).toBe("flat");
    expect(report.style).toBeUndefined();
    expect(waited(report)).toEqual([]);
    expect(report.orders).toHaveLength(2);
  },
);
