/** The drill on a venue's test network: a real order that rests far from the market, seen, cancelled, and seen gone. */
import type { PreflightCheck } from "../core/preflight.ts";
import type { CcxtVenue } from "./venue/ccxt-venue.ts";
import { asRecord } from "./venue/exchange.ts";

/** Share of the mark price that the order stays below it: inside the price bands of the venues, and out of reach of a moment. */
const DISTANCE_RATIO = 0.04;
/** Smallest value of an order that the venues of the list take, in quote currency, with room for what the price does. */
const MIN_VALUE = 120;

/** Never throws. Only for the sandbox: there the order could be filled without harm. */
export async function drillChecks(venue: CcxtVenue): Promise<readonly PreflightCheck[]> {
  const { exchange } = venue;
  const symbol = ["BTC/USDT:USDT", "BTC/USDC:USDC", "BTC/USD:USD"].find((name) =>
    Object.hasOwn(asRecord(exchange.markets), name),
  );
  if (symbol === undefined) return check("unknown", "the test network lists no contract on BTC");
  const placed = await venue.ask("order", async () => {
    const price = Number(asRecord(await exchange.fetchTicker(symbol))["last"]) * (1 - DISTANCE_RATIO);
    const market = asRecord(asRecord(exchange.markets)[symbol]);
    const least = Number(asRecord(asRecord(market["limits"])["amount"])["min"] ?? 0);
    const size = Number(market["contractSize"] ?? 1);
    const amount = Math.max(least, Number(exchange.amountToPrecision(symbol, MIN_VALUE / (price * size) + least)));
    const rounded = Number(exchange.priceToPrecision(symbol, price));
    const order = await exchange.createOrder(symbol, "limit", "buy", amount, rounded, { postOnly: true });
    if (order.id === undefined) throw new Error("the answer names no order");
    return order.id;
  });
  if ("failure" in placed) return check("failed", `cannot place an order: ${placed.text}`);
  const id = placed.value;
  const seen = (await venue.read()).orders?.some((order) => order.id === id) === true;
  const cancelled = await venue.ask("cancel", async () => exchange.cancelOrder(id, symbol));
  if ("failure" in cancelled) return check("failed", `cannot cancel order ${id} in ${symbol}: ${cancelled.text}`);
  if (!seen) return check("failed", `order ${id} in ${symbol} was placed and not listed`);
  const gone = (await venue.read()).orders?.every((order) => order.id !== id) === true;
  return gone
    ? check("ok", `an order in ${symbol} was placed, seen and cancelled`)
    : check("failed", `order ${id} in ${symbol} is still listed after its cancel`);
}

function check(result: PreflightCheck["result"], detail: string): PreflightCheck[] {
  return [{ name: "drill", result, detail }];
}
