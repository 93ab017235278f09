/** Conditional orders, a class of their own on every venue here: when they fire, and what one that closes a position becomes. */
import type { AlgoOrder, Order } from "./account.ts";
import { fillMarket, reducible, type Books } from "./matching.ts";

/** Sends every conditional order whose price is reached to the book; `place` answers `false` when the book refused it. */
export function triggerAlgoOrders(books: Books, now: number, place: (order: AlgoOrder, now: number) => boolean): void {
  const { account, market } = books;
  for (const order of account.openAlgoOrders.values()) {
    if (!reached(order, market.price(order.symbol))) continue;
    order.triggerTime = now;
    const fired = order.closePosition ? closeWhole(books, order, now) : place(order, now);
    account.finishAlgo(order, fired ? "FINISHED" : "REJECTED", now);
  }
}

export function reached({ rising, triggerPrice }: AlgoOrder, mark: number): boolean {
  return rising ? mark >= triggerPrice : mark <= triggerPrice;
}

/** The market order a closePosition order becomes; as large as the position, whatever the market maximum is. */
function closeWhole(books: Books, algo: AlgoOrder, now: number): boolean {
  const held = reducible(books.account, algo.symbol, algo.side, algo.positionSide);
  if (held === 0) return false;
  const order: Order = {
    orderId: books.account.nextId(),
    clientOrderId: algo.clientAlgoId,
    symbol: algo.symbol,
    side: algo.side,
    positionSide: algo.positionSide,
    type: "MARKET",
    timeInForce: "GTC",
    price: 0,
    quantity: held,
    executed: 0,
    quote: 0,
    reduceOnly: true,
    closePosition: true,
    marginMode: algo.marginMode,
    status: "NEW",
    time: now,
    updateTime: now,
  };
  fillMarket(books, order, 1, now);
  return true;
}
