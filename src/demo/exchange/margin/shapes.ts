/** The margin interface's reply objects. Key sets are those of the replies in Binance's margin reference and in ccxt's source. */
import type { Fill } from "../account.ts";
import { specOf } from "../matching.ts";
import { spotOrderReply, spotOrderShape } from "../spot/shapes.ts";
import { QUOTE, type MarginBooks } from "./orders.ts";
import { CROSS, debtOf, netOf, type MarginBalance, type MarginOrder } from "./wallets.ts";

type Json = Record<string, unknown>;

const DIGITS = 8;
/** Assets against a debt of nothing, as the venue writes it. */
const NO_DEBT_LEVEL = 999;

/** GET /sapi/v1/margin/account: every asset that could be held, those without a balance, too. */
export function crossAccountShape(margin: MarginBooks, canTrade: boolean): Json {
  const { books, wallets } = margin;
  const bases = [...books.market.specs.values()].map(({ baseAsset }) => baseAsset);
  const assets = [...bases, QUOTE].map((asset) => ({ asset, balance: wallets.balance(CROSS, asset) }));
  const [worth, owed] = totals(margin, CROSS);
  return {
    created: true,
    borrowEnabled: true,
    marginLevel: level(worth, owed),
    collateralMarginLevel: level(worth, owed),
    totalAssetOfBtc: text(worth),
    totalLiabilityOfBtc: text(owed),
    totalNetAssetOfBtc: text(worth - owed),
    totalCollateralValueInUSDT: text(worth),
    tradeEnabled: canTrade,
    transferInEnabled: true,
    transferOutEnabled: true,
    accountType: "MARGIN_1",
    userAssets: assets.map(({ asset, balance }) => ({
      asset,
      free: text(balance.free),
      locked: text(balance.locked),
      borrowed: text(balance.borrowed),
      interest: text(balance.interest),
      netAsset: text(netOf(balance)),
    })),
  };
}

/** GET /sapi/v1/margin/isolated/account: the pairs whose wallet was ever used. */
export function isolatedAccountShape(margin: MarginBooks, only: readonly string[] | undefined): Json {
  const { books, wallets } = margin;
  const pairs = wallets.pairs.filter((pair) => only === undefined || only.includes(pair));
  return {
    assets: pairs.map((symbol) => {
      const { baseAsset } = specOf(books.market, symbol);
      const [worth, owed] = totals(margin, symbol);
      return {
        baseAsset: isolatedAsset(baseAsset, wallets.balance(symbol, baseAsset)),
        quoteAsset: isolatedAsset(QUOTE, wallets.balance(symbol, QUOTE)),
        symbol,
        isolatedCreated: true,
        enabled: true,
        marginLevel: level(worth, owed),
        marginLevelStatus: "EXCESSIVE",
        marginRatio: "10.00000000",
        indexPrice: text(books.market.price(symbol)),
        liquidatePrice: "0.00000000",
        liquidateRate: "0.00000000",
        tradeEnabled: true,
      };
    }),
  };
}

function isolatedAsset(asset: string, balance: MarginBalance): Json {
  return {
    asset,
    borrowEnabled: true,
    borrowed: text(balance.borrowed),
    free: text(balance.free),
    interest: text(balance.interest),
    locked: text(balance.locked),
    netAsset: text(netOf(balance)),
    netAssetOfBtc: "0.00000000",
    repayEnabled: true,
    totalAsset: text(balance.free + balance.locked),
  };
}

/** An order as GET order and openOrders tell it. */
export function marginOrderShape(order: MarginOrder): Json {
  const { origQuoteOrderQty: _quote, orderListId: _list, workingTime: _working, ...shape } = spotOrderShape(order);
  return { ...shape, stopPrice: text(order.stopPrice), isIsolated: order.wallet !== CROSS };
}

/** The full answer to a new order, with its fills. */
export function marginOrderReply(order: MarginOrder, fills: readonly Fill[]): Json {
  const { orderListId: _list, origQuoteOrderQty: _quote, ...reply } = spotOrderReply(order, fills);
  return { ...reply, isIsolated: order.wallet !== CROSS };
}

/** Value of a wallet and of what it owes, in the quote currency. */
function totals({ books, wallets }: MarginBooks, wallet: string): [number, number] {
  let [worth, owed] = [0, 0];
  for (const [asset, balance] of wallets.assets(wallet)) {
    const spec = [...books.market.specs.values()].find(({ baseAsset }) => baseAsset === asset);
    const price = spec === undefined ? 1 : books.market.price(spec.symbol);
    worth += (balance.free + balance.locked) * price;
    owed += debtOf(balance) * price;
  }
  return [worth, owed];
}

function level(worth: number, owed: number): string {
  return text(owed === 0 ? NO_DEBT_LEVEL : Math.min(NO_DEBT_LEVEL, worth / owed));
}

function text(value: number): string {
  return value.toFixed(DIGITS);
}
