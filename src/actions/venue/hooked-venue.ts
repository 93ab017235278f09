/** A venue with a hook of the user's beside it: the hook gets the orders that the plan gives it, and all else stays the driver's. */
import type { CancelOrders, CloseOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { Rest } from "../../core/close-rests.ts";
import type { VenueFailure } from "../../core/venue-error.ts";
import type { SendAnswer, Venue } from "./contract.ts";
import type { RestEnd } from "./touch.ts";

export class HookedVenue implements Venue {
  readonly concurrency: number;
  readonly orderWindowMs: number;
  readonly closesWhole: boolean;
  readonly #venue: Venue;
  readonly #hook: Venue;

  constructor(venue: Venue, hook: Venue) {
    this.#venue = venue;
    this.#hook = hook;
    this.concurrency = venue.concurrency;
    // Whoever of the two got an order last: until then it may be executed.
    this.orderWindowMs = Math.max(venue.orderWindowMs, hook.orderWindowMs);
    this.closesWhole = venue.closesWhole === true;
  }

  get calls(): number {
    return this.#venue.calls + this.#hook.calls;
  }

  get paused(): boolean {
    return this.#venue.paused;
  }

  async prepare(): Promise<VenueFailure | undefined> {
    return this.#venue.prepare();
  }

  symbolProblem(): string | undefined {
    return this.#venue.symbolProblem();
  }

  accountProblem(): string | undefined {
    return this.#venue.accountProblem?.();
  }

  async preflight(): Promise<VenueFailure | undefined> {
    return this.#venue.preflight?.();
  }

  async read(): Promise<Reading> {
    return this.#venue.read();
  }

  async admitOrder(order: CloseOrder): Promise<boolean> {
    return this.#by(order).admitOrder(order);
  }

  async send(order: CloseOrder): Promise<SendAnswer> {
    return this.#by(order).send(order);
  }

  async readTouch(order: CloseOrder): Promise<{ readonly price: number } | { readonly error: string }> {
    return (await this.#venue.readTouch?.(order)) ?? { error: "the venue shows no book" };
  }

  async readEnd(rest: Rest): Promise<RestEnd | undefined> {
    return this.#venue.readEnd?.(rest);
  }

  async cancel(cancel: CancelOrders): Promise<VenueFailure[]> {
    return this.#venue.cancel(cancel);
  }

  async closeUnseen(): Promise<SendAnswer | undefined> {
    return this.#venue.closeUnseen?.();
  }

  #by({ by }: CloseOrder): Venue {
    return by === "hook" ? this.#hook : this.#venue;
  }
}
