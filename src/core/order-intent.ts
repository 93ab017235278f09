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
 * What became of an intent. `sent` (it may be on its way) and `unknown` leave it unfinished; everything else ends it.
 * `absent`: the venue has no such order, and nothing is on its way.
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

/** Whether an intent with this outcome is still to be asked about. */
export function isUnfinished(outcome: IntentOutcome | null): boolean {
  return outcome === null || outcome.status === "sent" || outcome.status === "unknown";
}

/** Whether it is certain that nothing of it was executed and nothing will be: the same order may be sent again. */
export function isUndone(outcome: IntentOutcome): boolean {
  return outcome.status === "absent" || outcome.status === "rejected";
}

/** An order as the venue shows it; ccxt's orders are of this shape. */
export interface VenueOrder {
  /** The venue's own id. */
  readonly id?: string | undefined;
  readonly clientOrderId?: string | undefined;
  /** `open`, `closed`, `canceled`, `expired` or `rejected`. */
  readonly status?: string | undefined;
  readonly filled?: number | string | undefined;
  readonly average?: number | string | undefined;
}

/** What an order that the venue shows makes of its intent. */
export function outcomeOf(order: VenueOrder, attempts: number, at: number): IntentOutcome {
  return {
    status: statusOf(order),
    exchangeOrderId: order.id ?? null,
    filled: decimalText(order.filled),
    avgPrice: decimalText(order.average),
    attempts,
    error: null,
    at,
  };
}

/** An intent that ended without an order, or whose end nobody knows. */
export function outcomeWithout(
  status: "absent" | "rejected" | "sent" | "unknown",
  attempts: number,
  error: string | null,
  at: number,
): IntentOutcome {
  const excerpt = error === null ? null : error.slice(0, ERROR_CHARS);
  return { status, exchangeOrderId: null, filled: null, avgPrice: null, attempts, error: excerpt, at };
}

/** What an outcome that was kept says of the order. */
export function orderOf(clientOrderId: string, outcome: IntentOutcome): VenueOrder {
  const status = STATUS_OF_INTENT[outcome.status];
  return {
    ...(outcome.exchangeOrderId === null ? {} : { id: outcome.exchangeOrderId }),
    clientOrderId,
    status,
    ...(outcome.filled === null ? {} : { filled: outcome.filled }),
    ...(outcome.avgPrice === null ? {} : { average: outcome.avgPrice }),
  };
}

/** `factor` of a decimal text, to 12 significant digits: an order is rounded to its lot by whoever sends it. */
export function scaleQuantity(quantity: string, factor: number): string {
  return factor === 1 ? quantity : (decimalText(Number((Number(quantity) * factor).toPrecision(12))) ?? quantity);
}

/** Longest text of an error that is kept, characters. */
const ERROR_CHARS = 300;

const STATUS_OF_INTENT: Readonly<Record<IntentStatus, string | undefined>> = {
  sent: undefined,
  unknown: undefined,
  acked: "open",
  partial: "open",
  filled: "closed",
  cancelled: "canceled",
  rejected: "rejected",
  absent: "rejected",
};

const STATUS_OF_VENUE: Readonly<Record<string, IntentStatus>> = {
  closed: "filled",
  canceled: "cancelled",
  expired: "cancelled",
  rejected: "rejected",
};

function statusOf({ status, filled }: VenueOrder): IntentStatus {
  return STATUS_OF_VENUE[status ?? ""] ?? (Number(filled ?? 0) > 0 ? "partial" : "acked");
}

/** Without an exponent: 1e-7 is 0.0000001. */
function decimalText(value: number | string | undefined): string | null {
  if (value === undefined || value === "") return null;
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return null;
  const text = String(value);
  return /e/.test(text) ? value.toFixed(20).replace(/\.?0+$/, "") : text;
}
