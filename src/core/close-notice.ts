/** What a reading teaches the plan: whether anything moved, which doubts are over, what orders may still cost. */
import { refund, widenAllowance } from "./close-budget.ts";
import { settleDoubts } from "./close-doubt.ts";
import { dueLoans, loanAmounts } from "./close-loans.ts";
import type { Loan } from "./close-loans.ts";
import { amountsOf, isDust, learnFromReading } from "./close-orders.ts";
import type { HeldPosition } from "./close-orders.ts";
import type { PlanPolicy, PlanState, Reading } from "./close-plan-types.ts";
import { CANCEL_ROUNDS, settleRests, strayOrders } from "./close-rests.ts";

/** Ids remembered to tell our past from foreign activity; venues allow at most some thousand open orders. */
const MAX_SEEN = 20_000;
/** Added to the venue's window: clocks differ and a matching engine queues. */
export const LATE_MARGIN_MS = 2_000;

/** The reading shows something that keeps the account from being flat; of what it does not show nobody knows. */
export function isOpen(reading: Reading): boolean {
  const owes = dueLoans(reading.loans ?? []).length > 0;
  return owes || hasOrders(reading) || (reading.positions ?? []).some((position) => !isDust(position));
}

/** The state after `reading`, which was begun at `readFromMs` (monotonic), before anything is decided by it. */
export function notice(policy: PlanPolicy, state: PlanState, reading: Reading, readFromMs: number): PlanState {
  const refused = reading.positions === undefined && reading.failures.some(({ kind }) => kind === "auth");
  const readRefusals = refused ? state.readRefusals + 1 : reading.positions === undefined ? state.readRefusals : 0;
  const shape = JSON.stringify([
    reading.positions?.map(({ symbol, side, amount }) => [symbol, side, amount]) ?? null,
    reading.orders?.length ?? null,
    reading.triggers?.length ?? null,
    reading.loans?.map(({ symbol, amount }) => [symbol, amount]) ?? null,
  ]);
  const seen = new Set(state.seen);
  if (state.flatAtMs === undefined) {
    for (const { id } of [...(reading.orders ?? []), ...(reading.triggers ?? [])]) {
      if (seen.size < MAX_SEEN) seen.add(id);
    }
  }
  const waits = shape === state.shape ? state.waits + 1 : 1;
  const work = isOpen(reading);
  const endedFlat = state.endedFlat && !work;
  const reopened = state.reopened || (state.endedFlat && work);
  const orderRounds = (reading.orders ?? []).length === 0 ? 0 : state.orderRounds + 1;
  const unreadSinceMs = reading.positions === undefined ? (state.unreadSinceMs ?? readFromMs) : undefined;
  const lateMs = policy.recvWindowMs + LATE_MARGIN_MS;
  const settled = settleRests(policy, state, reading, { readFromMs, lateMs });
  const strays = strayOrders(policy.incident, [...settled.rests.pending.values()], reading.orders ?? []);
  // One that is open may be executed until it is gone, and a position may be read before the list of orders. Of a wallet that
  // owes nothing it holds what it would sell, so that the rest is sold beside it in the end.
  const counts = policy.goal.kind === "reduce" || reading.loans !== undefined || orderRounds <= CANCEL_ROUNDS;
  const unsureBeforeMs =
    strays.length === 0 || !counts ? state.unsureBeforeMs : Math.max(state.unsureBeforeMs ?? readFromMs, readFromMs);
  const seenNext = { ...state, ...settled, unsureBeforeMs };
  const next = { ...seenNext, unreadSinceMs, readRefusals, seen, shape, waits, endedFlat, reopened, orderRounds };
  if (reading.positions === undefined) return next;
  const held = reading.positions;
  const owed = reading.loans ?? [];
  const rested = reading.orders === undefined || reading.triggers === undefined || hasOrders(reading);
  const firstReadMs = state.firstReadMs ?? readFromMs;
  // What the bot sent before it died may be executed until then.
  const grew = state.rested || readFromMs < firstReadMs + lateMs ? [] : grownSince(state.held, held);
  const allowance = refund(state.allowance, held, readFromMs, lateMs);
  const attempts = learnFromReading(state.attempts, amountsOf(state.held), amountsOf(held));
  const doubts = settleDoubts(settled.doubts, amountsIn(held, owed), readFromMs, lateMs);
  return {
    ...next,
    rested,
    firstReadMs,
    grown: state.grown + (grew.length > 0 ? 1 : 0),
    grownKeys: new Set([...state.grownKeys, ...grew]),
    held,
    owed,
    attempts,
    doubts,
    allowance: widenAllowance(allowance, held, attempts, policy.maxOrders),
  };
}

/** Keys of the positions that are larger now. Balances are none of them: they grow by what others pay in, too. */
function grownSince(before: readonly HeldPosition[], now: readonly HeldPosition[]): readonly string[] {
  const amounts = amountsOf(before);
  const derivatives = amountsOf(now.filter(({ free }) => free === undefined));
  return [...derivatives].filter(([key, amount]) => amount > (amounts.get(key) ?? 0)).map(([key]) => key);
}

/** What is held and owed, by position key. */
export function amountsIn(held: readonly HeldPosition[], owed: readonly Loan[]): Map<string, number> {
  return new Map([...amountsOf(held), ...loanAmounts(owed)]);
}

function hasOrders(reading: Reading): boolean {
  return (reading.orders ?? []).length + (reading.triggers ?? []).length > 0;
}
