/**
 * Which orders close what is open: reduce-only, biggest position first, in chunks the market takes, by a ladder of prices.
 *
 * One rule keeps this safe whatever the venue does with the orders: those of one round never exceed the position as read.
 */
import type { Position } from "./close-job.ts";
import { clientOrderId } from "./incident.ts";
import { bandAt, FIRST_LAST_RUNG, lastStepAt, rungAbove, STUBBORN_ROUNDS } from "./ladder.ts";
import type { LastStep } from "./ladder.ts";
import { ceilToStep, floorToStep } from "./lots.ts";
import type { VenueFailure } from "./venue-error.ts";

/** Limits of a market, in the unit of position amounts. */
export interface MarketRules {
  /** Smallest order; a position below it is dust. 0 when the venue names none. */
  readonly minAmount: number;
  /** Amounts are whole multiples of it; `undefined`: any. */
  readonly stepAmount: number | undefined;
  /** Largest market order and largest limit order; `undefined`: no limit known. */
  readonly maxMarketAmount: number | undefined;
  readonly maxLimitAmount: number | undefined;
  /** Smallest value of an order, in the quote currency, where the venue holds closing orders to it; absent: none. */
  readonly minCost?: number | undefined;
}

/** A position as read, with what is needed to close it. */
export interface HeldPosition extends Position {
  /** Price to band limit orders around; `undefined` when the venue told none. */
  readonly markPrice: number | undefined;
  /** `isolated` or `cross` for the venues that want it repeated in the order. */
  readonly marginMode: string | undefined;
  readonly rules: MarketRules;
  /** A balance, and nothing holds an order back that trades more than this: what no open order holds, or what can be paid for. */
  readonly free?: number;
  /** Short because it is borrowed: bought back rounded up to the lot; of the quote currency, nothing buys it. */
  readonly owed?: "base" | "quote";
  /** No market sells it for the quote currency. */
  readonly unsellable?: true;
}

export interface OpenOrder {
  readonly id: string;
  readonly clientId: string | undefined;
  readonly symbol: string;
  readonly reduceOnly: boolean;
}

export interface CloseOrder {
  readonly id: string;
  readonly round: number;
  readonly seq: number;
  readonly symbol: string;
  readonly side: "buy" | "sell";
  readonly positionSide: "long" | "short";
  readonly amount: number;
  readonly hedged: boolean;
  readonly marginMode: string | undefined;
  readonly reduceOnly: true;
  /** Step of the ladder that the order was planned on. */
  readonly rung: number;
  /** The last steps of this position's ladder. */
  readonly last: readonly LastStep[];
  /** Who closes: `venue` is told to close what there is of the position, `hook` gets the order in our place; absent: an order of ours. */
  readonly by?: LastStep;
  /** No order but the repayment of a loan, of the pair's own wallet where one is named; absent: an order. */
  readonly repay?: { readonly asset: string; readonly pair?: string };
  /** It waits at the touch, no worse than this price where one is known, until it is cancelled; absent: it is executed at once or not at all. */
  readonly rests?: { readonly worstPrice: number | undefined };
  /** Price of a limit order, immediate-or-cancel unless it `rests`; `undefined`: market order, or one whose touch is not read yet. */
  readonly limitPrice: number | undefined;
  /** Nothing shows yet that orders on this step are executed: without a word of a fill the rest of the chain waits for the next reading. */
  readonly probe: boolean;
}

/** `id`: the venue's own, where it told one. */
export type SendResult =
  | { readonly kind: "accepted"; readonly filled: number | undefined; readonly id?: string }
  | VenueFailure;

/** Work on one position: its orders go out one after the other, and the first that does not succeed ends the chain. */
export interface CloseChain {
  readonly symbol: string;
  /** Resting reduce-only orders of the symbol make the venue refuse ours (Binance −4118): these are cancelled before the first order. */
  readonly cancelFirst: readonly OpenOrder[];
  readonly orders: readonly CloseOrder[];
}

export interface CancelOrders {
  readonly symbol: string;
  readonly trigger: boolean;
  readonly orders: readonly OpenOrder[];
}

/** What earlier orders of a position taught. */
export interface Attempt {
  /** Step of the ladder: 0 market, then the bands, then the last steps. */
  readonly rung: number;
  /** Orders in a row that were refused for no reason that another price or size cures, or whose replies were lost. */
  readonly stubborn: number;
  readonly maxChunk: number | undefined;
  readonly flipHedged: boolean;
  readonly reduceOnlyRejects: number;
  /** Rounds whose market orders were accepted without a word of a fill, and the last of them. */
  readonly silentRounds: number;
  readonly silentRound: number | undefined;
  /** Step of the last order that was accepted without a word of a fill; a reading tells whether it was executed. */
  readonly silentRung: number | undefined;
  /** The last thing learnt is that orders on this step are executed. */
  readonly works: boolean;
}

/** A resting stop that reserves the position shows as repeated reduce-only refusals. */
const REJECTS_BEFORE_STOPS_GO = 2;
/** Orders of one position in one round: more than any cap allows, and an end for a step of nearly zero. */
const MAX_CHUNKS = 500;
/** Venues that only acknowledge may drop a market order afterwards (no counterparty within their price limit): from the third such round on, limits are tried. */
const SILENT_ROUNDS_BEFORE_LIMITS = 3;
const FIRST_ATTEMPT: Attempt = {
  rung: 0,
  stubborn: 0,
  maxChunk: undefined,
  flipHedged: false,
  reduceOnlyRejects: 0,
  silentRounds: 0,
  silentRound: undefined,
  silentRung: undefined,
  works: false,
};

/** Attempts by position key. */
export type Attempts = ReadonlyMap<string, Attempt>;

export function attemptFor(attempts: Attempts, symbol: string, side: string): Attempt {
  return attempts.get(positionKey(symbol, side)) ?? FIRST_ATTEMPT;
}

/** By ccxt's spelling: a derivative names its settlement currency, as in BTC/USDT:USDT. */
export function isDerivative(symbol: string): boolean {
  return symbol.includes(":");
}

export function positionKey(symbol: string, side: string): string {
  return `${symbol} ${side}`;
}

/** Regular orders always; conditional ones only where nothing is left to protect, or where they stand in the way of the close. */
export function planCancels(
  attempts: Attempts,
  open: readonly HeldPosition[],
  orders: readonly OpenOrder[],
  triggers: readonly OpenOrder[],
): CancelOrders[] {
  const blockedBy = ({ symbol, side }: HeldPosition): boolean =>
    attemptFor(attempts, symbol, side).reduceOnlyRejects >= REJECTS_BEFORE_STOPS_GO;
  // A stop of the spot wallet holds its balance back.
  const protectedBy = open.filter((position) => position.free === undefined && !blockedBy(position));
  const keeps = new Set(protectedBy.map(({ symbol }) => symbol));
  const gone = triggers.filter(({ symbol }) => !keeps.has(symbol));
  return [
    ...bySymbol(orders).map(([symbol, list]) => ({ symbol, trigger: false, orders: list })),
    ...bySymbol(gone).map(([symbol, list]) => ({ symbol, trigger: true, orders: list })),
  ];
}

export interface ChainRequest {
  readonly incident: string;
  readonly run: string;
  readonly round: number;
  /** Number of the last order of the incident. */
  readonly seq: number;
  readonly attempts: Attempts;
  readonly open: readonly HeldPosition[];
  readonly orders: readonly OpenOrder[];
  /** Orders that may still be sent in this run. */
  readonly limit: number;
  /** Largest distance of a fill from the mark price, as ratio; `undefined`: what the market takes. */
  readonly maxSlippage?: number | undefined;
  /** What there is beside orders of ours; absent: nothing. */
  readonly last?: readonly LastStep[] | undefined;
}

/** The chains of one round, biggest notional first; `seq` of the last order comes back. */
export function planChains(request: ChainRequest): { chains: CloseChain[]; seq: number } {
  const biggestFirst = [...request.open].sort((a, b) => notionalOf(b) - notionalOf(a));
  const resting = new Map(bySymbol(request.orders));
  const chains: CloseChain[] = [];
  let { seq, limit } = request;
  for (const position of biggestFirst) {
    const attempt = attemptFor(request.attempts, position.symbol, position.side);
    // Without a mark price nobody can keep a limit around it.
    if (request.maxSlippage !== undefined && position.markPrice === undefined) continue;
    const orders = amountsFor(request, position, attempt)
      .slice(0, limit)
      .map((amount, index) => closeOrder(request, position, attempt, amount, seq + index + 1));
    if (orders.length === 0) continue;
    seq += orders.length;
    limit -= orders.length;
    const inTheWay = resting.get(position.symbol) ?? [];
    const cancelFirst = inTheWay.some(({ reduceOnly }) => reduceOnly) ? inTheWay : [];
    chains.push({ symbol: position.symbol, cancelFirst, orders });
  }
  return { chains, seq };
}

/** The venue closes a position in one go, whatever its size. */
function amountsFor({ last = [], maxSlippage }: ChainRequest, position: HeldPosition, attempt: Attempt): number[] {
  if (lastStepAt(attempt.rung, lastStepsOf(last, position)) === "venue") return [position.amount];
  return planChunks(position, attempt, maxSlippage);
}

/** A venue has no way of its own to sell a balance. */
function lastStepsOf(last: readonly LastStep[], { free }: HeldPosition): readonly LastStep[] {
  return free === undefined ? last : last.filter((step) => step !== "venue");
}

/** Whether the rest of a chain is pointless: it was planned on this order's success. */
export function endsChain(order: CloseOrder, result: SendResult): boolean {
  if (result.kind !== "accepted") return true;
  if (!isSilent(result)) return false;
  // An immediate-or-cancel order that found nobody at its price, or one that may have.
  return order.probe || (order.limitPrice !== undefined && result.filled === 0);
}

/** Accepted without a word of a fill: it found nobody, or the venue tells fills in the positions only. */
export function isSilent(result: SendResult): boolean {
  return result.kind === "accepted" && (result.filled ?? 0) <= 0;
}

/** The next attempt on a position learns from this one. */
export function nextAttempt(attempt: Attempt, order: CloseOrder, result: SendResult): Attempt {
  if (result.kind === "accepted") return afterAccepted({ ...attempt, stubborn: 0 }, order, result);
  // The venue's limits and a wrong clock say nothing about the order; a hook that pleads them is not waited for.
  if ((result.kind === "throttled" || result.kind === "clock") && order.by !== "hook") return attempt;
  // A last step that failed in whatever way is not insisted on: the next one may work.
  if (order.by !== undefined) return { ...attempt, rung: rungAbove(order.rung, order.last), stubborn: 0, works: false };
  if (result.kind === "auth") return byHook(attempt, order);
  if (result.kind !== "rejected") return stubborn(attempt, order);
  switch (result.why) {
    case "minimum":
      return attempt;
    case "size":
      return { ...attempt, maxChunk: order.amount / 2 };
    case "band":
      return { ...attempt, rung: rungAbove(order.rung, order.last), works: false };
    case "reduceOnly":
      return { ...stubborn(attempt, order), reduceOnlyRejects: attempt.reduceOnlyRejects + 1 };
    case "positionSide":
      return { ...stubborn(attempt, order), flipHedged: !attempt.flipHedged };
    case "clientId":
    case "other":
      return stubborn(attempt, order);
  }
}

function afterAccepted(attempt: Attempt, order: CloseOrder, result: SendResult): Attempt {
  // From the order's own rung: several orders of one round must not climb several steps.
  const climbed = rungAbove(order.rung, order.last);
  const told = { ...attempt, reduceOnlyRejects: 0 };
  if (!isSilent(result)) return { ...told, silentRounds: 0, silentRung: undefined, works: true };
  const learnt = { ...told, silentRung: order.rung, works: false };
  // It found nobody, or nobody tells: if the position is still there, the next step goes further.
  if (order.limitPrice !== undefined || order.by !== undefined) return { ...learnt, rung: climbed };
  if (order.round === attempt.silentRound) return learnt;
  const silentRounds = attempt.silentRounds + 1;
  const silent = { ...learnt, silentRound: order.round };
  return silentRounds < SILENT_ROUNDS_BEFORE_LIMITS
    ? { ...silent, silentRounds }
    : { ...silent, silentRounds: 0, rung: climbed };
}

/** Tried again as it is, until it has failed so often that something else is to be tried, where there is anything. */
function stubborn(attempt: Attempt, { last }: CloseOrder): Attempt {
  if (last.length === 0) return attempt;
  const rounds = attempt.stubborn + 1;
  if (rounds < STUBBORN_ROUNDS) return { ...attempt, stubborn: rounds };
  return { ...attempt, rung: FIRST_LAST_RUNG, stubborn: 0, works: false };
}

/** A key that the venue refuses closes nothing; the hook has keys of its own. */
function byHook(attempt: Attempt, { last }: CloseOrder): Attempt {
  const at = last.indexOf("hook");
  return at < 0 ? attempt : { ...attempt, rung: FIRST_LAST_RUNG + at, stubborn: 0, works: false };
}

/**
 * What a reading adds: a position that shrank shows that the orders on the step of the last silent ones are executed, so that step
 * is kept. Without this a venue that only acknowledges would be climbed up and down with each chunk.
 */
export function learnFromReading(
  attempts: Attempts,
  before: ReadonlyMap<string, number>,
  now: ReadonlyMap<string, number>,
): Attempts {
  const learnt = new Map(attempts);
  for (const [key, attempt] of attempts) {
    if (attempt.silentRung === undefined || (now.get(key) ?? 0) >= (before.get(key) ?? 0)) continue;
    learnt.set(key, { ...attempt, rung: attempt.silentRung, silentRung: undefined, silentRounds: 0, works: true });
  }
  return learnt;
}

/** Size of what is held by position key; the isolated and the cross position of one side count together. */
export function amountsOf(held: readonly Position[]): Map<string, number> {
  const amounts = new Map<string, number>();
  for (const { symbol, side, amount } of held) {
    const key = positionKey(symbol, side);
    amounts.set(key, (amounts.get(key) ?? 0) + amount);
  }
  return amounts;
}

/** Orders that close the position in one round; 0 for dust. */
export function countChunks(position: HeldPosition, attempts: Attempts): number {
  return planChunks(position, attemptFor(attempts, position.symbol, position.side)).length;
}

/** Never more in sum than the position as read: whatever the venue does with them, together they cannot turn it. */
function planChunks(position: HeldPosition, attempt: Attempt, maxSlippage?: number): number[] {
  const { rules } = position;
  const venueMax =
    limitPrice(position, attempt, maxSlippage) === undefined ? rules.maxMarketAmount : rules.maxLimitAmount;
  const largest = Math.min(venueMax ?? Number.POSITIVE_INFINITY, attempt.maxChunk ?? Number.POSITIVE_INFINITY);
  const total = wholeLots(position, position.free);
  const chunk = Math.max(floorToStep(largest, rules.stepAmount), rules.minAmount, rules.stepAmount ?? 0);
  const chunks: number[] = [];
  for (let left = total; left > 0 && left >= rules.minAmount && chunks.length < MAX_CHUNKS;) {
    const amount = Math.min(left, chunk);
    chunks.push(amount);
    left = floorToStep(Number((left - amount).toPrecision(12)), rules.stepAmount);
  }
  return chunks;
}

function closeOrder(
  { incident, run, round, maxSlippage, last: steps = [] }: ChainRequest,
  position: HeldPosition,
  attempt: Attempt,
  amount: number,
  seq: number,
): CloseOrder {
  const last = lastStepsOf(steps, position);
  const by = lastStepAt(attempt.rung, last);
  return {
    id: clientOrderId(incident, run, seq),
    round,
    seq,
    symbol: position.symbol,
    side: position.side === "long" ? "sell" : "buy",
    positionSide: position.side,
    amount,
    hedged: position.hedged !== attempt.flipHedged,
    marginMode: position.marginMode,
    reduceOnly: true,
    rung: attempt.rung,
    last,
    ...(by === undefined ? {} : { by }),
    limitPrice: limitPrice(position, attempt, maxSlippage),
    probe: !attempt.works && (attempt.rung > 0 || attempt.silentRounds > 0),
  };
}

/** `undefined`: a market order. With a limit of the slippage there is none: the first step takes what is within it. */
function limitPrice(position: HeldPosition, attempt: Attempt, maxSlippage?: number): number | undefined {
  const step = bandAt(attempt.rung);
  const band = maxSlippage === undefined ? step : step === 0 ? maxSlippage : Math.min(step, maxSlippage);
  if (band === 0 || position.markPrice === undefined) return undefined;
  return position.markPrice * (position.side === "long" ? 1 - band : 1 + band);
}

function notionalOf(position: HeldPosition): number {
  return position.notional ?? position.amount * (position.markPrice ?? 0);
}

/** A position that the venue takes no order for. */
export function isDust(position: HeldPosition): boolean {
  return !isWholeOrder(position, Number.POSITIVE_INFINITY);
}

/** Whether what no open order holds of it, or what can be paid for, makes an order; always true of a derivative that is no dust. */
export function isSellable(position: HeldPosition): boolean {
  return position.unsellable !== true && isWholeOrder(position, position.free);
}

/** Whole lots of what may be traded now; what is owed is rounded up, since less would leave a loan, as far as it can be paid for. */
function wholeLots({ amount, owed, rules: { stepAmount } }: HeldPosition, free = Number.POSITIVE_INFINITY): number {
  if (owed !== "base") return floorToStep(Math.min(amount, free), stepAmount);
  return Math.min(ceilToStep(amount, stepAmount), floorToStep(free, stepAmount));
}

function isWholeOrder(position: HeldPosition, free: number | undefined): boolean {
  const { minAmount, minCost = 0 } = position.rules;
  const whole = wholeLots(position, free);
  if (whole <= 0 || whole < minAmount) return false;
  return position.markPrice === undefined || whole * position.markPrice >= minCost;
}

function bySymbol(orders: readonly OpenOrder[]): [string, OpenOrder[]][] {
  return [...Map.groupBy(orders, ({ symbol }) => symbol)];
}
