/** What the plan of a close knows and what it answers with: a reading of the account, the policy, the state between two readings, a decision. */
import type { Allowance } from "./close-budget.ts";
import type { Doubts } from "./close-doubt.ts";
import type { CloseGoal } from "./close-goal.ts";
import type { CloseOutcome } from "./close-job.ts";
import type { Loan } from "./close-loans.ts";
import type { Attempts, CancelOrders, CloseChain, HeldPosition, OpenOrder } from "./close-orders.ts";
import type { EndedOrder, Rests } from "./close-rests.ts";
import type { CloseStyle } from "./close-style.ts";
import type { LastStep } from "./ladder.ts";
import type { VenueFailure } from "./venue-error.ts";

/** One look at the account; a part that could not be read is `undefined`. */
export interface Reading {
  readonly positions: readonly HeldPosition[] | undefined;
  readonly orders: readonly OpenOrder[] | undefined;
  /** Conditional orders: stops, take-profits, trailing. */
  readonly triggers: readonly OpenOrder[] | undefined;
  /** What a margin wallet owes, read together with its positions; absent: it is none. */
  readonly loans?: readonly Loan[];
  /** Orders of which the venue said, before it was read, that they are over; absent: none was asked for. */
  readonly ended?: readonly EndedOrder[];
  readonly failures: readonly VenueFailure[];
}

export type Decision =
  | { readonly kind: "act"; readonly chains: readonly CloseChain[]; readonly cancels: readonly CancelOrders[] }
  | { readonly kind: "wait"; readonly ms: number; readonly quiet: boolean }
  | {
      readonly kind: "done";
      readonly outcome: CloseOutcome;
      readonly reason: string;
      readonly foreign: readonly string[];
    };

export interface PlanPolicy {
  readonly incident: string;
  /** Tells the client order ids of this run from those of every other run of the incident. */
  readonly run: string;
  readonly goal: CloseGoal;
  /** Orders that may be executed in one run; absent: 50 and 10 more for each position. */
  readonly maxOrders?: number | undefined;
  /** Largest distance of a fill from the mark price, as ratio; absent: what the market takes. */
  readonly maxSlippage?: number | undefined;
  /** Whether orders wait at the touch before they go to the market; absent: they do not. */
  readonly style?: CloseStyle | undefined;
  /** What there is beside orders of ours, when these do not close a position; absent: nothing. */
  readonly last?: readonly LastStep[] | undefined;
  /** The loop gives up when the positions could not be read for this long, ms; absent: only at the deadline. */
  readonly unreadableMs?: number | undefined;
  /** The symbols that the readings are limited to; empty: the whole account. */
  readonly scope: readonly string[];
  /** Monotonic ms at which the loop gives up. */
  readonly deadlineMs: number;
  /** Time after which the venue no longer executes a request, ms. */
  readonly recvWindowMs: number;
}

export interface PlanState {
  readonly round: number;
  readonly seq: number;
  /** Orders of this run; an earlier run's do not count. */
  readonly allowance: Allowance;
  /** Positions of the last reading that showed them. */
  readonly held: readonly HeldPosition[];
  /** Loans of the same reading. */
  readonly owed: readonly Loan[];
  /** An earlier run of the incident ended flat and nothing was seen open since: one look that shows the same is enough. */
  readonly endedFlat: boolean;
  /** Something was open although the incident had ended flat. */
  readonly reopened: boolean;
  readonly attempts: Attempts;
  /** Orders that must be over before the next one of their position leaves, where nothing else keeps the two apart. */
  readonly doubts: Doubts;
  /** Orders that wait at the touch. */
  readonly rests: Rests;
  /** When the last order of an earlier run left, or was last seen open, whose fate is not known, monotonic ms. */
  readonly unsureBeforeMs: number | undefined;
  /** Readings in a row that showed open orders. */
  readonly orderRounds: number;
  /** Something rested at the last reading that may have opened a position since; so it is before the first one. */
  readonly rested: boolean;
  /** When the first reading with positions was begun, monotonic ms. */
  readonly firstReadMs: number | undefined;
  /**
   * Readings that showed a position grown although nothing rested before, and long enough after the first that no order of the
   * dead bot can still be under way: only something else that trades does that.
   */
  readonly grown: number;
  /** Keys of the positions that grew. */
  readonly grownKeys: ReadonlySet<string>;
  /** Ids of orders that were open before the account was flat. */
  readonly seen: ReadonlySet<string>;
  readonly lastSentAtMs: number | undefined;
  readonly lastUnknownAtMs: number | undefined;
  /** Waits since the last progress. */
  readonly waits: number;
  /** Since when the positions cannot be read, monotonic ms. */
  readonly unreadSinceMs: number | undefined;
  readonly readRefusals: number;
  readonly orderRefusals: number;
  readonly flatAtMs: number | undefined;
  /** No reading since `flatAtMs` has shown anything open, also of what was to stay. */
  readonly bare: boolean;
  /** The open amounts of the last reading, to see progress. */
  readonly shape: string;
}

/** What a reading leaves to be done. */
export interface Work {
  readonly open: readonly HeldPosition[];
  /** The parts of positions that are to go. */
  readonly excess: readonly HeldPosition[];
  readonly unvalued: readonly HeldPosition[];
  readonly cancels: readonly CancelOrders[];
  /** Loans that there is something to repay with. */
  readonly loans: readonly Loan[];
}
