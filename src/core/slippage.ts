/** What fills of a close cost against the price before them, and when a person is to be told. */
import type { SentOrder } from "./close-job.ts";

/** A fill further from the price before it than this is an alert where the config sets no bound (`maxSlippage`), as ratio. */
export const SLIPPAGE_ALERT_RATIO = 0.01;

export interface BadFill {
  readonly order: SentOrder;
  /** How far the fill was worse than the price before it, as ratio. */
  readonly ratio: number;
}

/** The worst fill of those that are worse than `limit`; `undefined`: there is none, or nobody knows. */
export function worstFill(orders: readonly SentOrder[], limit: number): BadFill | undefined {
  let worst: BadFill | undefined;
  for (const order of orders) {
    const ratio = slippageRatio(order);
    if (ratio !== undefined && ratio > (worst?.ratio ?? limit)) worst = { order, ratio };
  }
  return worst;
}

/** For people, without a period. */
export function badFillText({ order, ratio }: BadFill): string {
  const { symbol, side, average = 0, reference = 0, slippage } = order;
  const cost = slippage === undefined ? "" : `, which cost ${slippage.toFixed(2)}`;
  return `${side} of ${symbol} was filled at ${average}, ${(ratio * 100).toFixed(2)} % worse than the price before it (${reference})${cost}`;
}

function slippageRatio({ side, filled, average, reference }: SentOrder): number | undefined {
  if (filled === undefined || filled <= 0 || average === undefined || reference === undefined || reference <= 0)
    return undefined;
  return (side === "buy" ? average - reference : reference - average) / reference;
}
