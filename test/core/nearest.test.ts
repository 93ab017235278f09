/** "Did you mean". */
import { describe, expect, test } from "vitest";
import { editDistance, guessText, nearest, resembling } from "../../src/core/nearest.ts";

describe("editDistance()", () => {
  test.each([
    ["", "", 0],
    ["", "abc", 3],
    ["cap", "cap", 0],
    ["Cap", "cap", 0],
    ["stopTimout", "stopTimeout", 1],
    ["perido", "period", 1],
    ["kitten", "sitting", 3],
  ])("of %j and %j is %i", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
    expect(editDistance(b, a)).toBe(edits);
  });
});

describe("nearest()", () => {
  test("puts the nearest first and leaves out what is further than two edits", () => {
    expect(nearest("probs", ["ready", "probe", "probes", "period"])).toEqual(["probe", "probes"]);
  });

  test("allows a short word one edit only", () => {
    expect(nearest("cop", ["cap", "cwd", "env"])).toEqual(["cap"]);
  });

  test("does not look at words of unreasonable length", () => {
    expect(nearest("x".repeat(100_000), ["x"])).toEqual([]);
  });
});

test("resembling() adds names that hold the word, at most three", () => {
  expect(resembling("coin", ["coinbase", "coinex", "kucoin", "coinone", "okx"])).toEqual([
    "coinex",
    "kucoin",
    "coinbase",
  ]);
});

test.each([
  ["momntum", ["carry", "momentum"], '; did you mean "momentum"?'],
  ["nosuch", ["carry", "momentum"], ""],
  ["momentum", [], ""],
])("guessText() of %s among %j is %j", (word, known, text) => {
  expect(guessText(word, known)).toBe(text);
});
