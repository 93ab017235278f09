/** Delays, the meaning of errors, and the retry budget against their golden vectors. */
import { describe, expect, test } from "vitest";
import { judgeCallError, parseRetryAfterMs, type CallErrorFacts } from "../../src/core/call-error.ts";
import { retryDelayMs } from "../../src/core/retry.ts";
import { playBudget, vectorsText, rounded, type BudgetStep } from "./vectors.ts";

interface Vectors {
  readonly delays: readonly {
    retry: number;
    baseMs: number;
    capMs: number;
    roll: number;
    retryAfterMs: number | null;
    expectMs: number;
  }[];
  readonly errors: readonly (CallErrorFacts & { readonly expect: unknown })[];
  readonly retryAfter: readonly { value: string; wallMs: number; expectMs: number | null }[];
  readonly budgets: readonly { name: string; config: object; steps: readonly BudgetStep[] }[];
}

const vectors: Vectors = JSON.parse(vectorsText("retry.json"));

test.each(vectors.delays)("retryDelayMs() of retry $retry with roll $roll is $expectMs ms", (delay) => {
  expect(retryDelayMs(delay, delay.retry, delay.roll, delay.retryAfterMs ?? undefined)).toBe(delay.expectMs);
});

test.each(vectors.errors)("judgeCallError() of $name: $expect", ({ expect: verdict, ...facts }) => {
  expect(judgeCallError(facts)).toEqual(verdict);
});

test.each(vectors.retryAfter)("parseRetryAfterMs() of $value is $expectMs ms", ({ value, wallMs, expectMs }) => {
  expect(parseRetryAfterMs(value, wallMs, Date.parse) ?? null).toBe(expectMs);
});

describe("RetryBudget plays the golden vectors:", () => {
  test.each(vectors.budgets)("$name", ({ config, steps }) => {
    const seen = playBudget(config, steps);
    const played = steps.map((step, n) => ({ n, do: step.do, ...step.expect }));
    expect(seen.map((one, n) => ({ n, do: steps[n]?.do, ...rounded(one) }))).toMatchObject(played);
  });
});
