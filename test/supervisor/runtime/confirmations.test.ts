/** What a token of a plan is good for, on a clock of the test's own. */
import { describe, expect, test } from "vitest";
import { FLAT, type CloseGoal } from "../../../src/core/close-goal.ts";
import type { CloseReport } from "../../../src/core/close-job.ts";
import { Confirmations } from "../../../src/supervisor/runtime/confirmations.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

// Safe: a token is made of what the plan has seen, and nothing else of the report is read.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const REPORT = { before: { positions: [], orders: 1 } } as unknown as CloseReport;
const HALF: CloseGoal = { kind: "reduce", exposure: 100 };

function rig() {
  const clock = new FakeClock();
  return { clock, tokens: new Confirmations(clock) };
}

describe("Confirmations", () => {
  test("redeem() takes a token once", () => {
    const { tokens } = rig();
    const token = tokens.issue("bot", FLAT, REPORT);
    expect(tokens.redeem("bot", FLAT, token)).toBe(true);
    expect(tokens.redeem("bot", FLAT, token)).toBe(false);
  });

  test("redeem() takes a token for 120 s, and not longer", () => {
    const { clock, tokens } = rig();
    const [first, second] = [tokens.issue("bot", FLAT, REPORT), tokens.issue("bot", FLAT, REPORT)];
    clock.advance(120_000);
    expect(tokens.redeem("bot", FLAT, first)).toBe(true);
    clock.advance(1);
    expect(tokens.redeem("bot", FLAT, second)).toBe(false);
  });

  test.each([
    ["another bot", "other", FLAT],
    ["another goal", "bot", HALF],
    ["another exposure", "bot", { kind: "reduce", exposure: 200 } as const],
  ])("redeem() refuses a token for %s, which stays good for its own", (_, bot, goal) => {
    const { tokens } = rig();
    const own = goal.kind === "reduce" && goal.exposure === 200 ? HALF : FLAT;
    const token = tokens.issue("bot", own, REPORT);
    expect(tokens.redeem(bot, goal, token)).toBe(false);
    expect(tokens.redeem("bot", own, token)).toBe(true);
  });

  test("issue() gives two plans of the same account two tokens, and forgets the oldest of more than 32", () => {
    const { tokens } = rig();
    const all = Array.from({ length: 33 }, () => tokens.issue("bot", FLAT, REPORT));
    expect(new Set(all).size).toBe(33);
    expect(tokens.redeem("bot", FLAT, all[0] ?? "")).toBe(false);
    expect(tokens.redeem("bot", FLAT, all[1] ?? "")).toBe(true);
  });
});
