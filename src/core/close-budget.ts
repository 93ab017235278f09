/**
 * How many orders one run of the close may send, and how fast while the venue swallows them.
 *
 * A tool gone wild is stopped before it becomes the next Knight Capital, but an outage of the venue must not use the
 * allowance up: only orders that were executed, or may still have been, count. Each run starts with a new allowance.
 */
import { isRepay } from "./close-loans.ts";
import type { Position } from "./close-job.ts";
import { amountsOf, countChunks, isSilent, positionKey } from "./close-orders.ts";
import type { Attempts, CloseOrder, HeldPosition, SendResult } from "./close-orders.ts";

export interface Sent {
  readonly order: CloseOrder;
  readonly result: SendResult;
  /** Monotonic ms of the moment the request left. */
  readonly sentAtMs: number;
}

/** An order of unknown fate, or one whose acknowledgement told no fill: venues drop such orders afterwards, too. */
interface Doubt {
  readonly key: string;
  /** Size of the position in the reading that the order was planned on. */
  readonly heldAmount: number;
  readonly sentAtMs: number;
}

export interface Allowance {
  /** Orders that may be executed in this run. */
  readonly max: number;
  /** Orders that were executed or may have been. */
  readonly counted: number;
  /** All orders that left in this run, whatever became of them. */
  readonly sent: number;
  /** At most as many as are counted. */
  readonly doubts: readonly Doubt[];
  /** Rounds in a row of which no order's fate is known. */
  readonly unknownRounds: number;
  /** No order leaves before this moment, monotonic ms. */
  readonly holdUntilMs: number;
}

export const NEW_ALLOWANCE: Allowance = {
  max: 0,
  counted: 0,
  sent: 0,
  doubts: [],
  unknownRounds: 0,
  holdUntilMs: Number.NEGATIVE_INFINITY,
};

const BASE_ORDERS = 50;
const ORDERS_PER_POSITION = 10;
/** A venue may swallow a whole chain before a limit price is found that it executes. */
const ORDERS_PER_FURTHER_CHUNK = 2;
/** Orders of a run in all, as a multiple of the allowance: refused orders cost nothing, but there is an end to them, too. */
const MAX_SENT_FACTOR = 10;
/** Two lost rounds are a hiccup; from the third on orders wait, while readings and cancels go on. */
const ROUNDS_BEFORE_HOLD = 2;
const FIRST_HOLD_MS = 500;
const MAX_HOLD_MS = 10_000;

/**
 * 50 + 10 × positions, and two more for each further chunk that a maximum forces, whether the market names it or its refusals
 * taught it: else a position that is big for its market could not be closed in one run. It never shrinks. `fixed`: the config's word.
 */
export function widenAllowance(
  allowance: Allowance,
  positions: readonly HeldPosition[],
  attempts: Attempts = new Map(),
  fixed?: number,
): Allowance {
  if (fixed !== undefined) return { ...allowance, max: fixed };
  const further = (position: HeldPosition): number => Math.max(0, countChunks(position, attempts) - 1);
  const max = positions.reduce(
    (sum, position) => sum + ORDERS_PER_POSITION + ORDERS_PER_FURTHER_CHUNK * further(position),
    BASE_ORDERS,
  );
  return { ...allowance, max: Math.max(allowance.max, max) };
}

/** Orders that may still leave in this run. */
export function ordersLeft({ max, counted, sent }: Allowance): number {
  return Math.max(0, Math.min(max - counted, max * MAX_SENT_FACTOR - sent));
}

/** Counts the orders of one round; `held` is the reading that they were planned on. */
export function spend(before: Allowance, sent: readonly Sent[], held: readonly Position[]): Allowance {
  if (sent.length === 0) return before;
  const amounts = amountsOf(held);
  const unknown = sent.filter(({ result }) => result.kind === "unknown");
  // What is owed, net of what is there, is as large after a repayment as before: it proves nothing of it.
  const doubtful = sent.filter(
    ({ order, result }) => !isRepay(order) && (result.kind === "unknown" || isSilent(result)),
  );
  const doubts = doubtful.map(({ order, sentAtMs }): Doubt => {
    const key = positionKey(order.symbol, order.positionSide);
    return { key, heldAmount: amounts.get(key) ?? 0, sentAtMs };
  });
  const executed = sent.filter(({ result }) => result.kind === "accepted").length;
  const unknownRounds = unknown.length === sent.length ? before.unknownRounds + 1 : 0;
  const holdMs = holdAfterMs(unknownRounds);
  return {
    ...before,
    counted: before.counted + executed + unknown.length,
    sent: before.sent + sent.length,
    doubts: [...before.doubts, ...doubts],
    unknownRounds,
    holdUntilMs: holdMs === 0 ? before.holdUntilMs : Math.max(...sent.map(({ sentAtMs }) => sentAtMs)) + holdMs,
  };
}

/**
 * Gives back the orders that a reading proves not executed: it began at `readFromMs`, when the venue could not execute
 * them any more (`lateMs` after they left), and the position is as large as it was. An order that may have been executed stays counted.
 */
export function refund(before: Allowance, held: readonly Position[], readFromMs: number, lateMs: number): Allowance {
  const settled = before.doubts.filter(({ sentAtMs }) => sentAtMs + lateMs <= readFromMs);
  if (settled.length === 0) return before;
  const amounts = amountsOf(held);
  const unexecuted = settled.filter(({ key, heldAmount }) => (amounts.get(key) ?? 0) >= heldAmount && heldAmount > 0);
  return {
    ...before,
    counted: before.counted - unexecuted.length,
    doubts: before.doubts.filter((doubt) => !settled.includes(doubt)),
  };
}

/** 0 for the first two rounds without any answer, then 500 ms, doubled up to 10 s. */
function holdAfterMs(unknownRounds: number): number {
  if (unknownRounds <= ROUNDS_BEFORE_HOLD) return 0;
  return Math.min(MAX_HOLD_MS, FIRST_HOLD_MS * 2 ** (unknownRounds - ROUNDS_BEFORE_HOLD - 1));
}
