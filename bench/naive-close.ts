/** Baseline of the close: what a careful person would write with ccxt in an evening, with its limiter on and one call after the other. */
import Binanceusdm from "../node_modules/ccxt/js/src/binanceusdm.js";

const LIVE = "https://fapi.binance.com/";
const base = process.env["PAPER_URL"] ?? "";

const venue = new Binanceusdm({
  apiKey: process.env["PAPER_KEY"] ?? "",
  secret: process.env["PAPER_SECRET"] ?? "",
  enableRateLimit: true,
  has: { fetchCurrencies: false },
  options: { fetchMargins: false, leverageBrackets: {}, fetchOpenOrders: { warnWithoutSymbol: false } },
});
venue.fetchImplementation = (url: string, init: RequestInit) => fetch(`${base}/${url.slice(LIVE.length)}`, init);

await venue.loadMarkets();
const orders = await venue.fetchOpenOrders();
for (const symbol of new Set(orders.map((order) => String(order.symbol)))) await venue.cancelAllOrders(symbol);
for (const { symbol, side, contracts } of await venue.fetchPositions()) {
  if (symbol === undefined || contracts === undefined || contracts === 0) continue;
  const against = side === "long" ? "sell" : "buy";
  await venue.createOrder(symbol, "market", against, contracts, undefined, { reduceOnly: true });
}
