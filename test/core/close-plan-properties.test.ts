/** Properties of the close plan against a model venue: it never opens or turns a position, and ends flat when the venue answers in the end. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endsChain } from "../../src/core/close-orders.ts";
import type { CloseOrder } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { PlanPolicy, PlanState } from "../../src/core/close-plan-types.ts";
import { restsToProve } from "../../src/core/close-rests.ts";
import { CLOSE_STYLES } from "../../src/core/close-style.ts";
import type { Sent } from "../../src/core/close-budget.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import type { LastStep } from "../../src/core/ladder.ts";
import { ModelVenue } from "./model-venue.ts";
import type { Leg, OrderFault, ReadFault, RestFate } from "./model-venue.ts";

const POLICY: PlanPolicy = {
  incident: "abc123",
  run: "run001",
  goal: FLAT,
  scope: [],
  deadlineMs: 300_000,
  recvWindowMs: 5_000,
};
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
  fc.constant<OrderFault>({ kind: "ackDropped" }),
  fc.record({ kind: fc.constant("ackLate" as const), ms: lateMs }),
  fc.record({ kind: fc.constant("afterDeadline" as const), ms: fc.integer({ min: MAX_LATE_MS, max: 30_000 }) }),
  fc.record({ kind: fc.constant("rests" as const), ms: lateMs }),
  fc.record({ kind: fc.constant("shrinks" as const), ratio: fc.double({ min: 0.01, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant("grows" as const), by: fc.integer({ min: 1, max: 50 }) }),
  fc.constant<OrderFault>({ kind: "throttled" }),
  fc.constant<OrderFault>({ kind: "clock" }),
  fc.record({
    kind: fc.constant("rejected" as const),
    why: fc.constantFrom("size" as const, "band" as const, "reduceOnly" as const, "other" as const),
  }),
);
const readFault = fc.constantFrom<ReadFault>("none", "all", "positions", "orders", "triggers", "stale");

const share = fc.constantFrom(0, 0, 0.3, 0.8, 1);
const restFate: fc.Arbitrary<RestFate> = fc.record({
  afterMs: fc.integer({ min: 0, max: 4_000 }),
  ratio: share,
  crossed: share,
});

const world = fc.record({
  style: fc.constantFrom(...CLOSE_STYLES),
  restFates: fc.array(restFate, { maxLength: 12 }),
  /** Whether the venue says what became of an order at the touch. */
  tellsEnds: fc.array(fc.boolean(), { maxLength: 12 }),
  /** The worker is killed before this reading, and the next one goes on; 0: it is not. */
  killedAt: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 30 })),
  hedge: fc.boolean(),
  acknowledgesOnly: fc.boolean(),
  /** In hedge mode every second leg is the other side of the symbol before it. */
  twins: fc.boolean(),
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
  /** What there is beside orders of ours. */
  last: fc.constantFrom<readonly LastStep[]>([], ["venue"], ["hook"], ["venue", "hook"]),
  /** A reading is as old as this when it is judged. */
  readMs: fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 20 }),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

/** Nothing goes wrong. */
const QUIET_WORLD: World = {
  style: "market",
  restFates: [],
  tellsEnds: [],
  killedAt: 0,
  hedge: false,
  acknowledgesOnly: false,
  twins: false,
  legs: [],
  orderFaults: [],
  readFaults: [],
  failedCancels: 0,
  shuffle: 0,
  last: [],
  readMs: [],
};
/** Seeds under which some version of the plan failed. */
const FAILED_SEEDS = [1, 2];
const FAILED_WORLDS: { name: string; script: Partial<World> }[] = [
  {
    name: "a venue only acknowledges, takes small orders and executes at the last step of the ladder",
    script: {
      acknowledgesOnly: true,
      legs: [{ symbol: "S0", amount: -71, hiddenMax: 24, band: 0.05 }],
      orderFaults: [
        { kind: "twice", ms: 1 },
        { kind: "lostBefore" },
        { kind: "rejected", why: "size" },
        { kind: "late", ms: 1 },
        { kind: "rejected", why: "size" },
      ],
    },
  },
  {
    name: "an order of the bot makes a position sixteen times as large as the venue's order",
    script: {
      acknowledgesOnly: true,
      legs: [{ symbol: "S0", amount: -1, hiddenMax: 1, band: 0.05 }],
      orderFaults: [{ kind: "grows", by: 15 }],
    },
  },
  {
    name: "refusals for the size leave a hundred orders to send",
    script: {
      legs: [{ symbol: "S0", amount: 100, hiddenMax: 0, band: 0 }],
      orderFaults: Array.from({ length: 6 }, () => ({ kind: "rejected", why: "size" }) as const),
    },
  },
  {
    name: "more orders than the allowance has are acknowledged and dropped before one is executed",
    script: {
      legs: [{ symbol: "S0", amount: 10, hiddenMax: 0, band: 0 }],
      orderFaults: Array.from({ length: 100 }, () => ({ kind: "ackDropped" }) as const),
    },
  },
  {
    name: "a whole chain of sixty orders is acknowledged and dropped before one is executed",
    script: {
      acknowledgesOnly: true,
      legs: [{ symbol: "S0", amount: 2_400, hiddenMax: 0, band: 0 }],
      orderFaults: Array.from({ length: 61 }, () => ({ kind: "ackDropped" }) as const),
    },
  },
  {
    name: "every chunk is dropped after its acknowledgement for three rounds",
    script: {
      acknowledgesOnly: true,
      legs: [{ symbol: "S0", amount: 100, hiddenMax: 2, band: 0 }],
      orderFaults: Array.from({ length: 60 }, () => ({ kind: "ackDropped" }) as const),
    },
  },
];

interface Outage {
  readonly untilMs: number;
  /** The venue executes what it does not answer. */
  readonly executes: boolean;
}

interface Run {
  readonly venue: ModelVenue;
  /** Flat when the plan said so, not only later. */
  readonly flatAtEnd: boolean;
  readonly outcome: string;
  readonly maxOrders: number;
  readonly chainBreaches: string[];
  /** The smallest exposure that there ever was. */
  readonly lowest: number;
}

/** How far an answer of a venue lags behind its books at most, where that decides, ms. */
const STALE_MS = 1_000;

/** While the outage lasts every order is lost. */
function drawFaults({ orderFaults }: World, outage: Outage, sparesLast: boolean) {
  const faults = orderFaults.values();
  return ({ by }: CloseOrder, atMs: number): OrderFault => {
    if (atMs < outage.untilMs) return { kind: outage.executes ? "lostAfter" : "lostBefore" };
    return (sparesLast && by !== undefined ? undefined : faults.next().value) ?? { kind: "none" };
  };
}

/** As a worker that follows a killed one has it: an order that left may still be executed. The third is what the killed one might send: each has an allowance of its own. */
function resume(policy: PlanPolicy, before: PlanState, atMs: number): [PlanPolicy, PlanState, number] {
  const { round, seq, allowance } = before;
  const state = startPlan({ round, seq, ...(seq === 0 ? {} : { lastUnknownAtMs: atMs }) });
  return [{ ...policy, run: "run002", style: "market" }, state, allowance.max];
}

function play(
  script: World,
  given: PlanPolicy = POLICY,
  outage: Outage = { untilMs: 0, executes: false },
  spot = false,
  /** Faults meet orders of ours alone. */
  sparesLast = false,
): Run {
  let policy: PlanPolicy = { ...given, last: script.last, style: script.style };
  const venue = new ModelVenue(script.hedge, legsOf(script), script.acknowledgesOnly, spot, script);
  const readMs = script.readMs.values();
  const faultOf = drawFaults(script, outage, sparesLast);
  const readFaults = script.readFaults.values();
  let { failedCancels } = script;
  const chainBreaches: string[] = [];
  let state = startPlan();
  let earlierOrders = 0;
  let atMs = 0;
  let lastReadMs = 0;
  let lowest = venue.exposure;
  const look = (): void => void (lowest = Math.min(lowest, venue.exposure));
  for (let step = 0; step < MAX_STEPS; step += 1) {
    if (step > 0 && step === script.killedAt) [policy, state, earlierOrders] = resume(policy, state, atMs);
    venue.advance(atMs);
    const drawn = readFaults.next().value ?? "none";
    // Where nothing but time holds an order back, no wait helps against an answer of any age.
    const tooOld = drawn === "stale" && (spot || policy.goal?.kind === "reduce") && atMs - lastReadMs > STALE_MS;
    const reading = venue.read(tooOld ? "none" : drawn, restsToProve(state.rests));
    lastReadMs = atMs;
    const readFromMs = atMs;
    atMs += readMs.next().value ?? 0;
    venue.advance(atMs);
    const { state: next, decision } = decide(policy, state, reading, atMs, readFromMs);
    state = next;
    if (decision.kind === "done") {
      const flatAtEnd = venue.flat;
      venue.advance(atMs + 60_000);
      look();
      const maxOrders = earlierOrders + state.allowance.max;
      return { venue, flatAtEnd, outcome: decision.outcome, maxOrders, chainBreaches, lowest };
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
        const result = venue.send(order, faultOf(order, atMs), atMs);
        look();
        sent.push({ order, result, sentAtMs: atMs });
        if (endsChain(order, result)) break;
      }
    }
    state = recordRound(state, sent);
    atMs += LATENCY_MS + settleMs(state);
  }
  throw new Error("the plan did not end");
}

function expectClosed(script: World): void {
  const { venue, outcome, maxOrders, chainBreaches, flatAtEnd } = play(script);
  expect(venue.breaches).toEqual([]);
  expect(chainBreaches).toEqual([]);
  // An order that the venue executes after its deadline was given back by then.
  const afterDeadline = script.orderFaults.filter(({ kind }) => kind === "afterDeadline").length;
  expect(venue.fills).toBeLessThanOrEqual(maxOrders + afterDeadline);
  expect(venue.sent).toBeLessThanOrEqual(10 * maxOrders);
  expect(outcome).toBe("flat");
  expect(flatAtEnd).toBe(true);
  expect(venue.flat).toBe(true);
}

/** The other side of a symbol is a leg of its own in hedge mode only. */
function legsOf({ hedge, twins, legs }: World): Leg[] {
  if (!hedge || !twins) return legs;
  return legs.map((leg, n) => {
    const other = n % 2 === 1 ? legs[n - 1] : undefined;
    return other === undefined
      ? leg
      : { ...leg, symbol: other.symbol, amount: -Math.sign(other.amount) * Math.abs(leg.amount) };
  });
}

/** What an order of ours cannot be blamed for: stops of the account, and venues that execute what they must not. */
const OTHERS_DOING = new Set(["shrinks", "twice", "afterDeadline"]);

describe("decide() of a spot wallet", () => {
  test("sells no balance twice, whatever replies are lost or late, and ends flat", () => {
    fc.assert(
      fc.property(world, (drawn) => {
        const legs = drawn.legs.map((leg) => ({ ...leg, amount: Math.abs(leg.amount) }));
        const orderFaults = drawn.orderFaults.filter(({ kind }) => !OTHERS_DOING.has(kind));
        const script = { ...drawn, hedge: false, legs, orderFaults };
        const run = play(script, { ...POLICY, deadlineMs: 900_000 }, undefined, true);
        expect(run.venue.breaches).toEqual([]);
        expect(run.chainBreaches).toEqual([]);
        expect(run.outcome).toBe("flat");
        expect(run.venue.flat).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("decide() with a goal", () => {
  test("decide() with a goal below what is open reduces to it, and never below it by more than a lot", () => {
    const part = fc.double({ min: 0.05, max: 0.95, noNaN: true });
    fc.assert(
      fc.property(world, part, (drawn, ratio) => {
        const script = { ...drawn, orderFaults: drawn.orderFaults.filter(({ kind }) => !OTHERS_DOING.has(kind)) };
        const total = script.legs.reduce((sum, { amount }) => sum + Math.abs(amount) * 100, 0);
        const exposure = Math.max(1, total * ratio);
        const run = play(script, { ...POLICY, goal: { kind: "reduce", exposure } });
        expect(run.outcome).toBe("reduced");
        expect(run.venue.breaches).toEqual([]);
        expect(run.chainBreaches).toEqual([]);
        expect(run.lowest).toBeGreaterThanOrEqual(Math.min(total, exposure - 100));
        expect(run.venue.exposure).toBeLessThanOrEqual(exposure * 1.005);
        expect(run.venue.resting).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  test("decide() that is only to cancel sends no order, and leaves the stops of what is open", () => {
    fc.assert(
      fc.property(world, (script) => {
        const run = play(script, { ...POLICY, goal: { kind: "cancel" } });
        expect(run.outcome).toBe("cancelled");
        expect(run.venue.sent).toBe(0);
        expect(run.venue.resting).toBe(0);
        expect(run.venue.flat).toBe(script.legs.length === 0);
      }),
      { numRuns: 300 },
    );
  });
});

function legOf({ amount, long }: { amount: number; long: boolean }): Leg[] {
  return [{ symbol: "S0", amount: long ? amount : -amount, hiddenMax: 0, band: 0 }];
}

describe("decide() with orders at the touch", () => {
  const calm = fc.record({ amount: fc.integer({ min: 2, max: 30 }), long: fc.boolean(), hedge: fc.boolean() });

  test("decide() tries one three times and then the market, and the market alone where the style is market", () => {
    fc.assert(
      fc.property(calm, fc.constantFrom(...CLOSE_STYLES), ({ hedge, ...leg }, style) => {
        const run = play({ ...QUIET_WORLD, hedge, style, legs: legOf(leg) });
        expect(run.outcome).toBe("flat");
        expect([run.venue.touches, run.venue.sent]).toEqual(style === "market" ? [0, 1] : [3, 4]);
      }),
      { numRuns: 50 },
    );
  });

  test("decide() sends nothing more where the first one is filled, and a smaller one where it is filled in part", () => {
    fc.assert(
      fc.property(calm, fc.constantFrom(0.3, 0.5, 1), ({ hedge, ...leg }, ratio) => {
        const restFates = [{ afterMs: 500, ratio, crossed: 0 }];
        const run = play({ ...QUIET_WORLD, hedge, style: "limit-then-market", legs: legOf(leg), restFates });
        expect(run.outcome).toBe("flat");
        expect(run.venue.sent).toBe(ratio === 1 ? 1 : 4);
        expect(run.venue.breaches).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });
});

describe("decide() with last steps", () => {
  const refusals = fc.array(
    fc.constantFrom<OrderFault>(
      { kind: "rejected", why: "other" },
      { kind: "rejected", why: "reduceOnly" },
      { kind: "lostBefore" },
      { kind: "ackDropped" },
    ),
    { minLength: 60, maxLength: 60 },
  );
  test("decide() comes to the venue's own close, or to the hook, where orders of ours are refused for ever", () => {
    const steps = fc.constantFrom<readonly LastStep[]>(["venue"], ["hook"], ["venue", "hook"]);
    fc.assert(
      fc.property(refusals, steps, fc.integer({ min: 1, max: 100 }), (faults, last, amount) => {
        const legs = [{ symbol: "S0", amount, hiddenMax: 0, band: 0 }];
        const run = play({ ...QUIET_WORLD, legs, last, orderFaults: faults }, POLICY, undefined, false, true);
        expect(run.outcome).toBe("flat");
        expect(run.venue.breaches).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

describe("decide()", () => {
  test("decide() never opens or turns a position, sends no more than it read, and ends flat once the venue answers", () => {
    fc.assert(fc.property(world, expectClosed), { numRuns: 1_000 });
  });

  test.each(FAILED_SEEDS)("decide() holds for the cases of seed %i, one of which once failed", (seed) => {
    fc.assert(fc.property(world, expectClosed), { numRuns: 1_000, seed });
  });

  test.each(FAILED_WORLDS)("decide() ends flat where $name", ({ script }) => {
    expect(() => expectClosed({ ...QUIET_WORLD, ...script })).not.toThrow();
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
          ...QUIET_WORLD,
          hedge,
          acknowledgesOnly: false,
          legs: [{ symbol: "S0", amount, hiddenMax: 0, band: 0 }],
          orderFaults: Array.from({ length: 2_000 }, () => fault),
          readFaults: Array.from({ length: 2_000 }, () => hidden),
          failedCancels: 0,
          shuffle: 0,
          last: ["venue", "hook"],
          twins: false,
          readMs: [],
        });
        expect(run.outcome).toBe(hidden === "none" ? "residual" : "unreadable");
        expect(run.venue.breaches).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
