/** Positions for the tests of the close, all at one mark price. */
import type { HeldPosition, MarketRules } from "../../src/core/close-orders.ts";

const RULES: MarketRules = { minAmount: 1, stepAmount: 1, maxMarketAmount: 40, maxLimitAmount: undefined };
export const MARK = 100;

export function held(symbol: string, amount: number, hedged = false, rules: Partial<MarketRules> = {}): HeldPosition {
  return {
    symbol,
    side: amount > 0 ? "long" : "short",
    amount: Math.abs(amount),
    notional: Math.abs(amount) * MARK,
    hedged,
    markPrice: MARK,
    marginMode: undefined,
    rules: { ...RULES, ...rules },
  };
}
