/**
 * Compares what a bot has saved with what its account holds. The venue is the truth: what is saved is brought to it, never the
 * other way round; what has no stop gets one; what nobody knows is reported and left alone.
 *
 * Pure: both sides go in, changes to the books, missing stops and findings come out.
 */
import { closeThatTook, type AccountClose } from "./account-closes.ts";
import type { SavedPosition } from "./books.ts";
import { dailyLoss, exceedsExposure, exceedsLoss, exposureOf, type DayStart, type LossLimit } from "./exposure.ts";
import type { LevelProposal } from "./gate.ts";
import type { KnownIntent } from "./order-intent.ts";

/** A position as the venue shows it; long and short of a symbol are two. */
export interface VenuePosition {
  readonly symbol: string;
  readonly side: "long" | "short";
  /** Positive, in base currency or contracts, as the venue counts. */
  readonly amount: number;
  readonly entryPrice: number | undefined;
  readonly markPrice: number | undefined;
  /** Value in quote currency; `undefined` when it is not known. */
  readonly notional: number | undefined;
  readonly rules: {
    readonly minAmount: number;
    readonly stepAmount: number | undefined;
    /** Prices are whole multiples of it; `undefined`: any. */
    readonly stepPrice?: number | undefined;
  };
}

/** An open order as the venue shows it. */
export interface RestingOrder {
  readonly id: string;
  readonly clientOrderId: string | undefined;
  readonly symbol: string;
  readonly side: "buy" | "sell";
  readonly reduceOnly: boolean;
  /** What is still to be filled; `undefined` for one that closes whatever there is. */
  readonly remaining: number | undefined;
  /** Price that sets a stop off; `undefined` for an order that is none. */
  readonly stopPrice: number | undefined;
}

export interface ReconcilePolicy {
  readonly account: string;
  /** Whether a client order id is one of this bot's. */
  readonly isOwn: (clientOrderId: string) => boolean;
  /** Distance of a stop that has to be made up, as a share of the entry price; `undefined`: such a position is only reported. */
  readonly stopRatio?: number | undefined;
  /** What the supervisor has closed; `reconcileBot` reads it where it is not given. */
  readonly closes?: readonly AccountClose[] | undefined;
}

type FindingKind =
  /** Saved and held, in amounts that differ by more than a lot. */
  | "mismatch"
  /** Saved, and closed or made smaller by the supervisor. */
  | "closed"
  /** Held at the venue, and nobody has saved it. */
  | "orphan"
  /** Saved, and not held any more. */
  | "gone"
  /** Held without a whole stop, which is among the `stops`. */
  | "missingStop"
  /** Held without a whole stop, and where one belongs is not known. */
  | "unprotected"
  /** An open order with an id of ours that is not in the books. */
  | "unknownOrder"
  /** An open order of somebody else. */
  | "stranger";

export interface Finding {
  readonly kind: FindingKind;
  readonly symbol: string;
  /** For people. */
  readonly text: string;
}

export interface MissingStop {
  readonly positionId: string;
  readonly symbol: string;
  /** Side of the position. */
  readonly side: "long" | "short";
  readonly amount: number;
  readonly stopPrice: number;
  /** The price is beyond the stop already: it would be set off at once. */
  readonly late: boolean;
}

export interface Reconciliation {
  /** Positions as they are to be saved; those that agree are not among them. */
  readonly changes: readonly SavedPosition[];
  readonly stops: readonly MissingStop[];
  readonly findings: readonly Finding[];
  /** Saved orders that should rest at the venue and do not: each is to be asked about. */
  readonly missingOrders: readonly KnownIntent[];
}

export interface Held {
  readonly positions: readonly VenuePosition[];
  readonly orders: readonly RestingOrder[];
}

export interface Books {
  /** Those that are not closed. */
  readonly positions: readonly SavedPosition[];
  /** Orders that may rest at the venue. */
  readonly orders: readonly KnownIntent[];
}

/** What is to change in the books, and at the venue, for the two to agree. `now` is ms since 1970 UTC. */
export function reconcile(saved: Books, held: Held, policy: ReconcilePolicy, now: number): Reconciliation {
  const findings: Finding[] = [];
  const changes: SavedPosition[] = [];
  const after: SavedPosition[] = [];
  for (const { positions, venue } of pairs(saved.positions, held.positions)) {
    const settled =
      venue === undefined ? allGone(positions, saved.positions, policy, now) : brought(positions, venue, policy, now);
    findings.push(...settled.findings);
    after.push(...settled.positions);
    changes.push(...settled.positions.filter((position) => !positions.includes(position)));
  }
  const stops: MissingStop[] = [];
  for (const venue of held.positions) {
    const ours = after.filter((position) => isOf(position, venue) && position.status !== "closed");
    const { stop, finding } = missingStop(ours, venue, held.orders, policy);
    if (stop !== undefined) stops.push(stop);
    if (finding !== undefined) findings.push(finding);
  }
  const { unknown, missing } = compareOrders(saved.orders, held.orders, policy);
  return { changes, stops, findings: [...findings, ...unknown], missingOrders: missing };
}

interface Pair {
  readonly positions: readonly SavedPosition[];
  readonly venue: VenuePosition | undefined;
}

/** A symbol and side with all that is saved of it: a bot may keep several positions where the venue has one. */
function pairs(saved: readonly SavedPosition[], held: readonly VenuePosition[]): Pair[] {
  const alone = saved.filter((position) => !held.some((venue) => isOf(position, venue)));
  return [
    ...held.map((venue) => ({ positions: saved.filter((position) => isOf(position, venue)), venue })),
    ...alone.map((position) => ({ positions: [position], venue: undefined })),
  ];
}

function isOf({ symbol, side }: SavedPosition, venue: VenuePosition): boolean {
  return symbol === venue.symbol && side === venue.side;
}

interface Settled {
  readonly positions: readonly SavedPosition[];
  readonly findings: readonly Finding[];
}

function allGone(
  positions: readonly SavedPosition[],
  all: readonly SavedPosition[],
  policy: ReconcilePolicy,
  now: number,
): Settled {
  const findings = positions.map((position): Finding => {
    const { id, symbol, side, quantity } = position;
    const what = `position ${id} (${side} ${quantity} ${symbol})`;
    // The venue had one position where the bot may keep several: the close must have taken all of them.
    const kin = all.filter((each) => each.symbol === symbol && each.side === side);
    const close = closeOf(kin, totalOf(kin), policy);
    if (close === undefined)
      return { kind: "gone", symbol, text: `${what} is not held any more: it was closed meanwhile` };
    return { kind: "closed", symbol, text: `${what} was closed by the supervisor (incident ${close.incident})` };
  });
  return { positions: positions.map((position) => closed(position, now)), findings };
}

function totalOf(positions: readonly SavedPosition[]): number {
  return positions.reduce((sum, { quantity }) => sum + Number(quantity), 0);
}

/** The close by the supervisor that has taken so much of these positions of one symbol and side. */
function closeOf(
  positions: readonly SavedPosition[],
  amount: number,
  { closes = [] }: ReconcilePolicy,
): AccountClose | undefined {
  const [first] = positions;
  if (first === undefined) return undefined;
  const changedAt = Math.max(...positions.map(({ updatedAt }) => updatedAt));
  return closeThatTook(closes, { symbol: first.symbol, side: first.side, amount }, changedAt);
}

function closed(position: SavedPosition, now: number): SavedPosition {
  return { ...position, quantity: "0", status: "closed", source: "venue", updatedAt: now };
}

/** The saved positions with the venue's amount: less goes from the newest, more becomes an orphan. */
function brought(
  positions: readonly SavedPosition[],
  venue: VenuePosition,
  policy: ReconcilePolicy,
  now: number,
): Settled {
  const total = totalOf(positions);
  const difference = venue.amount - total;
  if (positions.length > 0 && Math.abs(difference) <= toleranceOf(venue)) return { positions, findings: [] };
  const { symbol, side, amount } = venue;
  if (positions.length === 0) {
    const text = `${side} ${amount} ${symbol} is held and nobody has saved it: the bot takes it over as it is`;
    return { positions: [orphan(venue, amount, policy, now)], findings: [{ kind: "orphan", symbol, text }] };
  }
  const close = difference < 0 ? closeOf(positions, -difference - toleranceOf(venue), policy) : undefined;
  const text = `${side} ${symbol}: ${decimal(total)} is saved and ${amount} is held: ${close === undefined ? "the venue is right" : `the supervisor closed the rest (incident ${close.incident})`}`;
  const findings: Finding[] = [{ kind: close === undefined ? "mismatch" : "closed", symbol, text }];
  if (difference > 0) return { positions: [...positions, orphan(venue, difference, policy, now)], findings };
  let tooMuch = -difference;
  const kept: SavedPosition[] = [];
  for (const position of positions.toSorted((a, b) => (b.entryTime ?? 0) - (a.entryTime ?? 0))) {
    const less = Math.min(tooMuch, Number(position.quantity));
    tooMuch -= less;
    const left = Number((Number(position.quantity) - less).toPrecision(12));
    if (less === 0) kept.push(position);
    else if (left <= toleranceOf(venue) / 2) kept.push(closed(position, now));
    else kept.push({ ...position, quantity: decimal(left), source: "venue", updatedAt: now });
  }
  return { positions: kept, findings };
}

/** One lot: a fill that is reported in two halves differs by so much for a moment. */
function toleranceOf({ amount, rules }: VenuePosition): number {
  return (rules.stepAmount ?? 0) * (1 + 1e-9) + Math.abs(amount) * 1e-9;
}

function orphan(
  { symbol, side, entryPrice, markPrice }: VenuePosition,
  amount: number,
  policy: ReconcilePolicy,
  now: number,
): SavedPosition {
  return {
    id: `orphan:${symbol}:${side}:${now}`,
    account: policy.account,
    symbol,
    side,
    quantity: decimal(amount),
    entryPrice: entryPrice === undefined ? null : decimal(entryPrice),
    currentPrice: markPrice === undefined ? null : decimal(markPrice),
    stopLoss: null,
    takeProfit: null,
    entryTime: null,
    status: "orphan",
    source: "venue",
    extra: null,
    updatedAt: now,
  };
}

/** What of the position no stop at the venue covers, with the price of the stop that it should have. */
function missingStop(
  ours: readonly SavedPosition[],
  venue: VenuePosition,
  orders: readonly RestingOrder[],
  { stopRatio }: ReconcilePolicy,
): { readonly stop?: MissingStop; readonly finding?: Finding } {
  const { symbol, side, amount } = venue;
  const uncovered = uncoveredOf(venue, orders);
  if (uncovered === 0) return {};
  const what = `${side} ${amount} ${symbol}: ${decimal(uncovered)} has no stop at the venue`;
  const saved = ours.find(({ stopLoss }) => stopLoss !== null);
  const stopPrice =
    saved?.stopLoss === undefined || saved.stopLoss === null ? stopOf(venue, stopRatio) : Number(saved.stopLoss);
  if (stopPrice === undefined || !(stopPrice > 0))
    return { finding: { kind: "unprotected", symbol, text: `${what}, and where it should be is not known` } };
  const { markPrice } = venue;
  const late = markPrice !== undefined && (side === "long" ? markPrice <= stopPrice : markPrice >= stopPrice);
  const positionId = saved?.id ?? ours[0]?.id ?? `${symbol}:${side}`;
  const text = late
    ? `${what}, and the price is beyond ${decimal(stopPrice)} already`
    : `${what}; it belongs at ${decimal(stopPrice)}`;
  return {
    stop: { positionId, symbol, side, amount: Number(uncovered.toPrecision(12)), stopPrice, late },
    finding: { kind: "missingStop", symbol, text },
  };
}

/** How much of a position no stop at the venue covers; 0 for less than a lot, and for what is too small to be traded. */
export function uncoveredOf(venue: VenuePosition, orders: readonly RestingOrder[]): number {
  const uncovered = venue.amount - coveredOf(venue, orders);
  return uncovered <= toleranceOf(venue) || venue.amount < venue.rules.minAmount ? 0 : uncovered;
}

function coveredOf({ symbol, side, amount }: VenuePosition, orders: readonly RestingOrder[]): number {
  const away = side === "long" ? "sell" : "buy";
  return orders
    .filter(
      (order) => order.symbol === symbol && order.side === away && order.reduceOnly && order.stopPrice !== undefined,
    )
    .reduce((sum, { remaining }) => sum + (remaining ?? amount), 0);
}

/** At the distance of the policy from the entry, rounded away from the price, so that rounding never makes it tighter. */
function stopOf({ side, entryPrice, rules }: VenuePosition, ratio: number | undefined): number | undefined {
  if (entryPrice === undefined || ratio === undefined || !(ratio > 0 && ratio < 1)) return undefined;
  const bare = side === "long" ? entryPrice * (1 - ratio) : entryPrice * (1 + ratio);
  const step = rules.stepPrice;
  if (step === undefined || step <= 0) return Number(bare.toPrecision(12));
  const steps = side === "long" ? Math.floor(bare / step + 1e-9) : Math.ceil(bare / step - 1e-9);
  return Number((steps * step).toPrecision(12));
}

function compareOrders(
  saved: readonly KnownIntent[],
  resting: readonly RestingOrder[],
  { isOwn }: ReconcilePolicy,
): { readonly unknown: readonly Finding[]; readonly missing: readonly KnownIntent[] } {
  const known = new Set(saved.map(({ intent }) => intent.clientOrderId));
  const here = new Set(resting.map(({ clientOrderId }) => clientOrderId));
  const unknown = resting
    .filter(({ clientOrderId }) => clientOrderId === undefined || !known.has(clientOrderId))
    .map(({ id, clientOrderId, symbol, side }): Finding => {
      const own = clientOrderId !== undefined && isOwn(clientOrderId);
      const text = `order ${clientOrderId ?? id} (${side} ${symbol}) rests at the venue and is ${own ? "not in the books" : "not ours"}`;
      return { kind: own ? "unknownOrder" : "stranger", symbol, text };
    });
  return { unknown, missing: saved.filter(({ intent }) => !here.has(intent.clientOrderId)) };
}

/** Without an exponent, to 12 significant digits. */
function decimal(value: number): string {
  const rounded = Number(value.toPrecision(12));
  const text = String(rounded);
  return /e/.test(text) ? rounded.toFixed(18).replace(/\.?0+$/, "") : text;
}

export interface BotLimits {
  /** Σ|notional| in quote currency. */
  readonly maxExposure?: number | undefined;
  readonly maxDailyLoss?: LossLimit | undefined;
}

export interface LimitReading {
  readonly positions: readonly Pick<VenuePosition, "notional">[];
  /** In quote currency, unrealised profit included; `undefined` when it could not be read. */
  readonly equity: number | undefined;
  readonly dayStart: DayStart | undefined;
  /** What came in since the day began, less what went out. */
  readonly transfers: number;
}

/**
 * What the limits make of a reading, by the rules of the supervisor's own watch: too much exposure forbids more of it, too much loss
 * leaves only the way out. What could not be read proposes nothing.
 */
export function judgeLimits(limits: BotLimits, reading: LimitReading, ttlMs: number): LevelProposal[] {
  const { positions, equity, dayStart, transfers } = reading;
  const total = exposureOf(positions);
  const proposals: LevelProposal[] = [];
  if (limits.maxExposure !== undefined && total !== undefined)
    proposals.push(
      exceedsExposure(total, limits.maxExposure)
        ? {
            source: "limit:exposure",
            level: "minimal",
            reason: `the exposure is ${decimal(total)}, allowed are ${limits.maxExposure}`,
            ttlMs,
          }
        : { source: "limit:exposure", level: "normal", reason: "", ttlMs: 0 },
    );
  const { maxDailyLoss } = limits;
  if (
    maxDailyLoss !== undefined &&
    equity !== undefined &&
    dayStart !== undefined &&
    exceedsLoss(maxDailyLoss, dayStart, equity, transfers)
  ) {
    const reason = `the day has lost ${decimal(dailyLoss(dayStart, equity, transfers))}, allowed are ${maxDailyLoss}`;
    proposals.push({ source: "limit:dailyLoss", level: "emergency", reason, ttlMs });
  }
  return proposals;
}
