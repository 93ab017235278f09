/** The restart delay: golden vectors, and the bounds that every setting keeps. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { restartDelayMs } from "../../src/core/backoff.ts";
import { MAX_DURATION_MS } from "../../src/core/duration.ts";
import { type Backoff, backoffSchema } from "../../src/core/restart-schema.ts";
import golden from "./backoff-vectors.json" with { type: "json" };

const HOUR = 3_600_000;

const anyBackoff: fc.Arbitrary<Backoff> = fc
  .record({
    base: fc.oneof(fc.integer({ min: 1, max: HOUR }), fc.constantFrom(1, MAX_DURATION_MS)),
    factor: fc.oneof(fc.double({ min: 1, max: 10, noNaN: true }), fc.constantFrom(1, 2, 10)),
    cap: fc.integer({ min: 1, max: MAX_DURATION_MS }),
    jitter: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 1)),
  })
  .map((b) => ({ ...b, cap: Math.max(b.base, b.cap) }));
const anyRoll = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const anyAttempt = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 1_000_000 }));

describe("restartDelayMs()", () => {
  test.each(golden.vectors)("golden vector: $name", ({ attempt, roll, delayMs, base, factor, cap, jitter }) => {
    expect(restartDelayMs({ base, factor, cap, jitter }, attempt, roll)).toBe(delayMs);
  });

  test("is 1, 2, 4, 8, 16, 32, 60, 60 s with the defaults and no jitter", () => {
    const policy = { ...backoffSchema.parse({}), jitter: 0 };
    const delays = Array.from({ length: 8 }, (_, i) => restartDelayMs(policy, i + 1, 0) / 1_000);
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  test("is a whole number of ms, never below the plain delay and never above the cap, jitter included", () => {
    const property = fc.property(anyBackoff, anyAttempt, anyRoll, (policy, attempt, roll) => {
      const delayMs = restartDelayMs(policy, attempt, roll);
      const plainMs = Math.min(policy.base * policy.factor ** (attempt - 1), policy.cap);
      if (!Number.isInteger(delayMs)) throw new Error(`${delayMs} is no whole number`);
      if (delayMs > policy.cap) throw new Error(`${delayMs} is above the cap`);
      // A plain delay may have a fraction of a ms; it is rounded before it is compared.
      if (delayMs < Math.round(plainMs)) throw new Error(`${delayMs} is below ${plainMs}`);
    });
    expect(() => fc.assert(property, { numRuns: 3_000, includeErrorInReport: true })).not.toThrow();
  });

  test("never gets shorter from one attempt to the next with the same roll", () => {
    const property = fc.property(
      anyBackoff,
      anyAttempt,
      anyRoll,
      (policy, attempt, roll) => restartDelayMs(policy, attempt, roll) <= restartDelayMs(policy, attempt + 1, roll),
    );
    expect(() => fc.assert(property, { numRuns: 3_000 })).not.toThrow();
  });
});

describe("backoffSchema", () => {
  test("has the defaults of the contract", () => {
    expect(backoffSchema.parse({})).toEqual({ base: 1_000, factor: 2, cap: 60_000, jitter: 0.1 });
  });

  test("refuses a base above the cap, and says where", () => {
    const issues = backoffSchema.safeParse({ base: "2m", cap: "1m" }).error?.issues;
    expect(issues).toMatchObject([{ path: ["base"], message: "base must not be larger than cap" }]);
  });

  test.each([{ factor: 0.5 }, { factor: 11 }, { jitter: -0.1 }, { jitter: 1.1 }, { cap: "60" }, { capp: "60s" }])(
    "refuses %o",
    (fields) => {
      expect(backoffSchema.safeParse(fields).success).toBe(false);
    },
  );
});
