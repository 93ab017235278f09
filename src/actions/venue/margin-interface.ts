/**
 * How a venue is asked about its margin wallets by ccxt: what they hold and owe, their open orders, and what repays a loan.
 *
 * Every order says AUTO_REPAY (ccxt's `reduceOnly` on margin), so that what it brings repays what is owed of it; none may borrow.
 */
import type { CcxtAccess } from "../../core/close-job.ts";
import type { MarginAsset } from "../../core/margin.ts";
import { ask } from "./account-facts.ts";
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";

export type MarginPolicy = NonNullable<CcxtAccess["margin"]>;

/** A wallet as the venue tells it. */
export interface ToldWallet {
  /** Unified symbol of the isolated pair; absent: cross margin. */
  readonly pair?: string;
  readonly quote: string;
  readonly assets: readonly MarginAsset[];
}

/** Throws for an answer that does not say how much there is, or what is owed: a gap must not look like a wallet without debt. */
export async function readWallets(exchange: VenueExchange, { mode, quote = "" }: MarginPolicy): Promise<ToldWallet[]> {
  return mode === "cross" ? [await readCross(exchange, quote)] : readIsolated(exchange);
}

/** ccxt's parameters of orders, listings and cancels; an order also says `reduceOnly`. */
export function marginParams({ mode }: MarginPolicy): { readonly marginMode: MarginPolicy["mode"] } {
  return { marginMode: mode };
}

/** Repays a loan once. Throws as ccxt does. */
export async function repayLoan(
  exchange: VenueExchange,
  { asset, pair }: { readonly asset: string; readonly pair?: string },
  amount: number,
): Promise<unknown> {
  return pair === undefined
    ? exchange.repayCrossMargin(asset, amount)
    : exchange.repayIsolatedMargin(pair, asset, amount);
}

/** What a preflight wants to know of the account: whether it may trade, and what it is worth against what it owes. */
export async function readMarginState(
  exchange: VenueExchange,
  { mode }: MarginPolicy,
): Promise<{ readonly trades: boolean | undefined; readonly text: string }> {
  if (mode === "cross") {
    const answer = asRecord(await ask(exchange, "sapiGetMarginAccount"));
    const { tradeEnabled, marginLevel } = answer;
    const trades = typeof tradeEnabled === "boolean" ? tradeEnabled : undefined;
    return { trades, text: `cross margin, margin level ${String(marginLevel)}` };
  }
  const pairs = isolatedRows(await ask(exchange, "sapiGetMarginIsolatedAccount"));
  const shut = pairs.filter(
    (pair) => (pair["enabled"] === false || pair["tradeEnabled"] === false) && isUsed(pair, exchange),
  );
  const text = `isolated margin, ${pairs.length} wallets of pairs, ${shut.length} of them in use and not enabled`;
  return { trades: shut.length === 0, text };
}

async function readCross(exchange: VenueExchange, quote: string): Promise<ToldWallet> {
  const balance = asRecord(await exchange.fetchBalance({ type: "margin", marginMode: "cross" }));
  const { userAssets } = asRecord(balance["info"]);
  if (!Array.isArray(userAssets)) throw new TypeError("the venue's answer has no list of margin assets");
  const names = Object.keys(asRecord(balance["total"]));
  const assets = names.map((name) => {
    const { free, used, debt } = asRecord(balance[name]);
    return assetOf(name, free, used, debt);
  });
  return { quote, assets };
}

/** ccxt adds the wallets of all pairs up, so the venue itself is asked. */
async function readIsolated(exchange: VenueExchange): Promise<ToldWallet[]> {
  const symbols = new Map(
    Object.values(asRecord(exchange.markets))
      .map(asRecord)
      .filter(({ spot }) => spot === true)
      .map(({ id, symbol }) => [id, String(symbol)]),
  );
  return isolatedRows(await ask(exchange, "sapiGetMarginIsolatedAccount")).map((row) => {
    const [base, quote] = [told(row["baseAsset"], exchange), told(row["quoteAsset"], exchange)];
    // A pair that the list of markets lacks is shown all the same: its wallet is not empty because nobody can name it.
    const pair = symbols.get(row["symbol"]) ?? `${base.asset}/${quote.asset}`;
    return { pair, quote: quote.asset, assets: [base, quote] };
  });
}

function isolatedRows(answer: unknown): Record<string, unknown>[] {
  const { assets } = asRecord(answer);
  if (!Array.isArray(assets)) throw new TypeError("the venue's answer has no list of isolated wallets");
  return assets.map(asRecord);
}

/** A wallet that was given up long ago stays on the venue's list, and is no trouble while nothing is in it. */
function isUsed(row: Record<string, unknown>, exchange: VenueExchange): boolean {
  return [row["baseAsset"], row["quoteAsset"]].some((asset) => {
    const { free, locked, debt } = told(asset, exchange);
    return free + locked + debt > 0;
  });
}

function told(value: unknown, exchange: VenueExchange): MarginAsset {
  const { asset, free, locked, borrowed, interest } = asRecord(value);
  const code = exchange.safeCurrencyCode(typeof asset === "string" ? asset : undefined);
  if (code === undefined) throw new TypeError("the venue names an isolated wallet without its asset");
  const [loan, due] = [amountOf(borrowed), amountOf(interest)];
  return assetOf(code, free, locked, loan === undefined || due === undefined ? undefined : loan + due);
}

function assetOf(asset: string, free: unknown, locked: unknown, debt: unknown): MarginAsset {
  const [there, held, owed] = [amountOf(free), amountOf(locked), amountOf(debt)];
  if (there === undefined || held === undefined || owed === undefined)
    throw new TypeError(`the venue does not say how much ${asset} there is and is owed`);
  return { asset, free: there, locked: held, debt: owed };
}

function amountOf(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}
