/**
 * Loans of a margin wallet in a close: which are repaid now, with how much, and what of them can only stay.
 *
 * Repaying twice does no harm at the venue (more than is owed is refused, and so is more than is there), yet it follows the rule of all
 * orders: nothing is sent for a loan before the fate of what was sent for it is known.
 */
import type { CloseChain, CloseOrder } from "./close-orders.ts";
import { floorToStep } from "./lots.ts";
import { clientOrderId } from "./incident.ts";

/** What is owed of one asset, interest included. */
export interface Loan {
  /** How reports name it: the asset, with its pair where the loan is of an isolated wallet. */
  readonly symbol: string;
  readonly asset: string;
  /** Unified symbol of the pair whose wallet owes it; absent: cross margin. */
  readonly pair?: string;
  readonly amount: number;
  /** What of it can be repaid at once. */
  readonly repayable: number;
  /** What there is of the asset, up to the loan, held back by open orders or not. */
  readonly covered: number;
}

/** Smallest amount that a venue takes for a loan, in any asset: the last of eight decimals. */
const LOAN_STEP = 1e-8;

export function loanName(asset: string, pair: string | undefined): string {
  return pair === undefined ? asset : `${asset} of ${pair}`;
}

/** Loans that there is something to repay with. A loan beyond that is a short position, or dust. */
export function dueLoans(loans: readonly Loan[]): Loan[] {
  return loans.filter(({ covered }) => floorToStep(covered, LOAN_STEP) > 0);
}

/** What is owed by the symbol of the loan. */
export function loanAmounts(loans: readonly Loan[]): Map<string, number> {
  return new Map(loans.map(({ symbol, amount }) => [loanKey(symbol), amount]));
}

/** Keys of loans are none of a position. */
export function loanKey(symbol: string): string {
  return `${symbol} loan`;
}

export function isRepay({ repay }: Pick<CloseOrder, "repay">): boolean {
  return repay !== undefined;
}

interface RepayRequest {
  readonly incident: string;
  readonly run: string;
  readonly round: number;
  /** Number of the last order of the incident. */
  readonly seq: number;
  /** Orders that may still be sent in this run. */
  readonly limit: number;
}

/** One repayment of each loan, of what is there for it and never more than is owed. */
export function planRepays(request: RepayRequest, loans: readonly Loan[]): { chains: CloseChain[]; seq: number } {
  const { incident, run, round, limit } = request;
  let { seq } = request;
  const chains: CloseChain[] = [];
  for (const { symbol, asset, pair, amount, repayable } of loans) {
    const most = floorToStep(Math.min(repayable, amount), LOAN_STEP);
    if (most <= 0 || chains.length >= limit) continue;
    seq += 1;
    const order: CloseOrder = {
      id: clientOrderId(incident, run, seq),
      round,
      seq,
      symbol,
      side: "buy",
      positionSide: "short",
      amount: most,
      hedged: false,
      marginMode: undefined,
      reduceOnly: true,
      rung: 0,
      last: [],
      repay: { asset, ...(pair === undefined ? {} : { pair }) },
      limitPrice: undefined,
      probe: false,
    };
    chains.push({ symbol, cancelFirst: [], orders: [order] });
  }
  return { chains, seq };
}
