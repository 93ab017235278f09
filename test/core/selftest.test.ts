/** The summary of a selftest, as scripts read it. */
import { expect, test } from "vitest";
import { resultLine, summarize, summaryText, type SelftestResult } from "../../src/core/selftest.ts";

const result = (outcome: SelftestResult["outcome"]): SelftestResult => ({
  name: "retention",
  outcome,
  detail: "3 left",
});

test("summaryText() has the lines that scripts look for", () => {
  const lines = summaryText(summarize(Array.from({ length: 8 }, () => result("passed")))).split("\n");
  expect(lines.slice(1, -1)).toEqual([
    "Recovery Test Summary",
    "=".repeat(42),
    "Total tests: 8",
    "Passed: 8",
    "Failed: 0",
    "Pass rate: 100%",
  ]);
});

test("summarize() counts what ran, and never rounds a failure away", () => {
  const results = [...Array.from({ length: 999 }, () => result("passed")), result("failed"), result("skipped")];
  expect(summarize(results)).toEqual({ total: 1_000, passed: 999, failed: 1, skipped: 1, passRate: 99 });
});

test("resultLine() says what happened first", () => {
  expect(resultLine(result("skipped"))).toBe("SKIP  retention: 3 left");
});
