/** What the close needs of an account, whoever reaches it: one reading, one order, one cancel, each with its failure classified and nothing thrown. */
import type { CancelOrders, CloseOrder, SendResult } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { Rest } from "../../core/close-rests.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import type { Clock } from "../../platform/clock.ts";
import type { VenueCall } from "../worker-log.ts";
import type { RestEnd } from "./touch.ts";

export interface VenueOptions {
  readonly clock: Clock;
  /** Ends all calls and waits. */
  readonly signal: AbortSignal;
  /** Told of each request, for the log. */
  readonly onCall?: ((call: VenueCall) => void) | undefined;
  /** Called for each failure, with its class for the report's counters. */
  readonly onFailure: (failure: VenueFailure) => void;
}

/** How an order ended, with what people want to know of it. */
export interface SendAnswer {
  readonly result: SendResult;
  readonly average: number | undefined;
  /** Why it was not accepted; without secrets. */
  readonly error: string | undefined;
}

/** An account at a venue. The loop, what counts as flat and the proof of it are not its business. */
export interface Venue {
  /** Symbols worked on at once. */
  readonly concurrency: number;
  /** Time after which an order that was sent is not executed any more, ms. */
  readonly orderWindowMs: number;
  /** Requests sent. */
  readonly calls: number;
  /** The venue asked for a pause that is not over: what was decided before it must be decided anew. */
  readonly paused: boolean;
  /** What must be known before the first reading; `undefined` when that worked. May be tried again. */
  prepare(): Promise<VenueFailure | undefined>;
  /** Why the job's list of symbols cannot be used, or `undefined`: a misspelt symbol would look like a flat account. */
  symbolProblem(): string | undefined;
  /** What the driver says of itself before anything is asked of it in earnest; absent: nothing. `undefined`: all is well. */
  preflight?(): Promise<VenueFailure | undefined>;
  /** Why the account is not the one that the job means, or `undefined`; absent where nobody can tell. Known after `prepare`. */
  accountProblem?(): string | undefined;
  /** Positions, orders and conditional orders. */
  read(): Promise<Reading>;
  /** Whether `send` can let the venue itself close a position (`by: venue`); absent: it cannot. */
  readonly closesWhole?: boolean;
  /** Waits until an order may be sent; `false` when that will not be before the end. */
  admitOrder(order: CloseOrder): Promise<boolean>;
  /** Sends a reduce-only order, or what stands in its place (`by`), once. The caller has asked `admitOrder`. */
  send(order: CloseOrder): Promise<SendAnswer>;
  /** The price at which the order would wait without taking anything; `error`: why there is none. Absent: nothing can wait at this venue. */
  readTouch?(order: CloseOrder): Promise<{ readonly price: number } | { readonly error: string }>;
  /** What became of an order that waited; `undefined`: it may still be executed, or nobody tells. */
  readEnd?(rest: Rest): Promise<RestEnd | undefined>;
  /** Cancels a symbol's orders of one class; what is left shows in the next reading. The failures of its calls come back. */
  cancel(cancel: CancelOrders): Promise<VenueFailure[]>;
  /**
   * For a driver whose last reading said that it cannot show the account at all: tells it once to cancel and close everything.
   * `undefined`: it can, so nothing was sent. Absent: it always can.
   */
  closeUnseen?(): Promise<SendAnswer | undefined>;
}
