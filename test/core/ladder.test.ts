/** The ladder: its rungs in order, and which outcomes are tried again without a person. */
import { describe, expect, test } from "vitest";
import { CLOSE_EXIT } from "../../src/core/close-job.ts";
import { retriesByItself, rungAt } from "../../src/core/ladder.ts";

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
