/** An order that a bot means to send, written down before it is sent: what a crash or a lost reply leaves to be asked about. */
import type { Action } from "./gate.ts";

/** What is to be sent. Amounts and prices are decimal texts: a float would not name the same order after a restart. */
export interface OrderIntent {
  /** Made from the operation alone, so that the same order has the same id after a restart, and the venue refuses a second. */
  readonly clientOrderId: string;
  /** What the bot calls it, for example `place_order`. */
  readonly name: string;
  readonly action: Action;
  readonly symbol: string;
  readonly side: "buy" | "sell";
  /** `market`, `limit`, or a type that the venue knows. */
  readonly type: string;
  readonly reduceOnly: boolean;
  readonly quantity: string;
  /** `null` for an order without a limit price. */
  readonly price: string | null;
  /** The bot's own name of the position, if it keeps one. */
  readonly positionId: string | null;
  /** Wall time, ms since 1970 UTC. */
  readonly createdAt: number;
}

/**
 * What became of an intent. `sent` is noted in front of each request and leaves the intent unfinished, as `unknown` does;
 * everything else ends it. `absent`: the venue has no such order, and it will not be sent any more.
 */
export type IntentStatus = "sent" | "acked" | "partial" | "filled" | "cancelled" | "rejected" | "absent" | "unknown";

export interface IntentOutcome {
  readonly status: IntentStatus;
  readonly exchangeOrderId: string | null;
  /** Decimal text; `null` where the venue did not say. */
  readonly filled: string | null;
  readonly avgPrice: string | null;
  /** Requests that were sent for it so far. */
  readonly attempts: number;
  /** For people; no more than a sentence. */
  readonly error: string | null;
  /** Wall time, ms since 1970 UTC. */
  readonly at: number;
}

/** An intent that a log knew already. */
export interface KnownIntent {
  readonly intent: OrderIntent;
  /** `null` while nothing is noted: it may have been sent, for a process can die between the two. */
  readonly outcome: IntentOutcome | null;
}
