/** A world for the properties of the close plan: what a venue may do to it, drawn or written down, and the plan played in it to its end. */
import fc from "fast-check";
import type { Sent } from "../../src/core/close-budget.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import { endsChain } from "../../src/core/close-orders.ts";
import type { CloseOrder } from "../../src/core/close-orders.ts";
import { decide, recordRound, settleMs, startPlan } from "../../src/core/close-plan.ts";
import type { PlanPolicy, PlanState } from "../../src/core/close-plan-types.ts";
import { restsToProve } from "../../src/core/close-rests.ts";
import { CLOSE_STYLES } from "../../src/core/close-style.ts";
import type { LastStep } from "../../src/core/ladder.ts";
import { ModelVenue } from "./model-venue.ts";
import type { Leg, OrderFault, ReadFault, RestFate } from "./venue-faults.ts";

export const POLICY: PlanPolicy = {
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

/** Everything at once that may go wrong. */
export const world = fc.record({
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
export type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

/** Nothing goes wrong. */
export const QUIET_WORLD: World = {
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

/** The plan from its first reading to its end, against a venue that does as the script says; throws where it comes to no end. */
export function play(
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
