/** Properties of the close plan against a model venue: it never opens or turns a position, and ends flat when the venue answers in the end. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endsChain } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { PlanPolicy } from "../../src/core/close-plan.ts";
import type { Sent } from "../../src/core/close-budget.ts";
import { ModelVenue } from "./model-venue.ts";
import type { Leg, OrderFault, ReadFault } from "./model-venue.ts";

const POLICY: PlanPolicy = { incident: "abc123", run: "run001", scope: [], deadlineMs: 300_000, recvWindowMs: 5_000 };
/** A venue executes nothing after recvWindow; the engine's queue adds a little. */
const MAX_LATE_MS = 6_500;
const LATENCY_MS = 15;
/** Rounds and waits within 300 s are far fewer; more means that the plan does not end. */
const MAX_STEPS = 20_000;

const lateMs = fc.integer({ min: 1, max: MAX_LATE_MS });
const orderFault: fc.Arbitrary<OrderFault> = fc.oneof(
  fc.constant<OrderFault>({ kind: "none" }),
  fc.record({ kind: fc.constant("partial" as const), ratio: fc.double({ min: 0.01, max: 0.99, noNaN: true }) }),
  fc.constant<OrderFault>({ kind: "lostBefore" }),
  fc.constant<OrderFault>({ kind: "lostAfter" }),
  fc.record({ kind: fc.constant("late" as const), ms: lateMs }),
  fc.record({ kind: fc.constant("twice" as const), ms: lateMs }),
  fc.constant<OrderFault>({ kind: "throttled" }),
  fc.constant<OrderFault>({ kind: "clock" }),
  fc.record({
    kind: fc.constant("rejected" as const),
    why: fc.constantFrom("size" as const, "band" as const, "reduceOnly" as const, "other" as const),
  }),
);
const readFault = fc.constantFrom<ReadFault>("none", "all", "positions", "orders", "triggers", "stale");

const world = fc.record({
  hedge: fc.boolean(),
  acknowledgesOnly: fc.boolean(),
  legs: fc
    .array(
      fc.record({
        amount: fc.integer({ min: 1, max: 100 }),
        long: fc.boolean(),
        maxShare: fc.constantFrom(0, 0, 2, 3),
        band: fc.constantFrom(0, 0, 0.004, 0.05),
      }),
      { minLength: 0, maxLength: 4 },
    )
    .map((legs) =>
      legs.map(({ amount, long, maxShare, band }, n): Leg => {
        const hiddenMax = maxShare === 0 ? 0 : Math.ceil(amount / maxShare);
        return { symbol: `S${n}`, amount: long ? amount : -amount, hiddenMax, band };
      }),
    ),
  orderFaults: fc.array(orderFault, { maxLength: 14 }),
  readFaults: fc.array(readFault, { maxLength: 20 }),
  failedCancels: fc.integer({ min: 0, max: 8 }),
  /** Orders of a round arrive at the venue in any order of the chains. */
  shuffle: fc.integer({ min: 0, max: 3 }),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

interface Outage {
  readonly untilMs: number;
  /** The venue executes what it does not answer. */
  readonly executes: boolean;
}

interface Run {
  readonly venue: ModelVenue;
  readonly outcome: string;
  readonly maxOrders: number;
  readonly chainBreaches: string[];
}

/** While the outage lasts every order is lost. */
function play(script: World, policy: PlanPolicy = POLICY, outage: Outage = { untilMs: 0, executes: false }): Run {
  const venue = new ModelVenue(script.hedge, script.legs, script.acknowledgesOnly);
  const orderFaults = script.orderFaults.values();
  const readFaults = script.readFaults.values();
  let { failedCancels } = script;
  const chainBreaches: string[] = [];
  let state = startPlan();
  let atMs = 0;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    venue.advance(atMs);
    const reading = venue.read(readFaults.next().value ?? "none");
    const { state: next, decision } = decide(policy, state, reading, atMs);
    state = next;
    if (decision.kind === "done") {
      venue.advance(atMs + 60_000);
      return { venue, outcome: decision.outcome, maxOrders: state.allowance.max, chainBreaches };
    }
    if (decision.kind === "wait") {
      atMs += Math.max(1, decision.ms);
      continue;
    }
    const cancel = (symbol: string, trigger: boolean): void => {
      venue.cancel(symbol, trigger, failedCancels <= 0);
      failedCancels -= 1;
    };
    for (const { symbol, trigger } of decision.cancels) cancel(symbol, trigger);
    const chains = [...decision.chains.slice(script.shuffle), ...decision.chains.slice(0, script.shuffle)];
    const sent: Sent[] = [];
    for (const chain of chains) {
      const position = reading.positions?.find(
        ({ symbol, side }) => symbol === chain.symbol && side === chain.orders[0]?.positionSide,
      );
      const sum = chain.orders.reduce((total, order) => total + order.amount, 0);
      if (position === undefined || sum > position.amount) chainBreaches.push(`${chain.symbol}: ${sum}`);
      if (chain.cancelFirst.length > 0) cancel(chain.symbol, false);
      for (const order of chain.orders) {
        const lost: OrderFault = { kind: outage.executes ? "lostAfter" : "lostBefore" };
        const fault = atMs < outage.untilMs ? lost : (orderFaults.next().value ?? { kind: "none" });
        const result = venue.send(order, fault, atMs);
        sent.push({ order, result, sentAtMs: atMs });
        if (endsChain(order, result)) break;
      }
    }
    state = recordRound(state, sent);
    atMs += LATENCY_MS + settleMs(state);
  }
  throw new Error("the plan did not end");
}

describe("decide()", () => {
  test("decide() never opens or turns a position, sends no more than it read, and ends flat once the venue answers", () => {
    fc.assert(
      fc.property(world, (script) => {
        const { venue, outcome, maxOrders, chainBreaches } = play(script);
        expect(venue.breaches).toEqual([]);
        expect(chainBreaches).toEqual([]);
        expect(venue.fills).toBeLessThanOrEqual(maxOrders);
        expect(venue.sent).toBeLessThanOrEqual(10 * maxOrders);
        expect(outcome).toBe("flat");
        expect(venue.flat).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test("decide() survives half an hour in which every order is lost, sends one per position in 10 s then, and ends flat", () => {
    const outage = fc.record({ untilMs: fc.integer({ min: 0, max: 1_800_000 }), executes: fc.boolean() });
    fc.assert(
      fc.property(world, outage, (script, during) => {
        const run = play({ ...script, readFaults: [] }, { ...POLICY, deadlineMs: 2_000_000 }, during);
        expect(run.outcome).toBe("flat");
        expect(run.venue.breaches).toEqual([]);
        expect(run.venue.fills).toBeLessThanOrEqual(run.maxOrders);
        const perPosition = 10 + during.untilMs / 10_000;
        expect(run.venue.sent).toBeLessThanOrEqual(script.legs.length * perPosition + run.maxOrders + 60);
      }),
      { numRuns: 150 },
    );
  });

  test("decide() ends as residual or unreadable, never flat, when the venue refuses or hides for ever", () => {
    const never = fc.record({
      hedge: fc.boolean(),
      acknowledgesOnly: fc.boolean(),
      amount: fc.integer({ min: 1, max: 100 }),
      fault: fc.constantFrom<OrderFault>(
        { kind: "rejected", why: "other" },
        { kind: "throttled" },
        { kind: "lostBefore" },
      ),
      hidden: fc.constantFrom<ReadFault>("none", "all", "positions"),
    });
    fc.assert(
      fc.property(never, ({ hedge, amount, fault, hidden }) => {
        const run = play({
          hedge,
          acknowledgesOnly: false,
          legs: [{ symbol: "S0", amount, hiddenMax: 0, band: 0 }],
          orderFaults: Array.from({ length: 2_000 }, () => fault),
          readFaults: Array.from({ length: 2_000 }, () => hidden),
          failedCancels: 0,
          shuffle: 0,
        });
        expect(run.outcome).toBe(hidden === "none" ? "residual" : "unreadable");
        expect(run.venue.breaches).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
