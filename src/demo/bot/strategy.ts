/** The sample bot's toy strategy: buy a little below the moving average, sell a little above it, and stay inside a band. Pure. */

/** Prices of the moving average. */
const WINDOW_PRICES = 20;
/** Prices seen before the first trade. */
const WARM_UP_PRICES = 5;
/** Distance from the average that makes a trade, as a share of it: 0.03 %. */
const ENTRY_RATIO = 0.000_3;
/** Notional that one trade aims at, USDT. */
export const TRADE_NOTIONAL = 150;
/** Notional that the bot opens with, USDT. */
export const OPEN_NOTIONAL = 1_500;
/** Distance of a protective stop from the price, as a share of it. */
export const STOP_RATIO = 0.05;
/** The band a position stays in, USDT: it neither vanishes nor grows without end. */
const MIN_NOTIONAL = 900;
const MAX_NOTIONAL = 2_400;

export type Direction = "long" | "short";

/** What to do at `price`. `prices` are the latest, oldest first; `notional` is the size of the position that runs in `direction`. */
export function decideTrade(
  prices: readonly number[],
  price: number,
  direction: Direction,
  notional: number,
): "buy" | "sell" | undefined {
  if (prices.length < WARM_UP_PRICES) return undefined;
  const average = prices.reduce((sum, each) => sum + each, 0) / prices.length;
  const distance = (price - average) / average;
  if (Math.abs(distance) < ENTRY_RATIO) return undefined;
  const side = distance < 0 ? "buy" : "sell";
  const grows = (side === "buy") === (direction === "long");
  const after = notional + (grows ? TRADE_NOTIONAL : -TRADE_NOTIONAL);
  return after >= MIN_NOTIONAL && after <= MAX_NOTIONAL ? side : undefined;
}

/** Appends with the window's bound. */
export function pushPrice(prices: number[], price: number): void {
  prices.push(price);
  if (prices.length > WINDOW_PRICES) prices.shift();
}
