/** The close of a margin wallet by its properties: it never borrows, never turns an asset, and ends, whatever replies are lost or late. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Sent } from "../../src/core/close-budget.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import { endsChain } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { Decision, PlanPolicy } from "../../src/core/close-plan-types.ts";
import { LOT, ModelMargin, PRICE, QUOTE_DUST } from "./model-margin.ts";
import type { MarginFault, MarginReadFault } from "./model-margin.ts";

const POLICY: PlanPolicy = {
  incident: "abc123",
  run: "k3f9",
  goal: FLAT,
  scope: [],
  deadlineMs: 900_000,
  recvWindowMs: 5_000,
};
const LATENCY_MS = 30;
const MAX_STEPS = 4_000;
/** How far an answer lags behind the books at most, ms. */
const STALE_MS = 1_000;

const fault = fc.oneof(
  fc.constant<MarginFault>({ kind: "none" }),
  fc.constant<MarginFault>({ kind: "lostBefore" }),
  fc.constant<MarginFault>({ kind: "lostAfter" }),
  fc.record({ kind: fc.constant("late" as const), ms: fc.integer({ min: 1, max: 5_000 }) }),
  fc.constant<MarginFault>({ kind: "ackDropped" }),
  fc.record({ kind: fc.constant("ackLate" as const), ms: fc.integer({ min: 1, max: 2_000 }) }),
  fc.record({ kind: fc.constant("partial" as const), ratio: fc.double({ min: 0.05, max: 0.95, noNaN: true }) }),
  fc.constant<MarginFault>({ kind: "throttled" }),
  fc.constant<MarginFault>({ kind: "rejected" }),
);
const amount = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 9_000_000_000 })).map((n) => n / 1e8);
const world = fc.record({
  bases: fc.array(fc.record({ free: amount, locked: amount, debt: amount }), { maxLength: 4 }),
  quote: fc.record({ free: amount.map((n) => n * 100), debt: amount.map((n) => n * 100) }),
  faults: fc.array(fault, { maxLength: 14 }),
  readFaults: fc.array(fc.constantFrom<MarginReadFault>("none", "positions", "orders", "stale"), { maxLength: 14 }),
  failedCancels: fc.integer({ min: 0, max: 4 }),
  /** Interest of each round, as ratio. */
  interest: fc.constantFrom(0, 0, 1e-6),
  autoRepays: fc.boolean(),
  /** Moves of the price, one for each round, as ratio. */
  moves: fc.array(fc.double({ min: -0.03, max: 0.03, noNaN: true }), { maxLength: 6 }),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

function modelOf({ bases, quote, autoRepays }: World): ModelMargin {
  return new ModelMargin(
    bases.map((base, n) => ({ ...base, asset: `A${n}` })),
    quote,
    autoRepays,
  );
}

function play(script: World): { venue: ModelMargin; done: Extract<Decision, { kind: "done" }> } {
  const venue = modelOf(script);
  const faults = script.faults.values();
  const readFaults = script.readFaults.values();
  const moves = script.moves.values();
  let { failedCancels } = script;
  let state = startPlan();
  let atMs = 0;
  let lastReadMs = 0;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    venue.advance(atMs);
    const drawn = readFaults.next().value ?? "none";
    // Where nothing but time holds an order back, no wait helps against an answer of any age; after the end it looks like another's doing.
    const tooOld = drawn === "stale" && (atMs - lastReadMs > STALE_MS || state.flatAtMs !== undefined);
    const reading = venue.read(tooOld ? "none" : drawn);
    lastReadMs = atMs;
    const { state: next, decision } = decide(POLICY, state, reading, atMs);
    state = next;
    if (decision.kind === "done") {
      venue.advance(atMs + 60_000);
      return { venue, done: decision };
    }
    if (decision.kind === "wait") {
      atMs += Math.max(1, decision.ms);
      continue;
    }
    for (const { symbol } of decision.cancels) {
      venue.cancel(symbol, failedCancels <= 0);
      failedCancels -= 1;
    }
    const sent: Sent[] = [];
    for (const chain of decision.chains) {
      for (const order of chain.orders) {
        const result = venue.send(order, faults.next().value ?? { kind: "none" }, atMs);
        sent.push({ order, result, sentAtMs: atMs });
        if (endsChain(order, result)) break;
      }
    }
    state = recordRound(state, sent);
    venue.accrue(script.interest);
    venue.price *= 1 + (moves.next().value ?? 0);
    atMs += LATENCY_MS + settleMs(state);
  }
  throw new Error("the plan did not end");
}

describe("decide() of a margin wallet", () => {
  test("never borrows, never turns an asset, and ends with no loan that anything is left to repay with", () => {
    fc.assert(
      fc.property(world, (script) => {
        const { venue, done } = play(script);
        expect(venue.breaches).toEqual([]);
        expect(["flat", "residual"]).toContain(done.outcome);
        expect(venue.covered).toBeLessThan(1e-6);
        expect(venue.orders).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  test("ends flat, owing no more than dust, where the wallet is worth more than it owes", () => {
    fc.assert(
      fc.property(world, (drawn) => {
        const script = { ...drawn, moves: [] };
        // Fees of every order, the price that purchases are planned with, and dust of every asset.
        const gross = script.bases.reduce((sum, { debt }) => sum + debt * PRICE, script.quote.debt);
        fc.pre(modelOf(script).equity > gross * 0.05 + 50);
        const { venue, done } = play(script);
        expect(done).toMatchObject({ outcome: "flat" });
        expect(venue.quoteDebt).toBeLessThan(QUOTE_DUST);
        for (const net of venue.nets.values()) {
          // A debt is bought back rounded up to the lot, unless that is below the smallest order.
          expect(net).toBeGreaterThan(-(QUOTE_DUST / PRICE) - LOT);
          expect(net).toBeLessThan(QUOTE_DUST / PRICE + LOT);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("names what stays owed, and ends at once, where nothing is left to pay for it", () => {
    const { done, venue } = play({
      bases: [{ free: 0, locked: 0, debt: 2 }],
      quote: { free: 50, debt: 30 },
      faults: [],
      readFaults: [],
      failedCancels: 0,
      interest: 0,
      autoRepays: true,
      moves: [],
    });
    expect(done.outcome).toBe("residual");
    expect(done.reason).toMatch(/^1\.51\d* A0\/USDT, 29(\.\d+)? USDT stays owed/);
    expect(done.reason).toContain("transfer it in and repay by hand");
    expect(venue.sent).toBeLessThan(10);
  });
});
