/** The intent of a market order, as a bot writes it down before it sends the order. */
import type { OrderIntent } from "../../src/bot/ports.ts";

export function orderIntent(clientOrderId: string, createdAt = 1): OrderIntent {
  return {
    clientOrderId,
    name: "place_order",
    action: "open",
    symbol: "BTC/USDT",
    side: "buy",
    type: "market",
    reduceOnly: false,
    quantity: "1",
    price: null,
    positionId: null,
    createdAt,
  };
}
