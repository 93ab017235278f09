/** What orders at the touch need beside the rounds: their ends proven and journaled, and none left behind. */
import { restsToProve } from "../core/close-rests.ts";
import type { EndedOrder, Rests } from "../core/close-rests.ts";
import { describeFailure } from "../core/venue-error.ts";
import type { RoundContext } from "./close-round.ts";

/** Asks the venue what became of the orders that should be over, and journals what it says. */
export async function proveRests({ venue, journal, record, clock }: RoundContext, rests: Rests): Promise<EndedOrder[]> {
  const asked = restsToProve(rests).map(async (rest) => venue.readEnd?.(rest));
  const ended = (await Promise.all(asked)).filter((end) => end !== undefined);
  for (const { id, filled, average } of ended) {
    const order = record.settleOrder(id, filled, average);
    if (order !== undefined) journal.append({ kind: "outcome", at: clock.wallTime().toISOString(), order });
  }
  // Nobody waits for it, as for every outcome.
  if (ended.length > 0) void journal.sync();
  return ended;
}

/** At the end of a run: what still rests only reduces, yet nobody would look after it. What cannot be cancelled is told. */
export async function cancelResting({ venue, record, journal }: RoundContext, { pending }: Rests): Promise<void> {
  const bySymbol = Map.groupBy(pending.values(), ({ symbol }) => symbol);
  await Promise.all(
    [...bySymbol].map(async ([symbol, rests]) => {
      const orders = rests.flatMap(({ id, venueId }) =>
        venueId === undefined ? [] : [{ id: venueId, clientId: id, symbol, reduceOnly: true }],
      );
      if (orders.length === 0) return;
      const [failure] = await venue.cancel({ symbol, trigger: false, orders });
      if (failure === undefined) return;
      const step = record.noteStep(`an order may still wait at ${symbol}: ${describeFailure(failure)}`);
      if (step !== undefined) journal.append({ kind: "step", ...step });
    }),
  );
}
