/** The breaker's machine against its golden vectors, which other languages run, too. */
import { describe, expect, test } from "vitest";
import { breakerConfig, type BreakerConfig } from "../../src/core/circuit-parts.ts";
import { playBreaker, vectorsText, rounded, type BreakerStep } from "./vectors.ts";

interface Case {
  readonly name: string;
  readonly config: Partial<BreakerConfig>;
  readonly steps: readonly BreakerStep[];
}

const { cases }: { readonly cases: readonly Case[] } = JSON.parse(vectorsText("breaker.json"));

describe("Circuit plays the golden vectors:", () => {
  test.each(cases)("$name", ({ config, steps }) => {
    const seen = playBreaker(config, steps);
    const played = steps.map((step, n) => ({ n, do: step.do, at: step.at, ...step.expect }));
    expect(seen.map((one, n) => ({ n, do: steps[n]?.do, at: steps[n]?.at, ...rounded(one) }))).toMatchObject(played);
  });
});

test.each([
  [{ failureThreshold: 0 }, "failureThreshold is 0; use 1 to Infinity"],
  [{ failureRate: 50 }, "failureRate is 50; it is a share: use up to 1"],
  [{ successThreshold: 1.5 }, "successThreshold is 1.5; use a whole number"],
  [{ windowSize: 5 }, "minimumCalls is 10, and windowSize 5 never holds so many"],
  [{ openMs: 2_000, openMaxMs: 1_000 }, "openMaxMs is 1000, less than openMs 2000"],
  [{ openMs: 0 }, "openMs is 0; use 1 to 259200000"],
])("breakerConfig() refuses %o", (given, mistake) => {
  expect(breakerConfig(given)).toEqual([mistake]);
});
