/** Every fault of the paper exchange on every venue, one-way and hedged: the venue ends flat, and no position was ever turned. */
import { expect, test, vi } from "vitest";
import type { CloseReport } from "../../src/core/close-job.ts";
import { bothLegs, holdings, QUICK, quickClock, sinceUnknownMs, startRig, TIME_SLACK_MS, VENUES } from "./rig.ts";
import type { Rig } from "./rig.ts";
import { faultSchema } from "../../src/demo/exchange/faults.ts";

/** The venues of derivatives. */
type VenueName = Exclude<keyof typeof VENUES, "binance-spot" | "binance-margin" | "okx-spot">;
type Labels = (typeof VENUES)[VenueName];

interface Fault {
  readonly name: string;
  readonly faults?: (labels: Labels, venue: VenueName) => readonly object[];
  readonly settings?: object;
  /** Requests that were under way when a ban began, which the venue counts as breaches. */
  readonly underWay?: number;
  readonly check?: (report: CloseReport, rig: Rig, venue: VenueName) => void;
}

/** Refused because the service is busy, as each venue words it: nobody knows whether the order was executed. */
const BUSY: Readonly<Record<VenueName, object>> = {
  binance: { code: -1001, msg: "Internal error; unable to process your request." },
  okx: { code: 51149, msg: "Order timed out. Please try again.", status: 500 },
};

const faults: readonly Fault[] = [
  { name: "no fault", check: (report) => expect(report.errors).toEqual({}) },
  {
    name: "latency",
    faults: ({ order, positions }) => [
      { match: order, kind: "latency", ms: 300, times: 4 },
      { match: positions, kind: "latency", ms: 200, times: 2 },
    ],
  },
  {
    name: "http 503 and 500 on readings, cancels, orders and markets",
    faults: ({ order, positions, orders, cancel, markets }) => [
      { match: markets, kind: "http", status: 503, times: 1 },
      { match: positions, kind: "http", status: 503, times: 1 },
      { match: orders, kind: "http", status: 503, times: 1 },
      { match: cancel, kind: "http", status: 500, times: 3 },
      { match: order, kind: "http", status: 503, times: 3 },
    ],
  },
  {
    name: "a code that leaves the order's fate open",
    faults: ({ order }, venue) => [{ match: order, kind: "apiCode", times: 3, ...BUSY[venue] }],
    check: (report) => expect(report.errors["unknown"]).toBeGreaterThanOrEqual(3),
  },
  { name: "connections that die before", faults: ({ order }) => [{ match: order, kind: "dropBefore", times: 5 }] },
  {
    name: "replies that are lost after the order was accepted",
    faults: ({ order }) => [{ match: order, kind: "dropAfter", times: 3 }],
    check: (report) => expect(sinceUnknownMs(report)).toBeGreaterThan(7_000 - TIME_SLACK_MS),
  },
  { name: "late execution", faults: ({ order }) => [{ match: order, kind: "late", times: 3, ms: 150 }] },
  { name: "a stalled body", faults: ({ order }) => [{ match: order, kind: "stallBody", times: 2 }] },
  {
    name: "HTML with status 200",
    faults: ({ order, positions }) => [
      { match: order, kind: "garbage", times: 3 },
      { match: positions, kind: "garbage", times: 1 },
    ],
  },
  {
    name: "partial fills",
    faults: ({ order }) => [{ match: order, kind: "partial", times: 6, ratio: 0.5 }],
  },
  {
    name: "refused reduce-only orders",
    faults: ({ order }) => [{ match: order, kind: "rejectReduceOnly", times: 6 }],
    check: (report) => expect(report.errors).toMatchObject({ "rejected:reduceOnly": 6 }),
  },
  {
    name: "a rate limit",
    faults: ({ order, positions }) => [
      { match: order, kind: "rateLimit", times: 2, retryAfterSeconds: 1 },
      { match: positions, kind: "rateLimit", times: 1, retryAfterSeconds: 1 },
    ],
    check: (report) => expect(report.errors["throttled"]).toBeGreaterThanOrEqual(3),
  },
  {
    name: "a ban of the address",
    faults: ({ positions }) => [{ match: positions, kind: "ban", after: 1, seconds: 1 }],
    // One reading: positions, orders and six listings of conditional orders.
    underWay: 8,
  },
  { name: "a clock that is behind", settings: { skewMs: -45_000 } },
  { name: "a clock that is ahead", settings: { skewMs: 45_000 } },
];

const venues: readonly VenueName[] = ["binance", "okx"];

test("the faults of this file are all that the paper exchange knows, and a clock that is wrong", () => {
  const kinds = venues.map((venue) =>
    [...new Set(faults.flatMap(({ faults: made }) => (made?.(VENUES[venue], venue) ?? []).map(kindOf)))].toSorted(),
  );
  // An order at the market rests nowhere that a cancel could cross its fill.
  const kindsOfMarket = faultSchema.options.map(({ shape }) => shape.kind.value).filter((kind) => kind !== "crossed");
  const known = kindsOfMarket.toSorted();
  expect(kinds).toEqual(venues.map(() => known));
  expect(faults.flatMap(({ settings }) => settings ?? [])).toEqual([{ skewMs: -45_000 }, { skewMs: 45_000 }]);
});

function kindOf(fault: object): string {
  return String(Reflect.get(fault, "kind"));
}

// Nearly all of the time is waiting: for the quiet period, and for what the faults keep back.
vi.setConfig({ maxConcurrency: 20 });

const rows = venues.flatMap((venue) =>
  [false, true].flatMap((hedge) =>
    faults.map((fault) => ({ venue, hedge, mode: hedge ? "hedged" : "one-way", fault, name: fault.name })),
  ),
);

test.concurrent.each(rows)(
  "closePositions() ends flat on $venue, $mode, with $name",
  async ({ venue, hedge, fault }) => {
    await using rig = startRig({ exchange: venue, symbols: 4, speed: QUICK });
    if (hedge) await rig.control("set", { hedge });
    await rig.control("seed", hedge ? bothLegs(3) : holdings(4));
    if (fault.settings !== undefined) await rig.control("set", fault.settings);
    for (const each of fault.faults?.(VENUES[venue], venue) ?? []) await rig.control("fault", each);
    const report = await rig.close({}, { clock: quickClock });
    expect(report).toMatchObject({ outcome: "flat", verified: true, foreign: [] });
    fault.check?.(report, rig, venue);
    // The venue itself holds nothing, no fill turned a position, and no rule of the venue was broken.
    const { violations, ...state } = rig.paper.state();
    expect(state).toMatchObject({ flat: true, flips: [], faults: [] });
    expect(violations.slice(fault.underWay ?? 0)).toEqual([]);
  },
);
