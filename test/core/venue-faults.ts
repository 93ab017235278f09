/** What a model venue is made to do: with an order, with a reading, and to a position. */
import type { RejectReason } from "../../src/core/venue-error.ts";

export type OrderFault =
  | { readonly kind: "none" }
  | { readonly kind: "partial"; readonly ratio: number }
  | { readonly kind: "lostBefore" }
  | { readonly kind: "lostAfter" }
  | { readonly kind: "late"; readonly ms: number }
  | { readonly kind: "twice"; readonly ms: number }
  /** Acknowledged, then dropped by the matching engine. */
  | { readonly kind: "ackDropped" }
  /** Acknowledged, executed later. */
  | { readonly kind: "ackLate"; readonly ms: number }
  /** The venue ignores the deadline of a request without reply. */
  | { readonly kind: "afterDeadline"; readonly ms: number }
  /** The venue ignores immediate-or-cancel: the order rests, and fills when it is not cancelled before. */
  | { readonly kind: "rests"; readonly ms: number }
  /** A stop of the account takes this share of the position just before the order arrives. */
  | { readonly kind: "shrinks"; readonly ratio: number }
  /** An order of the dead bot fills just before ours arrives. */
  | { readonly kind: "grows"; readonly by: number }
  | { readonly kind: "throttled" }
  | { readonly kind: "clock" }
  | { readonly kind: "rejected"; readonly why: RejectReason };

/** What becomes of an order at the touch: this share of it is executed after so long, and that share when it is told to go. */
export interface RestFate {
  readonly afterMs: number;
  readonly ratio: number;
  readonly crossed: number;
}

export type ReadFault = "none" | "all" | "positions" | "orders" | "triggers" | "stale";

export interface Leg {
  readonly symbol: string;
  /** Signed; in hedge mode the sign names the leg. */
  readonly amount: number;
  /** Market maximum that the venue keeps for itself; 0: none. */
  readonly hiddenMax: number;
  /** Market orders are refused; a limit must be this ratio off the mark. */
  readonly band: number;
}
