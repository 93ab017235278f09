/**
 * Dead-man switches of venues: a countdown that cancels the account's open orders unless it is set again in time.
 *
 * They cancel orders and never close a position, and some take the stops away that protect one: this table is what each
 * venue's reference says. Only OKX's and Binance's were tried, on the paper exchanges.
 */

interface DeadmanSwitch {
  /** One countdown for the account, or one for each symbol that has open orders. */
  readonly per: "account" | "symbol";
  /** What it does to conditional orders; `unknown` where the venue does not say. */
  readonly stops: "keeps" | "takes" | "unknown";
  /** Bounds of the countdown, ms. */
  readonly minMs: number;
  readonly maxMs: number;
}

const byAccount = (stops: DeadmanSwitch["stops"], minMs = 5_000, maxMs = 86_400_000): DeadmanSwitch => ({
  per: "account",
  stops,
  minMs,
  maxMs,
});
/** "All trading symbols through order book": algo orders are not in it. */
const OKX = byAccount("keeps", 10_000, 120_000);

const SWITCHES: Readonly<Record<string, DeadmanSwitch>> = {
  // Conditional orders are of the algo service since December 2025, which this call does not name.
  binanceusdm: { per: "symbol", stops: "keeps", minMs: 5_000, maxMs: 86_400_000 },
  okx: OKX,
  myokx: OKX,
  krakenfutures: byAccount("takes"),
  hyperliquid: byAccount("takes"),
  woo: byAccount("takes"),
  bingx: byAccount("unknown", 10_000, 120_000),
  btse: byAccount("unknown"),
  extended: byAccount("unknown"),
  htx: byAccount("unknown"),
  lighter: byAccount("unknown"),
  whitebit: byAccount("unknown"),
};

/** The venue's switch; `undefined`: it has none that a request can arm (Bybit's fires on the loss of a stream, which we have not). */
export function deadmanSwitchOf(exchange: string): DeadmanSwitch | undefined {
  return Object.hasOwn(SWITCHES, exchange) ? SWITCHES[exchange] : undefined;
}

/** Why the switch must not be armed now; `undefined`: it may. `stops` is the number of resting conditional orders, `undefined` when unknown. */
export function deadmanRefusal(exchange: string, stops: number | undefined): string | undefined {
  const found = deadmanSwitchOf(exchange);
  if (found === undefined) return `${exchange} has no dead-man switch that a request can arm`;
  if (found.stops === "keeps" || stops === 0) return undefined;
  const does = found.stops === "takes" ? "would take" : "may take";
  if (stops === undefined) return `${does} resting stops away, and they cannot be listed now`;
  return `the dead-man switch of ${exchange} ${does} the ${stops} resting conditional orders away, which may protect positions`;
}

/** What is to be done about the countdowns of symbols: all with open orders are set, those armed before without any are stopped. */
export function planCountdowns(
  armed: readonly string[],
  withOrders: readonly string[],
): { readonly set: string[]; readonly stop: string[] } {
  const set = [...new Set(withOrders)];
  return { set, stop: armed.filter((symbol) => !set.includes(symbol)) };
}

/** Where a refresh stands: what the daemon does about the switch in this moment. */
export type DeadmanDuty = "refresh" | "disarm" | "let-it-run";

/** Refreshed only of a bot that is healthy, disarmed where a person wants quiet, and else left to fire. */
export function deadmanDuty(facts: {
  /** Running and every startup and liveness probe healthy. */
  readonly healthy: boolean;
  /** Stopped on purpose, in maintenance, or not configured any more. */
  readonly quiet: boolean;
}): DeadmanDuty {
  if (facts.quiet) return "disarm";
  return facts.healthy ? "refresh" : "let-it-run";
}
