/** The words that every text of a close shares: what was looked at, and how many. */
import { expect, test } from "vitest";
import { flatText } from "../../src/core/close-scope.ts";
import { counted } from "../../src/core/counted.ts";

test.each([
  [[], "the account is flat"],
  [["A"], "flat for the configured symbols (A); other symbols were not looked at"],
  [["A", "B", "C"], "flat for the configured symbols (A, B, C); other symbols were not looked at"],
  [["A", "B", "C", "D", "E"], "flat for the configured symbols (A, B, C and 2 more); other symbols were not looked at"],
])("flatText() of %j claims no more than was read", (scope, expected) => {
  expect(flatText(scope)).toBe(expected);
});

test.each([
  [0, "0 orders"],
  [1, "1 order"],
  [2, "2 orders"],
])("counted() of %i is %s", (count, expected) => {
  expect(counted(count, "order")).toBe(expected);
});
