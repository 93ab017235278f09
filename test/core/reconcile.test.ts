/** Books against account: rows for the rules, and what must hold whatever is saved and held. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SavedPosition } from "../../src/core/books.ts";
import {
  judgeLimits,
  reconcile,
  type Books,
  type Held,
  type Reconciliation,
  type RestingOrder,
  type VenuePosition,
} from "../../src/core/reconcile.ts";

const NOW = 1_700_000_000_000;
const POLICY = { account: "main", isOwn: (id: string) => id.startsWith("sv-"), stopRatio: 0.02 };
const STEP = 0.001;

function saved(id: string, quantity: string, extra: Partial<SavedPosition> = {}): SavedPosition {
  const at = { entryTime: NOW - 1_000, updatedAt: NOW - 1_000 };
  const prices = { entryPrice: "100", currentPrice: null, stopLoss: "95", takeProfit: null };
  const plain = { account: "main", symbol: "A", side: "long", status: "open", source: "bot", extra: null } as const;
  return { id, quantity, ...plain, ...prices, ...at, ...extra };
}

function held(amount: number, extra: Partial<VenuePosition> = {}): VenuePosition {
  const rules = { minAmount: STEP, stepAmount: STEP, stepPrice: 0.1 };
  return {
    symbol: "A",
    side: "long",
    amount,
    entryPrice: 100,
    markPrice: 101,
    notional: amount * 101,
    rules,
    ...extra,
  };
}

function stop(remaining: number | undefined, extra: Partial<RestingOrder> = {}): RestingOrder {
  return {
    id: "9",
    clientOrderId: undefined,
    symbol: "A",
    side: "sell",
    reduceOnly: true,
    remaining,
    stopPrice: 95,
    ...extra,
  };
}

function compared(books: Partial<Books>, account: Partial<Held>): Reconciliation {
  return reconcile({ positions: [], orders: [], ...books }, { positions: [], orders: [], ...account }, POLICY, NOW);
}

const kinds = ({ findings }: Reconciliation): string[] => findings.map(({ kind }) => kind);

test("reconcile() changes nothing where the amounts differ by no more than a lot", () => {
  for (const amount of [0.5, 0.499, 0.501]) {
    const found = compared(
      { positions: [saved("p", "0.5")] },
      { positions: [held(amount)], orders: [stop(undefined)] },
    );
    expect([found.changes, found.stops, kinds(found)]).toEqual([[], [], ["stranger"]]);
  }
});

test.each([
  ["all of it", "0.5", undefined, NOW, "closed"],
  ["a part of it", "0.5", 0.2, NOW, "closed"],
  ["more than that close took", "0.9", undefined, NOW, "gone"],
  ["more of a part than that close took", "0.9", 0.2, NOW, "mismatch"],
  ["a position that was changed after it", "0.5", undefined, NOW - 2_000, "gone"],
] as const)("reconcile() tells a close by the supervisor from a stranger's: %s", (_, quantity, left, endedAt, kind) => {
  const close = {
    incident: "i1",
    trigger: "operator",
    startedAt: NOW - 60_000,
    endedAt,
    outcome: "flat",
    positions: [{ symbol: "A", side: "long", amount: 0.5 }],
  } as const;
  const positions = left === undefined ? [] : [held(left)];
  const orders = left === undefined ? [] : [stop(undefined, { clientOrderId: "sv-1" })];
  const books = { positions: [saved("p", quantity)], orders: [] };
  const found = reconcile(books, { positions, orders }, { ...POLICY, closes: [close] }, NOW);
  const [finding] = found.findings;
  expect([finding?.kind, finding?.text.includes("(incident i1)")]).toEqual([kind, kind === "closed"]);
  expect(found.changes).toHaveLength(1);
});

test("reconcile() lays no position on a close that took only as much as another of the same side", () => {
  const close = {
    incident: "i1",
    trigger: "operator",
    startedAt: NOW - 60_000,
    endedAt: NOW,
    outcome: "flat",
  } as const;
  const closes = [{ ...close, positions: [{ symbol: "A", side: "long", amount: 0.5 }] as const }];
  const books = { positions: [saved("p", "0.5"), saved("q", "0.5")], orders: [] };
  const found = reconcile(books, { positions: [], orders: [] }, { ...POLICY, closes }, NOW);
  expect(kinds(found)).toEqual(["gone", "gone"]);
});

test("reconcile() takes less than was saved from the newest position first", () => {
  const positions = [saved("old", "0.3", { entryTime: 1 }), saved("new", "0.2", { entryTime: 2 })];
  const found = compared({ positions }, { positions: [held(0.25)], orders: [stop(undefined)] });
  expect(found.changes.map(({ id, quantity, status }) => [id, quantity, status])).toEqual([
    ["new", "0", "closed"],
    ["old", "0.25", "open"],
  ]);
  expect(kinds(found)).toContain("mismatch");
});

test("reconcile() takes more than was saved over as an orphan, and a position that nobody saved", () => {
  const more = compared({ positions: [saved("p", "0.5")] }, { positions: [held(0.7)], orders: [stop(undefined)] });
  expect(more.changes).toMatchObject([{ status: "orphan", quantity: "0.2", source: "venue" }]);
  const alone = compared({}, { positions: [held(0.4)], orders: [stop(undefined)] });
  expect(alone.changes).toMatchObject([{ status: "orphan", quantity: "0.4", entryPrice: "100" }]);
  expect(kinds(alone)).toContain("orphan");
});

test("reconcile() closes what is not held any more", () => {
  const found = compared({ positions: [saved("p", "0.5")] }, {});
  expect(found.changes).toMatchObject([{ id: "p", status: "closed", quantity: "0" }]);
  expect(kinds(found)).toEqual(["gone"]);
});

test.each([
  { what: "the saved price", positions: [saved("p", "0.5")], stopPrice: 95 },
  { what: "the policy's distance, rounded away", positions: [saved("p", "0.5", { stopLoss: null })], stopPrice: 98 },
])("reconcile() makes up a missing stop at $what", ({ positions, stopPrice }) => {
  const found = compared({ positions }, { positions: [held(0.5)] });
  expect(found.stops).toEqual([{ positionId: "p", symbol: "A", side: "long", amount: 0.5, stopPrice, late: false }]);
});

test("reconcile() makes up only what the stops at the venue do not cover", () => {
  const found = compared({ positions: [saved("p", "0.5")] }, { positions: [held(0.5)], orders: [stop(0.2)] });
  expect(found.stops).toMatchObject([{ amount: 0.3 }]);
});

test.each([
  { what: "adds to a position", order: stop(0.5, { reduceOnly: false }) },
  { what: "is of the other side", order: stop(0.5, { side: "buy" }) },
  { what: "is no stop", order: stop(0.5, { stopPrice: undefined }) },
])("reconcile() counts no order for a stop that $what", ({ order }) => {
  const found = compared({ positions: [saved("p", "0.5")] }, { positions: [held(0.5)], orders: [order] });
  expect(found.stops).toMatchObject([{ amount: 0.5 }]);
});

test("reconcile() says that the price is beyond a stop already", () => {
  const short = held(0.5, { side: "short", markPrice: 106 });
  const found = compared(
    { positions: [saved("p", "0.5", { side: "short", stopLoss: "105" })] },
    { positions: [short] },
  );
  expect(found.stops).toMatchObject([{ late: true, stopPrice: 105 }]);
});

test("reconcile() invents no stop without a price to go by", () => {
  const found = compared({}, { positions: [held(0.5, { entryPrice: undefined })] });
  expect([found.stops, kinds(found)]).toEqual([[], ["orphan", "unprotected"]]);
});

test("reconcile() tells orders of its own that are not in the books from strangers, and lists those that do not rest", () => {
  const intent = { clientOrderId: "sv-1", name: "x", action: "open", symbol: "A", side: "buy", type: "limit" } as const;
  const rest = { reduceOnly: false, quantity: "1", price: "1", positionId: null, createdAt: 1 };
  const orders = [
    stop(1, { clientOrderId: "sv-2", stopPrice: undefined }),
    stop(1, { clientOrderId: "web-7", stopPrice: undefined }),
  ];
  const found = compared({ orders: [{ intent: { ...intent, ...rest }, outcome: null }] }, { orders });
  expect(kinds(found)).toEqual(["unknownOrder", "stranger"]);
  expect(found.missingOrders.map((each) => each.intent.clientOrderId)).toEqual(["sv-1"]);
});

const lots = fc.integer({ min: 1, max: 5_000 });
const symbol = fc.constantFrom("A", "B", "C");
const side = fc.constantFrom("long" as const, "short" as const);
const books = fc.array(
  fc.record({ symbol, side, lots, at: fc.integer({ min: 0, max: 9 }) }).map(({ lots: n, at, ...rest }, ...ids) => {
    return saved(`p${ids.length}`, String(Number((n * STEP).toPrecision(12))), { ...rest, entryTime: at });
  }),
  { maxLength: 8 },
);
const account = fc.uniqueArray(
  fc.record({ symbol, side, lots }).map(({ lots: n, ...rest }) => held(Number((n * STEP).toPrecision(12)), rest)),
  { maxLength: 6, selector: (position) => `${position.symbol} ${position.side}` },
);

/** The books after the changes. */
function after(before: readonly SavedPosition[], { changes }: Reconciliation): SavedPosition[] {
  const changed = new Set(changes.map(({ id }) => id));
  return [...before.filter(({ id }) => !changed.has(id)), ...changes].filter(({ status }) => status !== "closed");
}

test("reconcile() brings the books to what is held, within a lot, whatever they say; a second time it changes nothing", () => {
  fc.assert(
    fc.property(books, account, (unnamed, positions) => {
      const before = unnamed.map((position, n) => ({ ...position, id: `p${n}` }));
      const found = compared({ positions: before }, { positions });
      const now = after(before, found);
      for (const venue of positions) {
        const total = now
          .filter((each) => each.symbol === venue.symbol && each.side === venue.side)
          .reduce((sum, { quantity }) => sum + Number(quantity), 0);
        expect(Math.abs(total - venue.amount)).toBeLessThanOrEqual(STEP * 1.001);
      }
      const strays = now.filter(
        (each) => !positions.some((venue) => venue.symbol === each.symbol && venue.side === each.side),
      );
      expect(strays).toEqual([]);
      expect(compared({ positions: now }, { positions }).changes).toEqual([]);
    }),
  );
});

test("reconcile() leaves nothing that is held without a stop, at the venue or in its list", () => {
  fc.assert(
    fc.property(books, account, fc.array(lots, { maxLength: 3 }), (before, positions, covered) => {
      const orders = covered.flatMap((n, at) => {
        const venue = positions[at];
        const away = venue?.side === "long" ? "sell" : "buy";
        return venue === undefined ? [] : [stop(n * STEP, { symbol: venue.symbol, side: away })];
      });
      const { stops } = compared({ positions: before }, { positions, orders });
      for (const venue of positions) {
        const ours = (each: { symbol: string }): boolean => each.symbol === venue.symbol;
        const resting = orders
          .filter((order) => ours(order) && order.side === (venue.side === "long" ? "sell" : "buy"))
          .reduce((sum, { remaining }) => sum + (remaining ?? 0), 0);
        const made = stops
          .filter((each) => ours(each) && each.side === venue.side)
          .reduce((sum, { amount }) => sum + amount, 0);
        expect(resting + made).toBeGreaterThanOrEqual(venue.amount - STEP * 1.001);
      }
    }),
  );
});

test.each([
  { what: "too much exposure", equity: 1_000, notional: 106, expected: [["limit:exposure", "minimal"]] },
  { what: "exposure at its limit", equity: 1_000, notional: 105, expected: [["limit:exposure", "normal"]] },
  {
    what: "too great a loss",
    equity: 949,
    notional: 1,
    expected: [
      ["limit:exposure", "normal"],
      ["limit:dailyLoss", "emergency"],
    ],
  },
  { what: "an equity and a value that could not be read", equity: undefined, notional: undefined, expected: [] },
])("judgeLimits() of $what", ({ equity, notional, expected }) => {
  const dayStart = { day: 1, equity: 1_000, atMs: 0 };
  const reading = { positions: [{ notional }], equity, dayStart, transfers: 0 };
  const proposals = judgeLimits({ maxExposure: 100, maxDailyLoss: "5%" }, reading, 1);
  expect(proposals.map(({ source, level }) => [source, level])).toEqual(expected);
});
