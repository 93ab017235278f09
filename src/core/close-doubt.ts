/**
 * Which positions must not get another order yet.
 *
 * A reduce-only order can at most close its position, so a second one beside an order of unknown fate does no harm. Where
 * nothing holds an order back (a spot balance, a position that is only to shrink) the second one would be executed on top of the
 * first: there the fate of every order is known before the next one leaves.
 */
import type { Sent } from "./close-budget.ts";
import { isRepay, loanKey } from "./close-loans.ts";
import { isSilent, positionKey } from "./close-orders.ts";
import type { CloseOrder } from "./close-orders.ts";

interface Doubt {
  /** When the last order left whose fate nobody told, monotonic ms. Only time ends that: the venue executes nothing after its window. */
  readonly unsureAtMs: number | undefined;
  /** When the last order left that was executed as far as its reply told, monotonic ms. */
  readonly soldAtMs: number | undefined;
  /** What a reading that knows of these executions shows at most. */
  readonly expected: number;
}

interface Leg {
  readonly symbol: string;
  readonly side: string;
}

/** By position key. */
export type Doubts = ReadonlyMap<string, Doubt>;

/** Above the fees of any venue for those who take. */
const MAX_FEE_RATIO = 0.01;
/** Fractions of lots that binary arithmetic leaves. */
const EPSILON = 1e-9;

/** Adds the orders of a round; `held` are the amounts by position key that it was planned on. */
export function doubtSent(before: Doubts, sent: readonly Sent[], held: ReadonlyMap<string, number>): Doubts {
  const doubts = new Map(before);
  for (const { order, result, sentAtMs } of sent) {
    const key = keyOf(order);
    const known = doubts.get(key);
    const last = { unsureAtMs: known?.unsureAtMs, soldAtMs: known?.soldAtMs };
    const expected = known?.expected ?? held.get(key) ?? 0;
    if (result.kind === "unknown" || isSilent(result)) doubts.set(key, { ...last, expected, unsureAtMs: sentAtMs });
    else if (result.kind === "accepted")
      doubts.set(key, { ...last, expected: expected - (result.filled ?? 0) * shownRatio(order), soldAtMs: sentAtMs });
  }
  return doubts;
}

function keyOf(order: CloseOrder): string {
  return isRepay(order) ? loanKey(order.symbol) : positionKey(order.symbol, order.positionSide);
}

/** Adds an order that rested and is over: a reading must show what was filled of it, or have had the time to. */
export function doubtEnded(
  before: Doubts,
  key: string,
  { heldAmount, filled, atMs }: { readonly heldAmount: number; readonly filled: number; readonly atMs: number },
): Doubts {
  if (filled <= 0) return before;
  const known = before.get(key);
  const expected = (known?.expected ?? heldAmount) - filled;
  return new Map(before).set(key, { unsureAtMs: known?.unsureAtMs, expected, soldAtMs: atMs });
}

/** What is bought comes less the fee where the venue takes that in kind. */
function shownRatio(order: CloseOrder): number {
  return order.side === "buy" && !isRepay(order) ? 1 - MAX_FEE_RATIO : 1;
}

/** Forgets what a reading, begun at `readFromMs`, settles: orders that are over by then, and executions that it shows. */
export function settleDoubts(
  before: Doubts,
  held: ReadonlyMap<string, number>,
  readFromMs: number,
  lateMs: number,
): Doubts {
  const doubts = new Map<string, Doubt>();
  for (const [key, doubt] of before) {
    const over = readFromMs >= settledAtMs(doubt, lateMs);
    const shown = doubt.unsureAtMs === undefined && (held.get(key) ?? 0) <= doubt.expected * (1 + EPSILON) + EPSILON;
    if (!over && !shown) doubts.set(key, doubt);
  }
  return doubts;
}

/** Monotonic ms from which on a reading tells what became of the orders of one position. */
export function doubtEndMs(doubts: Doubts, { symbol, side }: Leg, lateMs: number): number {
  const doubt = doubts.get(positionKey(symbol, side));
  return doubt === undefined ? Number.NEGATIVE_INFINITY : settledAtMs(doubt, lateMs);
}

/** The same for what was sent for a loan. */
export function loanDoubtEndMs(doubts: Doubts, symbol: string, lateMs: number): number {
  const doubt = doubts.get(loanKey(symbol));
  return doubt === undefined ? Number.NEGATIVE_INFINITY : settledAtMs(doubt, lateMs);
}

/** Monotonic ms from which on a reading tells what became of all orders. */
export function lastDoubtEndMs(doubts: Doubts, lateMs: number): number {
  return Math.max(Number.NEGATIVE_INFINITY, ...[...doubts.values()].map((doubt) => settledAtMs(doubt, lateMs)));
}

function settledAtMs({ unsureAtMs, soldAtMs }: Doubt, lateMs: number): number {
  return Math.max(unsureAtMs ?? Number.NEGATIVE_INFINITY, soldAtMs ?? Number.NEGATIVE_INFINITY) + lateMs;
}
