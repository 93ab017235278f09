/** Baseline of the close: what a careful person would write with ccxt in an evening, with its limiter on and one call after the other. */
import type { Exchange } from "ccxt";
import Binanceusdm from "../node_modules/ccxt/js/src/binanceusdm.js";
import Okx from "../node_modules/ccxt/js/src/okx.js";

const onOkx = process.env["PAPER_EXCHANGE"] === "okx";
const live = onOkx ? "https://www.okx.com/" : "https://fapi.binance.com/";
const base = process.env["PAPER_URL"] ?? "";
const settings = {
  apiKey: process.env["PAPER_KEY"] ?? "",
  secret: process.env["PAPER_SECRET"] ?? "",
  password: process.env["PAPER_PASSPHRASE"] ?? "",
  enableRateLimit: true,
  has: { fetchCurrencies: false },
  options: { fetchMargins: false, leverageBrackets: {}, fetchOpenOrders: { warnWithoutSymbol: false } },
};

type Client = Pick<
  Exchange,
  | "fetchImplementation"
  | "loadMarkets"
  | "fetchOpenOrders"
  | "fetchPositions"
  | "cancelAllOrders"
  | "cancelOrder"
  | "createOrder"
>;
const venue: Client = onOkx ? new Okx(settings) : new Binanceusdm(settings);
venue.fetchImplementation = (url: string, init: RequestInit) => fetch(`${base}/${url.slice(live.length)}`, init);

await venue.loadMarkets();
const orders = await venue.fetchOpenOrders();
// Whoever measures the first signed reply waits for this line.
console.log("signed");
if (onOkx) {
  // It has no call that cancels all.
  for (const { id, symbol } of orders) await venue.cancelOrder(String(id), String(symbol));
} else {
  for (const symbol of new Set(orders.map((order) => String(order.symbol)))) await venue.cancelAllOrders(symbol);
}
for (const { symbol, side, contracts } of await venue.fetchPositions()) {
  if (symbol === undefined || contracts === undefined || contracts === 0) continue;
  const against = side === "long" ? "sell" : "buy";
  await venue.createOrder(symbol, "market", against, contracts, undefined, { reduceOnly: true });
}
