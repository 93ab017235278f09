/** Which fills of a close are bad enough to be told. */
import { describe, expect, test } from "vitest";
import type { SentOrder } from "../../src/core/close-job.ts";
import { badFillText, worstFill } from "../../src/core/slippage.ts";

function fill(id: string, side: "buy" | "sell", average: number, more: Partial<SentOrder> = {}): SentOrder {
  const plain = { symbol: "S0", positionSide: "long", amount: 1, outcome: "accepted", sentAt: "", ackMs: 0 } as const;
  return { ...plain, id, side, filled: 1, average, reference: 100, ...more };
}

describe("worstFill()", () => {
  test("worstFill() finds the fill that is worst against the price before it, whichever its side", () => {
    const orders = [fill("a", "sell", 98), fill("b", "buy", 103), fill("c", "sell", 97.5)];
    expect(worstFill(orders, 0.01)).toMatchObject({ order: { id: "b" }, ratio: 0.03 });
  });

  test.each([
    ["within the limit", [fill("a", "buy", 101)]],
    ["better than the price before", [fill("a", "sell", 150), fill("b", "buy", 50)]],
    [
      "of unknown price",
      [fill("a", "sell", 50, { average: undefined }), fill("b", "sell", 50, { reference: undefined })],
    ],
    ["of nothing", [fill("a", "sell", 50, { filled: 0 })]],
  ])("worstFill() tells nothing of a fill %s", (_, orders) => {
    expect(worstFill(orders, 0.01)).toBeUndefined();
  });

  test("badFillText() names order, share and cost", () => {
    const bad = { order: fill("a", "sell", 97, { slippage: 3 }), ratio: 0.03 };
    expect(badFillText(bad)).toBe(
      "sell of S0 was filled at 97, 3.00 % worse than the price before it (100), which cost 3.00",
    );
  });
});
