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
const BOT = { bot: "bot", account: "main", goal: FLAT };

function rig() {
  const clock = new FakeClock();
  return { clock, tokens: new Confirmations(clock) };
}

describe("Confirmations", () => {
  test("redeem() takes a token once", () => {
    const { tokens } = rig();
    const token = tokens.issue(BOT, REPORT);
    expect(tokens.redeem(BOT, token)).toBe(true);
    expect(tokens.redeem(BOT, token)).toBe(false);
  });

  test("redeem() takes a token for 120 s, and not longer", () => {
    const { clock, tokens } = rig();
    const [first, second] = [tokens.issue(BOT, REPORT), tokens.issue(BOT, REPORT)];
    clock.advance(120_000);
    expect(tokens.redeem(BOT, first)).toBe(true);
    clock.advance(1);
    expect(tokens.redeem(BOT, second)).toBe(false);
  });

  test.each([
    ["another bot", BOT, { ...BOT, bot: "other" }],
    ["another account of the bot, as after a reload", BOT, { ...BOT, account: "other" }],
    ["another goal", BOT, { ...BOT, goal: HALF }],
    ["another exposure", { ...BOT, goal: HALF }, { ...BOT, goal: { kind: "reduce", exposure: 200 } as const }],
  ])("redeem() refuses a token for %s, which stays good for its own", (_, own, other) => {
    const { tokens } = rig();
    const token = tokens.issue(own, REPORT);
    expect(tokens.redeem(other, token)).toBe(false);
    expect(tokens.redeem(own, token)).toBe(true);
  });

  test("issue() gives two plans of the same account two tokens, and forgets the oldest of more than 32", () => {
    const { tokens } = rig();
    const all = Array.from({ length: 33 }, () => tokens.issue(BOT, REPORT));
    expect(new Set(all).size).toBe(33);
    expect(tokens.redeem(BOT, all[0] ?? "")).toBe(false);
    expect(tokens.redeem(BOT, all[1] ?? "")).toBe(true);
  });
});
