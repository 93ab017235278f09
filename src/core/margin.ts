/**
 * A margin wallet as the plan of a close sees it: what is held beyond what is owed, what is owed beyond what is held, and the loans.
 *
 * Rules: a loan is repaid from what is there before anything is bought for it; no more is bought than is owed, rounded up to the lot; what
 * buying back will cost is not spent on the loan of the quote currency. Nothing here borrows.
 */
import { loanName } from "./close-loans.ts";
import type { Loan } from "./close-loans.ts";
import { isSellable } from "./close-orders.ts";
import { ceilToStep } from "./lots.ts";
import type { HeldPosition, MarketRules } from "./close-orders.ts";

/** One asset of a margin wallet, in its own unit. */
export interface MarginAsset {
  readonly asset: string;
  readonly free: number;
  /** What open orders hold back. */
  readonly locked: number;
  /** Borrowed and interest. */
  readonly debt: number;
}

/** Where an asset is traded for the wallet's quote currency. */
interface MarginMarket {
  readonly symbol: string;
  readonly rules: MarketRules;
  /** What a sale gets and what a purchase costs; `undefined`: not told. */
  readonly bid: number | undefined;
  readonly ask: number | undefined;
}

export interface MarginWallet {
  /** Unified symbol of the pair whose own wallet this is; `undefined`: the one wallet of cross margin. */
  readonly pair?: string | undefined;
  readonly quote: MarginAsset;
  readonly bases: readonly { readonly holding: MarginAsset; readonly market: MarginMarket | undefined }[];
  /** Assets that are not sold; what is owed of them is repaid all the same. */
  readonly keep: readonly string[];
  /** Debt of the quote currency below this, with nothing there to repay it, is dust: the smallest order's value. */
  readonly quoteDust: number;
}

/** Share of the free quote currency that purchases are planned with: prices move until they arrive. */
const SPENDABLE_RATIO = 0.99;
/** What is kept back for buying back, as a multiple of its cost now. */
const RESERVE_RATIO = 1.02;
const NO_RULES: MarketRules = {
  minAmount: 0,
  stepAmount: undefined,
  maxMarketAmount: undefined,
  maxLimitAmount: undefined,
};

/** What there is to sell, to buy back and to repay. */
export function judgeWallet(wallet: MarginWallet): { positions: HeldPosition[]; loans: Loan[] } {
  const { quote, bases, keep, pair } = wallet;
  const positions: HeldPosition[] = [];
  const loans: Loan[] = [];
  const shorts: { readonly holding: MarginAsset; readonly market: MarginMarket | undefined }[] = [];
  for (const { holding, market } of bases) {
    const { asset } = holding;
    if (holding.debt > 0) loans.push(loanOf(holding, pair, 0));
    const net = netOf(holding);
    if (net < 0) shorts.push({ holding, market });
    else if (net > 0 && !keep.includes(asset)) positions.push(longOf(holding, market, pair));
  }
  const costly = shorts.toSorted((a, b) => costOf(b) - costOf(a));
  const spendable = quote.free * SPENDABLE_RATIO;
  let spent = 0;
  for (const short of costly) {
    const position = shortOf(short.holding, short.market, pair, spendable - spent);
    positions.push(position);
    // What nothing can be bought for is not kept back.
    if (isSellable(position)) spent += Math.min(spendable - spent, costOf(short));
  }
  if (quote.debt > 0) {
    loans.push(loanOf(quote, pair, spent * RESERVE_RATIO));
    const owed = -netOf(quote);
    if (owed > 0) positions.push(quoteDebt(wallet, owed));
  }
  return { positions, loans };
}

function netOf({ free, locked, debt }: MarginAsset): number {
  // Binary noise of decimals must not look like a holding: 0.3 − 0.1 − 0.2.
  return Number((free + locked - debt).toFixed(12));
}

function loanOf({ asset, free, locked, debt }: MarginAsset, pair: string | undefined, reserve: number): Loan {
  return {
    symbol: loanName(asset, pair),
    asset,
    ...(pair === undefined ? {} : { pair }),
    amount: debt,
    repayable: Math.max(0, Math.min(free - reserve, debt)),
    covered: Math.min(free + locked, debt),
  };
}

/** What repaying takes is not for sale. */
function longOf(holding: MarginAsset, market: MarginMarket | undefined, pair: string | undefined): HeldPosition {
  const { asset, free, debt } = holding;
  const amount = netOf(holding);
  const plain = {
    side: "long",
    amount,
    free: Math.max(0, Math.min(amount, free - Math.min(free, debt))),
    hedged: false,
    marginMode: undefined,
  } as const;
  if (market === undefined)
    return { ...plain, symbol: loanName(asset, pair), unsellable: true, markPrice: undefined, rules: NO_RULES };
  const { symbol, bid, rules } = market;
  return { ...plain, symbol, ...valueAt(amount, bid), markPrice: bid, rules };
}

function shortOf(
  holding: MarginAsset,
  market: MarginMarket | undefined,
  pair: string | undefined,
  spendable: number,
): HeldPosition {
  const amount = -netOf(holding);
  const plain = { side: "short", amount, owed: "base", hedged: false, marginMode: undefined } as const;
  if (market === undefined) {
    const symbol = loanName(holding.asset, pair);
    return { ...plain, symbol, free: 0, unsellable: true, markPrice: undefined, rules: NO_RULES };
  }
  const { symbol, ask, rules } = market;
  // Without a price the venue itself says whether there is enough.
  const free = ask === undefined ? ceilToStep(amount, rules.stepAmount) : spendable / ask;
  return { ...plain, symbol, free, ...valueAt(amount, ask), markPrice: ask, rules };
}

/** Nothing buys it: it goes when what is held is sold, or it stays. */
function quoteDebt({ quote, pair, quoteDust }: MarginWallet, amount: number): HeldPosition {
  return {
    symbol: loanName(quote.asset, pair),
    side: "short",
    amount,
    notional: amount,
    free: 0,
    owed: "quote",
    unsellable: true,
    hedged: false,
    marginMode: undefined,
    markPrice: 1,
    rules: { ...NO_RULES, minAmount: quoteDust },
  };
}

function costOf({ holding, market }: { holding: MarginAsset; market: MarginMarket | undefined }): number {
  if (market?.ask === undefined) return 0;
  return ceilToStep(Math.max(0, -netOf(holding)), market.rules.stepAmount) * market.ask;
}

function valueAt(amount: number, price: number | undefined): { notional?: number } {
  return price === undefined ? {} : { notional: amount * price };
}
