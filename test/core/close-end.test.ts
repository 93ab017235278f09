/** What the last word of a close is where positions grew while they were closed. */
import { expect, test } from "vitest";
import { quietText } from "../../src/core/close-end.ts";
import { FLAT } from "../../src/core/close-goal.ts";
import { decide, startPlan } from "../../src/core/close-plan.ts";
import type { Decision, PlanPolicy, Reading } from "../../src/core/close-plan-types.ts";
import { held } from "./held.ts";

const POLICY: PlanPolicy = {
  incident: "abc123",
  run: "run001",
  goal: FLAT,
  scope: [],
  deadlineMs: 60_000,
  recvWindowMs: 5_000,
};
const RESTING = [{ id: "1", clientId: undefined, symbol: "A", reduceOnly: false }];

/** From here on no order that left before the first reading can still be executed, ms. */
const SURE_MS = 7_000;

/** The decision at the deadline, after readings of these sizes, all but the first from `fromMs` on. */
function lastWord(amounts: readonly number[], more: Partial<Reading> = {}, fromMs = SURE_MS): Decision {
  const readings = amounts.map((amount) => ({
    positions: [held("A", amount), held("STILL", 7)],
    orders: [],
    triggers: [],
    failures: [],
    ...more,
  }));
  let state = startPlan();
  for (const [n, reading] of readings.entries()) ({ state } = decide(POLICY, state, reading, n === 0 ? 0 : fromMs + n));
  const last = readings.at(-1);
  if (last === undefined) throw new Error("no reading");
  return decide(POLICY, state, last, 60_000).decision;
}

test("decide() ends foreign where positions grew three times while nothing rested", () => {
  expect(lastWord([5, 2, 4, 1, 3, 1, 2])).toMatchObject({
    outcome: "foreign",
    foreign: ["position A long 2"],
    reason: expect.stringContaining("positions grew 3 times while they were closed"),
  });
});

test("decide() ends residual where positions grew while orders of the dead bot may still have been under way", () => {
  expect(lastWord([5, 2, 4, 1, 3, 1, 2], {}, 100)).toMatchObject({ outcome: "residual" });
});

test.each([
  ["grew twice, as by late orders of the bot", [5, 2, 4, 1, 3], {}],
  ["grew while orders rested", [5, 2, 4, 1, 3, 1, 2], { orders: RESTING }],
  ["grew while orders could not be read", [5, 2, 4, 1, 3, 1, 2], { orders: undefined }],
  ["grew while stops rested", [5, 2, 4, 1, 3, 1, 2], { triggers: RESTING }],
  ["only shrank", [9, 8, 7, 6, 5, 4, 3], {}],
] satisfies [string, number[], Partial<Reading>][])("decide() ends residual where positions %s", (_, amounts, more) => {
  expect(lastWord(amounts, more)).toMatchObject({ outcome: "residual" });
});

test("quietText() calls an account flat only where everything was to be closed", () => {
  expect(quietText({ goal: FLAT, scope: [] })).toBe("the account is flat");
  for (const goal of [{ kind: "cancel" }, { kind: "reduce", exposure: 700 }] as const)
    expect(quietText({ goal, scope: [] })).not.toContain("flat");
});
