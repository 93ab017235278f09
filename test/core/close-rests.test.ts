/** Orders at the touch: which of what a venue lists is ours, and what is known of one whose reply was lost. */
import { describe, expect, test } from "vitest";
import { FLAT } from "../../src/core/close-goal.ts";
import { startPlan } from "../../src/core/close-plan.ts";
import { settleRests, withoutResting, type Rest } from "../../src/core/close-rests.ts";
import type { OpenOrder } from "../../src/core/close-orders.ts";

const KEY = "BTC/USDT:USDT long";
const REST: Rest = {
  id: "svabc123run0010001",
  venueId: "V1",
  symbol: "BTC/USDT:USDT",
  positionSide: "long",
  heldAmount: 1,
  sentAtMs: 0,
  untilMs: 3_000,
  cancelledAtMs: undefined,
  missing: false,
  overdue: false,
};
const listed = (fields: Partial<OpenOrder>): OpenOrder => ({
  id: "V1",
  clientId: REST.id,
  symbol: REST.symbol,
  reduceOnly: true,
  ...fields,
});
const rests = (rest: Rest) => ({ pending: new Map([[KEY, rest]]), tries: new Map() });

describe("withoutResting()", () => {
  test.each([
    ["by both ids", listed({})],
    ["by the venue's id where the venue shows none of a client", listed({ clientId: undefined })],
    [
      "by the venue's id where the venue shows an id of its own in the place of ours",
      listed({ clientId: "x-made-up" }),
    ],
    ["by our id where the venue's is not the one of the reply", listed({ id: "V2" })],
  ])("knows what rests %s, and leaves it", (_, order) => {
    expect(withoutResting(rests(REST), [order], new Set([KEY]), 1_000)).toEqual([]);
  });

  test("takes an order of another for what it is", () => {
    const other = listed({ id: "V2", clientId: "x-made-up" });
    expect(withoutResting(rests(REST), [other], new Set([KEY]), 1_000)).toEqual([other]);
  });
});

test("settleRests() takes the venue's id of an order whose reply was lost from the listing that shows it", () => {
  const state = { ...startPlan(), rests: rests({ ...REST, venueId: undefined }) };
  const reading = { positions: [], orders: [listed({ id: "V7" })], triggers: [], failures: [] };
  const settled = settleRests({ goal: FLAT }, state, reading, { readFromMs: 100, lateMs: 7_000 });
  expect(settled.rests.pending.get(KEY)).toMatchObject({ venueId: "V7", missing: false });
});
