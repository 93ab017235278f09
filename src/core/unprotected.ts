/** Positions that no stop at the venue covers, and when a bot that may open nothing has left them so for too long. */
import type { LevelProposal } from "./gate.ts";
import { uncoveredOf, type Held } from "./reconcile.ts";

/** How long it holds, ms; an emergency is latched anyway. */
const TTL_MS = 3_600_000;

export interface ExposedReading {
  /** How long something has demanded `minimal` without a break, ms. */
  readonly heldMs: number;
  readonly emergencyAfterMs: number;
  /** Positions without a whole stop that the last two readings of the account agree on; none while there were no two. */
  readonly unprotected: readonly string[];
}

/** Side and symbol of each position that is not wholly covered. */
export function unprotectedIn({ positions, orders }: Held): readonly string[] {
  return positions.filter((venue) => uncoveredOf(venue, orders) > 0).map(({ side, symbol }) => `${side} ${symbol}`);
}

/** The proposal of an emergency when `minimal` has lasted for too long; what could not be read proposes nothing. */
export function judgeExposed({ heldMs, emergencyAfterMs, unprotected }: ExposedReading): LevelProposal | undefined {
  if (unprotected.length === 0 || heldMs < emergencyAfterMs) return undefined;
  const shown = unprotected.length > 3 ? [...unprotected.slice(0, 3), `${unprotected.length - 3} more`] : unprotected;
  const reason = `the level has been minimal for ${Math.round(heldMs / 1_000)} s, and no stop at the venue covers ${shown.join(", ")}`;
  return { source: "unprotected", level: "emergency", reason, ttlMs: TTL_MS };
}
