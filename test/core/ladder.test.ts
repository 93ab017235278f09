/** The ladder: its rungs in order, and which outcomes are tried again without a person. */
import { describe, expect, test } from "vitest";
import { CLOSE_EXIT } from "../../src/core/close-job.ts";
import { bandAt, hookTakesOver, lastStepAt, retriesByItself, rungAbove, rungAt } from "../../src/core/ladder.ts";
import type { LastStep } from "../../src/core/ladder.ts";

describe("rungAt()", () => {
  test("names the rungs in order and ends", () => {
    const ladder = ["close-positions", "close-positions"] as const;
    expect([0, 1, 2].map((rung) => rungAt(ladder, rung))).toEqual(["close-positions", "close-positions", undefined]);
    expect(rungAt([], 0)).toBeUndefined();
  });
});

describe("retriesByItself()", () => {
  test.each(["residual", "foreign", "unreadable", "internal", "refused", "failed"] as const)(
    "tries %s again: time may cure it",
    (outcome) => {
      expect(retriesByItself(outcome)).toBe(true);
    },
  );

  test.each(["flat", "planNotEmpty", "keyRefused", "unsupported", "lockDamaged"] as const)(
    "does not try %s again: it is done, or a person must act first",
    (outcome) => {
      expect(retriesByItself(outcome)).toBe(false);
    },
  );

  test("has an answer for every exit code of the close", () => {
    // Safe: the keys of an object literal are its outcomes.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    for (const outcome of Object.keys(CLOSE_EXIT) as (keyof typeof CLOSE_EXIT)[])
      expect(typeof retriesByItself(outcome)).toBe("boolean");
  });
});

describe("hookTakesOver()", () => {
  test.each(["keyRefused", "unreadable", "unsupported", "internal"] as const)(
    "lets the hook go on after %s",
    (outcome) => {
      expect(hookTakesOver(outcome)).toBe(true);
    },
  );

  test.each(["flat", "cancelled", "reduced", "residual", "foreign", "refused", "planNotEmpty"] as const)(
    "leaves the hook alone after %s",
    (outcome) => {
      expect(hookTakesOver(outcome)).toBe(false);
    },
  );
});

/** The first eight steps. */
const climb = (last: readonly LastStep[]): unknown[] => {
  const steps: unknown[] = [];
  for (let rung = 0, n = 0; n < 8; n += 1, rung = rungAbove(rung, last))
    steps.push(lastStepAt(rung, last) ?? bandAt(rung));
  return steps;
};

describe("rungAbove()", () => {
  test("climbs from the market order by the limits to the last steps that there are, and begins anew", () => {
    expect(climb([])).toEqual([0, 0.001, 0.005, 0.02, 0.05, 0, 0.001, 0.005]);
    expect(climb(["venue", "hook"])).toEqual([0, 0.001, 0.005, 0.02, 0.05, "venue", "hook", 0]);
  });
});
