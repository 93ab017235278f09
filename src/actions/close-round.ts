/** Carries out one round of the plan at the venue: cancels and closes, symbols side by side, each order journaled before it leaves. */
import type { SentOrder } from "../core/close-job.ts";
import { isRepay } from "../core/close-loans.ts";
import type { CancelOrders, CloseChain, CloseOrder, SendResult } from "../core/close-orders.ts";
import { endsChain } from "../core/close-orders.ts";
import type { Sent } from "../core/close-budget.ts";
import { isFilled, restPrice } from "../core/close-rests.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { CloseRecord } from "./close-record.ts";
import type { IncidentJournal } from "./incident-journal.ts";
import { runPool } from "./pool.ts";
import type { SendAnswer, Venue } from "./venue/contract.ts";

export interface RoundContext {
  readonly venue: Venue;
  readonly journal: IncidentJournal;
  readonly record: CloseRecord;
  readonly clock: Clock;
}

interface Round {
  readonly sent: Sent[];
  /** Failures of the cancels. */
  readonly refusals: VenueFailure[];
}

/** Runs the round to its end and answers how each order that left ended. Never throws for a failing venue or disk. */
export async function runRound(
  context: RoundContext,
  chains: readonly CloseChain[],
  cancels: readonly CancelOrders[],
): Promise<Round> {
  const sent: Sent[] = [];
  const refusals: VenueFailure[] = [];
  const cancelAll = async (cancel: CancelOrders): Promise<void> => {
    refusals.push(...(await context.venue.cancel(cancel)));
  };
  // Both legs of a symbol have its orders in the way: the first to come cancels them, the other waits for that.
  const cancelled = new Map<string, Promise<void>>();
  const cancelOnce = async ({ symbol, cancelFirst: orders }: CloseChain): Promise<void> => {
    const cancelling = cancelled.get(symbol) ?? cancelAll({ symbol, trigger: false, orders });
    cancelled.set(symbol, cancelling);
    await cancelling;
  };
  const taskOf = (chain: CloseChain) => () => runChain(context, chain, sent, cancelOnce);
  const { concurrency } = context.venue;
  // First, as the plan counts on it: beside an order that repays too, or spends what is there, one of the two would be refused.
  const { repays = [], others = [] } = Object.groupBy(chains, ({ orders }) =>
    orders.some(isRepay) ? "repays" : "others",
  );
  await runPool(repays.map(taskOf), concurrency);
  await runPool([...others.map(taskOf), ...cancels.map((cancel) => () => cancelAll(cancel))], concurrency);
  return { sent, refusals };
}

/** The orders of one position one after the other; the first that does not succeed ends the chain. */
async function runChain(
  context: RoundContext,
  chain: CloseChain,
  sent: Sent[],
  cancelOnce: (chain: CloseChain) => Promise<void>,
): Promise<void> {
  const { venue } = context;
  if (chain.cancelFirst.length > 0) await cancelOnce(chain);
  for (const order of chain.orders) {
    // A pause that the venue asked for makes the plan old: it is made anew when the pause is over. A hook has nothing to do with it.
    // oxlint-disable-next-line no-await-in-loop
    if ((venue.paused && order.by !== "hook") || !(await venue.admitOrder(order))) return;
    // Safe: pieces of one position follow each other, each by what the last one left.
    // oxlint-disable-next-line no-await-in-loop
    const outcome = await (order.rests === undefined ? sendOne : sendAtTouch)(context, order);
    sent.push(outcome);
    if (endsChain(order, outcome.result)) return;
  }
}

/** At the touch as it is now; where that cannot be read nothing is sent, and the plan goes to the market. */
async function sendAtTouch(context: RoundContext, order: CloseOrder): Promise<Sent> {
  const { venue, clock, record, journal } = context;
  const touch = (await venue.readTouch?.(order)) ?? { error: "the venue shows no book" };
  if ("error" in touch) {
    const step = record.noteStep(`no order waits at ${order.symbol}: ${touch.error}`);
    if (step !== undefined) journal.append({ kind: "step", ...step });
    return { order, result: { kind: "rejected", why: "other" }, sentAtMs: clock.monotonicMs() };
  }
  return sendOne(context, { ...order, limitPrice: restPrice(order, touch.price) });
}

async function sendOne({ venue, journal, record, clock }: RoundContext, order: CloseOrder): Promise<Sent> {
  const intendedAt = clock.wallTime().toISOString();
  const { round, seq } = order;
  const intent = record.noteOrder(describeOrder(order, intendedAt));
  journal.append({ kind: "intent", at: intendedAt, round, seq, order: intent });
  await journal.sync();
  const sentAt = clock.wallTime().toISOString();
  const sentAtMs = clock.monotonicMs();
  const answer = await venue.send(order);
  // With what it cost, so that the report of a later run tells the same.
  const done = record.noteOrder({
    ...describeOrder(order, sentAt),
    ...answerFields(order, answer),
    ackMs: Math.round(clock.monotonicMs() - sentAtMs),
  });
  journal.append({ kind: "outcome", at: clock.wallTime().toISOString(), order: done });
  // Nobody waits for it: a lost outcome reads as unknown, which is only slower, never wrong.
  void journal.sync();
  return { order, result: answer.result, sentAtMs };
}

/** The order as if its reply were lost: what the journal says until the outcome is known. */
function describeOrder(order: CloseOrder, sentAt: string): SentOrder {
  const { id, symbol, side, positionSide, amount, by, repay, rests, limitPrice } = order;
  const who = { ...(by === undefined ? {} : { by }), ...(repay === undefined ? {} : { repay: repay.asset }) };
  const rested = rests === undefined || limitPrice === undefined ? {} : { restedAt: limitPrice };
  return { id, symbol, side, positionSide, amount, ...who, ...rested, outcome: "unknown", sentAt, ackMs: 0 };
}

function answerFields(
  order: CloseOrder,
  { result, average, error }: SendAnswer,
): Partial<SentOrder> & Pick<SentOrder, "outcome"> {
  const filled = result.kind === "accepted" ? result.filled : undefined;
  // What waits may still be filled: its fate is told when it is over.
  const waits = order.rests !== undefined && result.kind === "accepted" && !isFilled({ order, result });
  return {
    outcome: waits ? "unknown" : outcomeOf(result),
    ...(filled === undefined ? {} : { filled }),
    ...(average === undefined ? {} : { average }),
    ...(error === undefined ? {} : { error: `${result.kind}: ${error}` }),
  };
}

function outcomeOf(result: SendResult): SentOrder["outcome"] {
  if (result.kind === "accepted" || result.kind === "unknown") return result.kind;
  return "rejected";
}
