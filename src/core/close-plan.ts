/**
 * Decides what the emergency close does next from what the venue showed and how the last orders ended.
 *
 * Rules: every order only reduces; an order whose fate is unknown is never sent again from memory, only after the
 * positions were read anew; protective stops of a symbol go last; "flat" is believed after a quiet period only.
 */
import { NEW_ALLOWANCE, ordersLeft, spend } from "./close-budget.ts";
import type { Sent } from "./close-budget.ts";
import { doubtEndMs, doubtSent, lastDoubtEndMs, loanDoubtEndMs } from "./close-doubt.ts";
import {
  done,
  foreignActivity,
  foreignDecision,
  leftOpen,
  shownFlat,
  unreadable,
  unsaleable,
  unvalued,
} from "./close-end.ts";
import { excessOf, withoutValue } from "./close-excess.ts";
import { FLAT, type CloseGoal } from "./close-goal.ts";
import { CLOSE_OVERTIME_MS } from "./close-job.ts";
import type { CloseOutcome } from "./close-job.ts";
import { dueLoans, isRepay, planRepays } from "./close-loans.ts";
import type { Loan } from "./close-loans.ts";
import { amountsIn, isOpen, LATE_MARGIN_MS, notice } from "./close-notice.ts";
import {
  attemptFor,
  isDerivative,
  isDust,
  isSellable,
  nextAttempt,
  planCancels,
  planChains,
  positionKey,
} from "./close-orders.ts";
import type { HeldPosition, OpenOrder } from "./close-orders.ts";
import {
  cancelRests,
  isFilled,
  mayRest,
  NO_RESTS,
  recordRests,
  restChain,
  restWaitMs,
  waitsForRest,
  withoutResting,
} from "./close-rests.ts";
import type { Decision, PlanPolicy, PlanState, Reading, Work } from "./close-plan-types.ts";
import type { LastStep } from "./ladder.ts";
import type { VenueFailure } from "./venue-error.ts";

const FIRST_SETTLE_MS = 20;
const SETTLE_BASE_MS = 50;
const MAX_SETTLE_MS = 2_000;
const MIN_QUIET_MS = 1_000;
const MAX_QUIET_MS = 15_000;
/** One refusal may be the venue's hiccup, the second is an answer. */
const MAX_REFUSALS = 2;
/** Readings that still show orders of a balance after which its free part is sold all the same. */
const CANCEL_ROUNDS = 3;
const REACHED = { flat: "flat", cancel: "cancelled", reduce: "reduced" } as const satisfies Record<
  CloseGoal["kind"],
  CloseOutcome
>;

/** The plan at the start of a run; `resumed` is where earlier runs of the incident stopped. */
export function startPlan(
  resumed: Partial<Pick<PlanState, "round" | "seq" | "endedFlat" | "reopened" | "lastUnknownAtMs">> = {},
): PlanState {
  return {
    round: 0,
    seq: 0,
    doubts: new Map(),
    orderRounds: 0,
    rested: true,
    firstReadMs: undefined,
    grown: 0,
    grownKeys: new Set(),
    rests: NO_RESTS,
    unsureBeforeMs: resumed.lastUnknownAtMs,
    allowance: NEW_ALLOWANCE,
    held: [],
    owed: [],
    endedFlat: false,
    reopened: false,
    attempts: new Map(),
    seen: new Set(),
    lastSentAtMs: undefined,
    lastUnknownAtMs: undefined,
    waits: 0,
    unreadSinceMs: undefined,
    readRefusals: 0,
    orderRefusals: 0,
    flatAtMs: undefined,
    bare: false,
    shape: "",
    ...resumed,
  };
}

/** Monotonic ms at which a reading was complete, and at which it was begun. */
interface Times {
  readonly atMs: number;
  readonly readFromMs: number;
}

interface Step {
  readonly state: PlanState;
  readonly decision: Decision;
}

/**
 * What to do after `reading`, which was complete at `atMs` and begun at `readFromMs` (both monotonic): it proves nothing about later moments.
 * Always ends: no wait is longer than 15 s, and after the deadline only the quiet period remains.
 */
export function decide(policy: PlanPolicy, before: PlanState, reading: Reading, atMs: number, readFromMs = atMs): Step {
  const step = judge(policy, notice(policy, before, reading, readFromMs), reading, atMs, readFromMs);
  const { state, decision } = step;
  if (decision.kind !== "done" || !state.reopened) return step;
  const reason = `${decision.reason}; the incident had ended flat before and something was open again`;
  return { state, decision: { ...decision, reason } };
}

function judge(policy: PlanPolicy, state: PlanState, reading: Reading, atMs: number, readFromMs: number): Step {
  if (state.readRefusals >= MAX_REFUSALS || state.orderRefusals >= MAX_REFUSALS) {
    return { state, decision: done("keyRefused", "the venue refuses the key; give the bot a key that may trade") };
  }
  const { unreadableMs = Number.POSITIVE_INFINITY } = policy;
  if (state.unreadSinceMs !== undefined && atMs - state.unreadSinceMs >= unreadableMs)
    return { state, decision: unreadable(reading) };
  const work = workOf(policy, state, reading, atMs);
  if (state.flatAtMs !== undefined) {
    const foreign = foreignActivity(policy, state, reading, work.open);
    if (foreign.length > 0) return { state, decision: foreignDecision(policy, foreign) };
  }
  const expired = atMs >= lastMoment(policy, state);
  const { excess, cancels, loans } = work;
  const todo = reading.positions !== undefined && excess.length + cancels.length + loans.length > 0;
  if (expired && todo) return { state, decision: leftOpen(policy, state, work, reading) };
  if (expired && !isComplete(reading)) return { state, decision: unreadable(reading) };
  if (policy.goal.kind === "reduce" && work.unvalued.length > 0) return { state, decision: unvalued(work) };
  const stays = isSettled(policy, state, readFromMs) ? excess.filter(stuck) : excess.filter(isUnsellable);
  if (isComplete(reading) && stays.length > 0 && stays.length === excess.length && cancels.length + loans.length === 0)
    return { state, decision: unsaleable(stays) };
  if (isComplete(reading) && !todo && (expired || state.rests.pending.size === 0))
    return beQuiet(policy, state, reading, { atMs, readFromMs });
  return act(policy, state, reading, work, { atMs, readFromMs });
}

function workOf({ goal }: PlanPolicy, { attempts, rests }: PlanState, reading: Reading, atMs: number): Work {
  const { positions = [], orders = [], triggers = [] } = reading;
  const loans = goal.kind === "flat" && reading.positions !== undefined ? dueLoans(reading.loans ?? []) : [];
  const open = positions.filter((position) => !isDust(position));
  // Without the positions nobody knows which stops protect something.
  const excess = excessOf(goal, positions);
  // Of positions that cannot be seen nobody knows that they are gone.
  const wanted = reading.positions === undefined ? rests.pending.keys() : excess.map(keyOf);
  const leaving = withoutResting(rests, orders, new Set(wanted), atMs);
  const cancels = planCancels(attempts, open, leaving, reading.positions === undefined ? [] : triggers);
  return { open, excess, unvalued: withoutValue(positions), cancels, loans };
}

/** Folds how the orders of one round ended; `cancels` are the failures of its cancels. */
export function recordRound(
  before: PlanState,
  sent: readonly Sent[],
  cancels: readonly VenueFailure[] = [],
): PlanState {
  const attempts = new Map(before.attempts);
  let { lastUnknownAtMs, lastSentAtMs } = before;
  for (const { order, result, sentAtMs } of sent) {
    const { symbol, positionSide } = order;
    // A loan knows neither size nor price that would have to be learnt, and of an order that rests nothing is.
    if (!isRepay(order) && order.rests === undefined)
      attempts.set(
        positionKey(symbol, positionSide),
        nextAttempt(attemptFor(attempts, symbol, positionSide), order, result),
      );
    if (result.kind === "unknown") lastUnknownAtMs = Math.max(lastUnknownAtMs ?? sentAtMs, sentAtMs);
    lastSentAtMs = Math.max(lastSentAtMs ?? sentAtMs, sentAtMs);
  }
  // A key that may only read is refused with every order; where there are none, with every cancel.
  const answers: readonly { readonly kind: string }[] = sent.length > 0 ? sent.map(({ result }) => result) : cancels;
  const refused = answers.length > 0 && answers.every(({ kind }) => kind === "auth");
  const orderRefusals = refused ? before.orderRefusals + 1 : answers.length > 0 ? 0 : before.orderRefusals;
  const allowance = spend(before.allowance, sent, before.held);
  const amounts = amountsIn(before.held, before.owed);
  const resting = sent.filter(({ order }) => order.rests !== undefined);
  const rests = recordRests(before.rests, resting, amounts);
  const over = sent.filter((each) => each.order.rests === undefined || isFilled(each));
  const doubts = doubtSent(before.doubts, over, amounts);
  return { ...before, attempts, rests, doubts, allowance, lastUnknownAtMs, lastSentAtMs, orderRefusals };
}

/** Time between a round and the next reading, ms: 20, then 50·2ⁿ up to 2 s while nothing moves. */
export function settleMs(state: PlanState): number {
  return state.waits <= 1 ? FIRST_SETTLE_MS : Math.min(MAX_SETTLE_MS, SETTLE_BASE_MS * 2 ** (state.waits - 2));
}

/** No order of ours may still change what the reading shows. */
function isSettled({ recvWindowMs }: PlanPolicy, { doubts, unsureBeforeMs }: PlanState, readFromMs: number): boolean {
  return (
    doubts.size === 0 && (unsureBeforeMs ?? Number.NEGATIVE_INFINITY) + recvWindowMs + LATE_MARGIN_MS <= readFromMs
  );
}

function keyOf({ symbol, side }: HeldPosition): string {
  return positionKey(symbol, side);
}

function isUnsellable({ unsellable, owed }: HeldPosition): boolean {
  return unsellable === true && owed === undefined;
}

/** Time changes nothing: no market trades it, or there is nothing left to pay for it. */
function stuck(position: HeldPosition): boolean {
  return position.unsellable === true || (position.owed !== undefined && !isSellable(position));
}

function lastMoment({ deadlineMs }: PlanPolicy, { flatAtMs }: PlanState): number {
  if (flatAtMs === undefined) return deadlineMs;
  return Math.max(deadlineMs, Math.min(flatAtMs + MAX_QUIET_MS, deadlineMs + CLOSE_OVERTIME_MS));
}

function isComplete(reading: Reading): boolean {
  return reading.positions !== undefined && reading.orders !== undefined && reading.triggers !== undefined;
}

function beQuiet(policy: PlanPolicy, before: PlanState, reading: Reading, { atMs, readFromMs }: Times): Step {
  if (before.endedFlat) {
    const reason = `${shownFlat(policy, "still ")}, as when the incident ended before`;
    return { state: before, decision: done("flat", reason) };
  }
  const bare = !isOpen(reading) && (before.flatAtMs === undefined || before.bare);
  const state = { ...before, bare, flatAtMs: before.flatAtMs ?? atMs };
  const lateMs =
    (state.lastUnknownAtMs ?? Number.NEGATIVE_INFINITY) + policy.recvWindowMs + LATE_MARGIN_MS - state.flatAtMs;
  const quietMs = Math.min(MAX_QUIET_MS, Math.max(MIN_QUIET_MS, lateMs));
  const endMs = state.flatAtMs + quietMs;
  // Judged by when the reading began: one that took seconds may show the account of before.
  if (readFromMs >= endMs) return { state, decision: reached(policy, bare) };
  const firstLookMs = state.flatAtMs + MIN_QUIET_MS;
  // Past the overtime every call is aborted: sleeping longer would only keep the report back.
  const nextLookMs = Math.min(readFromMs < firstLookMs ? firstLookMs : endMs, policy.deadlineMs + CLOSE_OVERTIME_MS);
  return { state, decision: { kind: "wait", ms: Math.max(0, nextLookMs - atMs), quiet: true } };
}

/** Where nothing is open there was nothing to leave: the account is as flat as a close of everything leaves it. */
function reached(policy: PlanPolicy, bare: boolean): Decision {
  if (bare && policy.goal.kind !== "flat") return done("flat", shownFlat({ ...policy, goal: FLAT }));
  return done(REACHED[policy.goal.kind], shownFlat(policy));
}

function act(policy: PlanPolicy, before: PlanState, reading: Reading, work: Work, { atMs, readFromMs }: Times): Step {
  const { orders = [] } = reading;
  const { excess, cancels } = work;
  const left = ordersLeft(before.allowance);
  if (excess.length + work.loans.length > 0 && left === 0 && cancels.length === 0)
    return { state: before, decision: afterCap(policy, before, work, reading, readFromMs) };
  const held = excess.filter((position) => readyAtMs(policy, before, position) > readFromMs);
  const ready = excess.filter(
    (position) =>
      !held.includes(position) && isFree(before, position, orders) && !waitsForRest(policy, before, position, orders),
  );
  const loans = work.loans.filter((loan) => loanReadyAtMs(policy, before, loan) <= readFromMs && loan.repayable > 0);
  const idle = ready.length + loans.length === 0;
  const waiting = [
    ...held.map((position) => readyAtMs(policy, before, position)),
    ...work.loans.map((loan) => loanReadyAtMs(policy, before, loan)).filter((ms) => ms > readFromMs),
  ];
  const ownMs = idle && waiting.length > 0 ? Math.min(...waiting) - readFromMs : 0;
  const holdMs = Math.max(0, before.allowance.holdUntilMs - atMs, ownMs);
  if ((idle || holdMs > 0) && cancels.length === 0) {
    const ms = restWaitMs(before.rests, atMs, settleMs(before)) ?? settled(before, holdMs);
    return { state: before, decision: { kind: "wait", ms, quiet: false } };
  }
  const round = before.round + 1;
  const limit = holdMs > 0 ? 0 : left;
  const { chains, seq } = chainsOf(policy, before, { round, limit, ready, reading, loans, atMs });
  const first = new Set(chains.filter(({ cancelFirst }) => cancelFirst.length > 0).map(({ symbol }) => symbol));
  const decision: Decision = {
    kind: "act",
    chains,
    // What a chain cancels itself is not cancelled a second time beside it.
    cancels: cancels.filter(({ symbol, trigger }) => trigger || !first.has(symbol)),
  };
  // Working again: what is flat later has to be quiet anew.
  const told = new Set([...decision.cancels.filter(({ trigger }) => !trigger).map(({ symbol }) => symbol), ...first]);
  const rests = cancelRests(before.rests, told, atMs);
  return { state: { ...before, round, seq, rests, flatAtMs: undefined }, decision };
}

function settled(state: PlanState, holdMs: number): number {
  return holdMs > 0 ? Math.min(settleMs(state), holdMs) : settleMs(state);
}

interface Ready {
  readonly round: number;
  readonly limit: number;
  readonly ready: readonly HeldPosition[];
  readonly reading: Reading;
  readonly loans: readonly Loan[];
  readonly atMs: number;
}

/** Loans first: what they take is not for sale, and what they need is not for buying. */
function chainsOf(policy: PlanPolicy, before: PlanState, { round, limit, ready, reading, loans, atMs }: Ready) {
  const { orders = [] } = reading;
  const { incident, run, maxSlippage } = policy;
  const repays = planRepays({ incident, run, round, seq: before.seq, limit }, loans);
  const closes = planChains({
    attempts: before.attempts,
    incident,
    run,
    round,
    maxSlippage,
    last: lastSteps(policy),
    open: ready,
    orders,
    seq: repays.seq,
    limit: limit - repays.chains.length,
  });
  const lateMs = policy.recvWindowMs + LATE_MARGIN_MS;
  const resting = mayRest(policy, before, ready, { atMs, lateMs, listed: reading.orders !== undefined });
  const chains = closes.chains.map((chain) => {
    const side = chain.orders[0]?.positionSide;
    const position = ready.find((each) => each.symbol === chain.symbol && each.side === side);
    const rests = position !== undefined && resting.has(keyOf(position));
    return rests ? restChain(chain, position, orders, maxSlippage) : chain;
  });
  return { chains: [...repays.chains, ...chains], seq: closes.seq };
}

/** A venue that closes a position by itself closes all of it, at any price. */
function lastSteps({ goal, maxSlippage, last = [] }: PlanPolicy): readonly LastStep[] {
  return goal.kind === "flat" && maxSlippage === undefined ? last : last.filter((step) => step !== "venue");
}

/**
 * The moment from which on a reading may be followed by an order of the position, monotonic ms. Where a whole position is to go, the
 * venue itself lets no order do more. A balance can be sold twice: its orders before are over. Where only parts are to go, every
 * order before is over: what one position still has to give depends on all.
 */
function readyAtMs({ goal, recvWindowMs }: PlanPolicy, state: PlanState, position: HeldPosition): number {
  const lateMs = recvWindowMs + LATE_MARGIN_MS;
  const earlier = (state.unsureBeforeMs ?? Number.NEGATIVE_INFINITY) + lateMs;
  if (goal.kind === "reduce") return Math.max(earlier, lastDoubtEndMs(state.doubts, lateMs));
  if (position.free === undefined) return Number.NEGATIVE_INFINITY;
  return Math.max(earlier, doubtEndMs(state.doubts, position, lateMs));
}

/** As of a position: what was sent for a loan is over before the next repayment leaves. */
function loanReadyAtMs({ recvWindowMs }: PlanPolicy, state: PlanState, { symbol }: Loan): number {
  const lateMs = recvWindowMs + LATE_MARGIN_MS;
  const earlier = (state.unsureBeforeMs ?? Number.NEGATIVE_INFINITY) + lateMs;
  return Math.max(earlier, loanDoubtEndMs(state.doubts, symbol, lateMs));
}

/** An order that holds or refills a balance is cancelled before that is sold; if it cannot be, the free part is sold in the end. */
function isFree({ orderRounds }: PlanState, position: HeldPosition, orders: readonly OpenOrder[]): boolean {
  if (position.free === undefined) return true;
  const [asset = ""] = position.symbol.split("/");
  const inTheWay = orders.some(({ symbol }) => !isDerivative(symbol) && symbol.split("/").includes(asset));
  return isSellable(position) && (!inTheWay || orderRounds > CANCEL_ROUNDS);
}

/** No order may be sent now: the last ones get their time, then the rest is reported. */
function afterCap(policy: PlanPolicy, state: PlanState, work: Work, reading: Reading, readFromMs: number): Decision {
  // By when the reading began: only one that began after the last order was over tells which orders were not executed.
  const lateMs = (state.lastSentAtMs ?? Number.NEGATIVE_INFINITY) + policy.recvWindowMs + LATE_MARGIN_MS - readFromMs;
  if (lateMs > 0) return { kind: "wait", ms: Math.min(MAX_SETTLE_MS, lateMs), quiet: false };
  const end = leftOpen(policy, state, work, reading);
  return { ...end, reason: `the cap of ${state.allowance.max} orders for one run is used up; ${end.reason}` };
}
