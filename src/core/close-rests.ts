/**
 * Limit orders at the touch, which a close for a limit may try before it goes to the market: one for each position, 3 s long, repriced twice.
 *
 * Such an order rests, so it may fill until the venue says that it is over: until that is proven, or waited out, its position gets no
 * other order. Whatever goes wrong with one sends its position to the market.
 */
import type { CloseStyle } from "./close-style.ts";
import { ordersLeft } from "./close-budget.ts";
import type { Sent } from "./close-budget.ts";
import { doubtEnded } from "./close-doubt.ts";
import { attemptFor, positionKey } from "./close-orders.ts";
import type { CloseChain, CloseOrder, HeldPosition, OpenOrder } from "./close-orders.ts";
import type { PlanPolicy, PlanState, Reading } from "./close-plan-types.ts";
import { orderIdPrefix } from "./incident.ts";
import { floorToStep } from "./lots.ts";

const MARKET_STYLE: CloseStyle = "market";
/** Time that an order may rest, ms. */
const REST_MS = 3_000;
/** The first one, and two at a new price. */
const MAX_TRIES = 3;
/** Between two looks at what rests, ms: each costs the venue's limits some calls. */
const LOOK_MS = 1_500;
/** Kept of the time for the market, ms: an order rests only when the market comes before the deadline all the same. */
const TIME_FOR_MARKET_MS = 10_000;
/** Kept of the allowance for the market, orders for each position: what rests must not use it up. */
const ORDERS_FOR_MARKET = 4;
/** The last band of the ladder: a book that is further from the mark price than this is not believed. */
const MAX_DISTANCE_RATIO = 0.05;

/** An order whose end is not known. */
export interface Rest {
  /** Our client order id. */
  readonly id: string;
  /** The venue's id; `undefined`: its reply was lost, so it may not even be there yet. */
  readonly venueId: string | undefined;
  readonly symbol: string;
  readonly positionSide: "long" | "short";
  /** Size of the position in the reading that the order was planned on. */
  readonly heldAmount: number;
  /** Monotonic ms at which the request left, and at which the order has rested long enough. */
  readonly sentAtMs: number;
  readonly untilMs: number;
  /** When it was last told to go, monotonic ms; `undefined`: not yet. */
  readonly cancelledAtMs: number | undefined;
  /** The last listing of open orders did not show it. */
  readonly missing: boolean;
  /** A listing did not show it when the venue could not have executed it any more: one more, and it is over. One alone may be an old answer. */
  readonly overdue: boolean;
}

export interface Rests {
  /** By position key. */
  readonly pending: ReadonlyMap<string, Rest>;
  /** Orders that rested, by position key. */
  readonly tries: ReadonlyMap<string, number>;
}

export const NO_RESTS: Rests = { pending: new Map(), tries: new Map() };

/** What the venue says of an order that is over. */
export interface EndedOrder {
  readonly id: string;
  readonly filled: number;
}

/** Orders whose end the venue is to be asked for before the next reading: those that were told to go, and those that are not listed any more. */
export function restsToProve({ pending }: Rests): Rest[] {
  return [...pending.values()].filter(
    ({ venueId, cancelledAtMs, missing }) => venueId !== undefined && (missing || cancelledAtMs !== undefined),
  );
}

/** Adds the orders of a round that were to rest. */
export function recordRests(before: Rests, sent: readonly Sent[], held: ReadonlyMap<string, number>): Rests {
  const pending = new Map(before.pending);
  const tries = new Map(before.tries);
  for (const { order, result, sentAtMs } of sent) {
    const { id, symbol, positionSide } = order;
    const key = positionKey(symbol, positionSide);
    const placed = result.kind === "accepted";
    tries.set(key, placed ? (tries.get(key) ?? 0) + 1 : MAX_TRIES);
    if ((!placed && result.kind !== "unknown") || isFilled({ order, result })) continue;
    const venueId = placed ? result.id : undefined;
    // One of unknown fate is to go as soon as it shows.
    const untilMs = placed ? sentAtMs + REST_MS : sentAtMs;
    const heldAmount = held.get(key) ?? 0;
    const rest = { id, venueId, symbol, positionSide, heldAmount, sentAtMs, untilMs };
    pending.set(key, { ...rest, cancelledAtMs: undefined, missing: false, overdue: false });
  }
  return { pending, tries };
}

/** Executed in full as its reply says: nothing of it rests. */
export function isFilled({ order, result }: Pick<Sent, "order" | "result">): boolean {
  return result.kind === "accepted" && (result.filled ?? 0) >= order.amount;
}

/** Forgets what `reading`, begun at `readFromMs`, proves to be over, or what time has ended; what was filled of it the positions must show. */
export function settleRests(
  { goal }: Pick<PlanPolicy, "goal">,
  state: PlanState,
  reading: Reading,
  { readFromMs, lateMs }: { readonly readFromMs: number; readonly lateMs: number },
): Pick<PlanState, "rests" | "doubts"> {
  const pending = new Map<string, Rest>();
  const tries = new Map(state.rests.tries);
  let { doubts } = state;
  for (const [key, rest] of state.rests.pending) {
    const ended = reading.ended?.find(({ id }) => id === rest.id);
    if (ended !== undefined) {
      doubts = doubtEnded(doubts, key, { heldAmount: rest.heldAmount, filled: ended.filled, atMs: readFromMs });
      continue;
    }
    const listed = reading.orders?.find((order) => isOf(rest, order));
    const shown = reading.orders === undefined ? undefined : listed !== undefined;
    const silentMs = readFromMs - Math.max(rest.sentAtMs, rest.cancelledAtMs ?? rest.sentAtMs);
    const late = shown === false && silentMs >= lateMs;
    const gone = late && rest.overdue;
    // The venue holds every order to what is left of a position that is to go in whole: it does not wait for ever.
    const givenUp = goal.kind === "flat" && readFromMs >= rest.sentAtMs + REST_MS + 2 * lateMs;
    if (gone || givenUp) tries.set(key, MAX_TRIES);
    else pending.set(key, shown === undefined ? rest : { ...named(rest, listed), missing: !shown, overdue: late });
  }
  return { rests: { pending, tries }, doubts };
}

/** One whose reply was lost gets the venue's id from the listing that shows it: it can be cancelled and asked for by that. */
function named(rest: Rest, listed: OpenOrder | undefined): Rest {
  return rest.venueId === undefined && listed?.clientId === rest.id ? { ...rest, venueId: listed.id } : rest;
}

/** A venue without client order ids shows none, or one of its own: then its id tells, and of one whose reply was lost it may be ours. */
function isOf({ id, venueId, symbol }: Rest, order: OpenOrder): boolean {
  if (order.symbol !== symbol) return false;
  if (venueId !== undefined && order.id === venueId) return true;
  return order.clientId === undefined ? venueId === undefined : order.clientId === id;
}

/** Open orders that are to be cancelled now: all but those that may still rest. `wanted` are the keys of positions that are to go. */
export function withoutResting(
  { pending }: Rests,
  orders: readonly OpenOrder[],
  wanted: ReadonlySet<string>,
  atMs: number,
): OpenOrder[] {
  const staying = [...pending].flatMap(([key, rest]) => (isDue(rest, wanted.has(key), atMs) ? [] : [rest]));
  return orders.filter((order) => !staying.some((rest) => isOf(rest, order)));
}

function isDue({ untilMs }: Rest, wanted: boolean, atMs: number): boolean {
  return atMs >= untilMs || !wanted;
}

/** Notes that all orders of these symbols were told to go: where a venue cancels by symbol, that takes those along which were to stay. */
export function cancelRests(rests: Rests, symbols: ReadonlySet<string>, atMs: number): Rests {
  const pending = new Map(
    [...rests.pending].map(([key, rest]) => [key, symbols.has(rest.symbol) ? { ...rest, cancelledAtMs: atMs } : rest]),
  );
  return { ...rests, pending };
}

/** Time until something is to be done about what rests, ms; `undefined`: nothing rests. `settleMs`: between two looks at what should be over. */
export function restWaitMs({ pending }: Rests, atMs: number, settleMs: number): number | undefined {
  if (pending.size === 0) return undefined;
  return Math.min(
    ...[...pending.values()].map(({ untilMs, missing }) =>
      missing || untilMs <= atMs ? settleMs : Math.min(LOOK_MS, untilMs - atMs),
    ),
  );
}

/**
 * Whether the position must wait for what rests: for its own order, or, where parts are to go, for every one, since what one position still
 * has to give depends on all. `orders`: those that are open; one of ours of which only an earlier run knows is cancelled first, too.
 */
export function waitsForRest(
  { goal, incident }: Pick<PlanPolicy, "goal" | "incident">,
  { rests, orderRounds }: PlanState,
  { symbol, side, free }: HeldPosition,
  orders: readonly OpenOrder[],
): boolean {
  if (free !== undefined) return false;
  const reduces = goal.kind === "reduce";
  if (reduces ? rests.pending.size > 0 : rests.pending.has(positionKey(symbol, side))) return true;
  const known = [...rests.pending.values()];
  const strays = strayOrders(incident, known, orders);
  return strays.some((order) => reduces || order.symbol === symbol) && (reduces || orderRounds <= CANCEL_ROUNDS);
}

/** Readings that still show an order of ours after which a position is closed beside it: it only reduces, and so does the next one. */
export const CANCEL_ROUNDS = 3;

/** Open orders of this incident that nobody waits for: an earlier run left them, or the venue let rest what was not to. */
export function strayOrders(incident: string, known: readonly Rest[], orders: readonly OpenOrder[]): OpenOrder[] {
  const prefix = orderIdPrefix(incident);
  return orders.filter(
    (order) => order.clientId?.startsWith(prefix) === true && !known.some((rest) => isOf(rest, order)),
  );
}

/** The positions whose next order may rest: of derivatives alone, since nothing holds an order for a balance to what is there. */
export function mayRest(
  policy: PlanPolicy,
  state: PlanState,
  positions: readonly HeldPosition[],
  { atMs, lateMs, listed }: { readonly atMs: number; readonly lateMs: number; readonly listed: boolean },
): ReadonlySet<string> {
  const { style = MARKET_STYLE, deadlineMs } = policy;
  // As long as one may be waited for at worst.
  const enoughTime = atMs + REST_MS + 2 * lateMs + TIME_FOR_MARKET_MS <= deadlineMs;
  const enoughOrders = ordersLeft(state.allowance) >= positions.length * (ORDERS_FOR_MARKET + 1);
  // Without the list of open orders nobody sees whether it rests.
  if (style === MARKET_STYLE || !enoughTime || !enoughOrders || !listed) return new Set();
  const keys = Map.groupBy(positions, ({ symbol, side }) => positionKey(symbol, side));
  return new Set(
    [...keys].flatMap(([key, [position, ...others]]) =>
      // Its isolated and its cross position share the key, and could not be told apart.
      position !== undefined && others.length === 0 && isRestable(state, position, key) ? [key] : [],
    ),
  );
}

function isRestable({ attempts, rests }: PlanState, { symbol, side, free, owed }: HeldPosition, key: string): boolean {
  const { rung, silentRounds } = attemptFor(attempts, symbol, side);
  const untried = (rests.tries.get(key) ?? 0) < MAX_TRIES && rung === 0 && silentRounds === 0;
  return untried && free === undefined && owed === undefined;
}

/** The chain with one order at the touch in the place of its own; what is open of the symbol goes first, for a cancel by symbol would take ours along. */
export function restChain(
  chain: CloseChain,
  position: HeldPosition,
  orders: readonly OpenOrder[],
  maxSlippage: number | undefined,
): CloseChain {
  const [first] = chain.orders;
  if (first === undefined) return chain;
  const { maxLimitAmount = Number.POSITIVE_INFINITY, stepAmount } = position.rules;
  const total = chain.orders.reduce((sum, { amount }) => sum + amount, 0);
  const whole = floorToStep(Math.min(Number(total.toPrecision(12)), maxLimitAmount), stepAmount);
  const order: CloseOrder = {
    ...first,
    amount: Math.max(whole, first.amount),
    limitPrice: undefined,
    rests: { worstPrice: worstPrice(position, maxSlippage ?? MAX_DISTANCE_RATIO) },
  };
  return { ...chain, cancelFirst: orders.filter(({ symbol }) => symbol === chain.symbol), orders: [order] };
}

function worstPrice({ markPrice, side }: HeldPosition, ratio: number): number | undefined {
  if (markPrice === undefined) return undefined;
  return markPrice * (side === "long" ? 1 - ratio : 1 + ratio);
}

/** The touch, or what is still allowed of it: buying never above, selling never below. */
export function restPrice({ side, rests }: Pick<CloseOrder, "side" | "rests">, touch: number): number {
  const worst = rests?.worstPrice;
  if (worst === undefined) return touch;
  return side === "buy" ? Math.min(touch, worst) : Math.max(touch, worst);
}
