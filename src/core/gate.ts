/** What a bot may do at a degradation level: the words that levels, orders and the calls to a venue share. */

/** Degradation level, from "everything" to "only get out". */
export type Level = "normal" | "degraded" | "minimal" | "emergency";

/**
 * What a call to the venue does to the account. `open` and `increase` add exposure; `reduce` and `close` take it away;
 * `cancel` takes an order back; `read` changes nothing.
 */
export type Action = "open" | "increase" | "reduce" | "cancel" | "close" | "read";

export type GateAnswer =
  /** `sizeFactor` is in (0, 1]: what the size of an order that adds exposure is to be multiplied by. */
  | { readonly allowed: true; readonly sizeFactor: number }
  | { readonly allowed: false; readonly level: Level; readonly reason: string };

/** Asked in front of every call that matters; answers at once and never throws. */
export type Gate = (action: Action) => GateAnswer;

/** A wish for a level: of all that hold, the highest counts. A source that proposes again replaces what it proposed. */
export interface LevelProposal {
  /** Who proposes, for example `breaker:binance.order`. */
  readonly source: string;
  readonly level: Level;
  readonly reason: string;
  /** How long it holds unless it is renewed, ms. */
  readonly ttlMs: number;
}
