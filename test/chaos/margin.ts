/** What a margin wallet of the paper exchange still owes and holds, for the chaos tests. */
import type { PaperState } from "../../src/demo/exchange/control.ts";

/** Prices of the paper exchange, which stand still, USDT. */
const PRICES: Readonly<Record<string, number>> = { BTC: 67_500, ETH: 3_300, BNB: 600, USDT: 1 };

/** `worth`: the largest debt or holding of one asset but the quote currency, USDT; `borrowed`: loans that were taken. Of one wallet. */
export function owedOn(
  { balances, orders, loans }: PaperState["margin"],
  wallet: string,
): { worth: number; orders: number; borrowed: number } {
  const own = balances.filter((each) => each.wallet === wallet);
  const worth = own.map(({ asset, free, locked, borrowed, interest }) => {
    const debt = borrowed + interest;
    return Math.max(debt, asset === "USDT" ? 0 : free + locked) * (PRICES[asset] ?? 0);
  });
  return {
    worth: Math.max(0, ...worth),
    orders: orders.filter((order) => order.wallet === wallet).length,
    borrowed: loans.filter((move) => move.wallet === wallet && move.kind === "borrow").length,
  };
}
