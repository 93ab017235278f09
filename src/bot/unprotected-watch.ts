/** Escalates a level `minimal` that lasts while positions stand without a stop at the venue (core/unprotected.ts decides). */
import type { RestingOrder, VenuePosition } from "../core/reconcile.ts";
import { judgeExposed, unprotectedIn } from "../core/unprotected.ts";
import type { Levels } from "./levels.ts";

export interface UnprotectedOptions {
  readonly levels: Pick<Levels, "level" | "heldMs" | "propose">;
  /** Every open position of the account, and every open order, stops included. */
  readonly venue: {
    readonly positions: () => Promise<readonly VenuePosition[]>;
    readonly openOrders: () => Promise<readonly RestingOrder[]>;
  };
  /** How long `minimal` may last meanwhile, ms; default 300 000. */
  readonly emergencyAfterMs?: number;
  /** Between two readings of the account, ms; default 60 000. */
  readonly readEveryMs?: number;
}

const EMERGENCY_AFTER_MS = 300_000;
const READ_EVERY_MS = 60_000;
const LOOK_MS = 1_000;

/**
 * Proposes `emergency` once `minimal` has been demanded for `emergencyAfterMs` while a position has no stop. It reads at every
 * level, so that an outage finds it knowing: where a reading fails, what the last one has shown holds. Two readings must agree,
 * since a stop that is just being replaced is missing for a moment. Returns what ends it; never throws.
 */
export function watchUnprotected(options: UnprotectedOptions): () => void {
  const { levels, venue, emergencyAfterMs = EMERGENCY_AFTER_MS, readEveryMs = READ_EVERY_MS } = options;
  let before: readonly string[] = [];
  let agreed: readonly string[] = [];
  let reading = false;
  const read = async (): Promise<void> => {
    if (reading) return;
    reading = true;
    try {
      // Orders before positions: a stop that is filled in between shows in the position.
      const orders = await venue.openOrders();
      const now = unprotectedIn({ orders, positions: await venue.positions() });
      agreed = now.filter((each) => before.includes(each));
      before = now;
    } catch {
      // What the last reading has shown holds.
    }
    reading = false;
  };
  const look = (): void => {
    if (levels.level !== "minimal") return;
    const proposal = judgeExposed({ heldMs: levels.heldMs, emergencyAfterMs, unprotected: agreed });
    if (proposal !== undefined) levels.propose(proposal);
  };
  const timers = [setInterval(() => void read(), readEveryMs), setInterval(look, LOOK_MS)];
  for (const timer of timers) timer.unref();
  void read();
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
