/** What of a margin wallet is sold, bought back and repaid. */
import { describe, expect, test } from "vitest";
import { isDust, isSellable } from "../../src/core/close-orders.ts";
import { judgeWallet } from "../../src/core/margin.ts";
import type { MarginAsset, MarginWallet } from "../../src/core/margin.ts";

const RULES = { minAmount: 0.01, stepAmount: 0.01, maxMarketAmount: 100, maxLimitAmount: undefined, minCost: 5 };

function asset(name: string, free: number, debt = 0, locked = 0): MarginAsset {
  return { asset: name, free, locked, debt };
}

function base(holding: MarginAsset, price = 100): MarginWallet["bases"][number] {
  return { holding, market: { symbol: `${holding.asset}/USDT`, rules: RULES, bid: price, ask: price } };
}

function walletOf(quote: MarginAsset, bases: MarginWallet["bases"], more: Partial<MarginWallet> = {}): MarginWallet {
  return { quote, bases, keep: [], quoteDust: 5, ...more };
}

describe("judgeWallet()", () => {
  test("judgeWallet() sells what is held beyond what is owed, and repays the rest", () => {
    const { positions, loans } = judgeWallet(walletOf(asset("USDT", 0), [base(asset("BTC", 5, 2))]));
    expect(positions).toMatchObject([{ symbol: "BTC/USDT", side: "long", amount: 3, free: 3, notional: 300 }]);
    expect(loans).toEqual([{ symbol: "BTC", asset: "BTC", amount: 2, repayable: 2, covered: 2 }]);
  });

  test("judgeWallet() sells nothing that an open order holds back, and repays nothing with it", () => {
    const { positions, loans } = judgeWallet(walletOf(asset("USDT", 0), [base(asset("BTC", 1, 2, 4))]));
    expect(positions).toMatchObject([{ side: "long", amount: 3, free: 0 }]);
    expect(loans).toMatchObject([{ amount: 2, repayable: 1, covered: 2 }]);
  });

  test("judgeWallet() buys back what is owed beyond what is held, and keeps what that costs from the loan of the quote currency", () => {
    const { positions, loans } = judgeWallet(walletOf(asset("USDT", 1_000, 5_000), [base(asset("ETH", 0.5, 3.005))]));
    expect(positions).toMatchObject([
      { symbol: "ETH/USDT", side: "short", amount: 2.505, owed: "base" },
      { symbol: "USDT", side: "short", amount: 4_000, owed: "quote", unsellable: true },
    ]);
    expect(loans.map(({ symbol, repayable }) => [symbol, repayable])).toEqual([
      ["ETH", 0.5],
      // 2.51 ETH, rounded up to the lot, and 2 %.
      ["USDT", 1_000 - 2.51 * 100 * 1.02],
    ]);
  });

  test("judgeWallet() gives the free quote currency to the dearest debt first, and never more than there is", () => {
    const wallet = walletOf(asset("USDT", 1_000), [base(asset("ETH", 0, 4)), base(asset("BTC", 0, 8))]);
    const { positions } = judgeWallet(wallet);
    expect(positions.map(({ symbol, free }) => [symbol, Number(free?.toFixed(6))])).toEqual([
      ["BTC/USDT", 9.9],
      ["ETH/USDT", 1.9],
    ]);
  });

  test("judgeWallet() keeps nothing from the loan of the quote currency for what it cannot buy", () => {
    const { positions, loans } = judgeWallet(walletOf(asset("USDT", 4, 50), [base(asset("ETH", 0, 1))]));
    expect(positions.map(isSellable)).toEqual([false, false]);
    expect(loans.find(({ symbol }) => symbol === "USDT")).toMatchObject({ repayable: 4 });
  });

  test("judgeWallet() does not sell what is kept, and repays what is owed of it", () => {
    const wallet = walletOf(asset("USDT", 0), [base(asset("BNB", 5, 1))], { keep: ["BNB"] });
    expect(judgeWallet(wallet)).toMatchObject({ positions: [], loans: [{ symbol: "BNB", repayable: 1 }] });
  });

  test.each([
    ["a debt below the smallest value of an order", asset("USDT", 100), asset("ETH", 0, 0.04)],
    ["a rest below the lot", asset("USDT", 100), asset("ETH", 0.004)],
    ["a debt of the quote currency below the smallest value of an order", asset("USDT", 0, 4.9), asset("ETH", 0)],
  ])("judgeWallet() takes %s for dust", (_name, quote, holding) => {
    const { positions } = judgeWallet(walletOf(quote, [base(holding)]));
    expect(positions.map(isDust)).toEqual([true]);
  });

  test("judgeWallet() names what no market trades, and the pair of an isolated wallet", () => {
    const bases = [{ holding: asset("XYZ", 0, 7), market: undefined }];
    const { positions, loans } = judgeWallet(walletOf(asset("USDT", 0, 9), bases, { pair: "XYZ/USDT" }));
    expect(positions).toMatchObject([
      { symbol: "XYZ of XYZ/USDT", unsellable: true, owed: "base" },
      { symbol: "USDT of XYZ/USDT", unsellable: true, owed: "quote" },
    ]);
    expect(loans).toMatchObject([
      { symbol: "XYZ of XYZ/USDT", pair: "XYZ/USDT" },
      { symbol: "USDT of XYZ/USDT", pair: "XYZ/USDT" },
    ]);
  });
});
