/** At which venues the close knows margin wallets, and what it lacks of the others that ccxt knows margin of (4.5.84). */

/** Wallets, loans, orders without borrowing and repayments are known here. */
export const MARGIN_IDS: readonly string[] = ["binance"];

const OKX = "ccxt repays VIP loans alone there";
const BYBIT = "the balance of its unified account does not say what of a coin is free to repay with";
const GATE = "ccxt tells its loans without their interest";
const LACKS: Readonly<Record<string, string>> = {
  okx: OKX,
  okxus: OKX,
  myokx: OKX,
  bybit: BYBIT,
  bybiteu: BYBIT,
  bybitid: BYBIT,
  gate: GATE,
  gateeu: GATE,
  htx: "ccxt lists the open orders of its spot account alone",
};

/** What the close lacks to know a venue's margin wallets, or `undefined` when it knows them. */
export function marginLack(exchange: string): string | undefined {
  if (MARGIN_IDS.includes(exchange)) return undefined;
  return (Object.hasOwn(LACKS, exchange) ? LACKS[exchange] : undefined) ?? "nobody has written how they are read";
}

/** Why margin wallets of a venue cannot be closed, or `undefined` when they can. */
export function marginRefusal(exchange: string): string | undefined {
  const lack = marginLack(exchange);
  if (lack === undefined) return undefined;
  return `the margin wallets of ${exchange} cannot be closed: ${lack}; it works with ${MARGIN_IDS.join(", ")}`;
}
