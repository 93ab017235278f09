/** The restart budget: a sliding list of restart times. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RestartLog, restartsInPeriod, spendRestart } from "../../src/core/budget.ts";
import { budgetSchema } from "../../src/core/restart-schema.ts";

const policy = { intensity: 3, period: 60_000 };

/** Spends one restart at each of `times`, one after another. */
function spendAll(times: readonly number[], by = policy): { log: RestartLog; exhausted: boolean[] } {
  let log: RestartLog = [];
  const exhausted: boolean[] = [];
  for (const atMs of times) {
    const spent = spendRestart(by, log, atMs);
    log = spent.log;
    exhausted.push(spent.exhausted);
  }
  return { log, exhausted };
}

describe("spendRestart()", () => {
  test("allows intensity restarts within the period and not one more", () => {
    expect(spendAll([0, 1, 2, 3]).exhausted).toEqual([false, false, false, true]);
  });

  test("forgets a restart once it is as old as the period", () => {
    expect(spendAll([0, 1, 2, 59_999]).exhausted.at(-1)).toBe(true);
    expect(spendAll([0, 1, 2, 60_000]).exhausted.at(-1)).toBe(false);
    expect(spendAll([0, 1, 2, 60_000]).log).toEqual([1, 2, 60_000]);
  });

  test("never ends with a period of 0, and keeps one entry", () => {
    const { log, exhausted } = spendAll([0, 0, 0, 0, 1, 1], { intensity: 1, period: 0 });
    expect(exhausted).not.toContain(true);
    expect(log).toEqual([1]);
  });

  test("slides: the window ends now, it is not a row of fixed windows", () => {
    expect(spendAll([50_000, 55_000, 59_000, 61_000]).exhausted.at(-1)).toBe(true);
  });

  test("allows no restart at all with intensity 0", () => {
    expect(spendAll([0], { intensity: 0, period: 60_000 })).toEqual({ log: [0], exhausted: [true] });
  });

  test("leaves the log that it was given alone", () => {
    const log = Object.freeze([1, 2]);
    spendRestart(policy, log, 3);
    expect(log).toEqual([1, 2]);
  });

  test("keeps at most intensity + 1 times, also when a reload has lowered the intensity", () => {
    expect(spendRestart({ intensity: 1, period: 60_000 }, [1, 2, 3, 4], 5)).toEqual({ log: [4, 5], exhausted: true });
    const property = fc.property(
      fc.array(fc.nat(200_000), { maxLength: 60, size: "max" }),
      fc.nat(5),
      (times, intensity) =>
        spendAll(
          times.toSorted((a, b) => a - b),
          { intensity, period: 60_000 },
        ).log.length <=
        intensity + 1,
    );
    expect(() => fc.assert(property, { numRuns: 1_000 })).not.toThrow();
  });

  test("is exhausted exactly when more than intensity restarts lie within the period", () => {
    const property = fc.property(fc.array(fc.nat(200_000), { maxLength: 30, size: "max" }), (unsorted) => {
      const times = unsorted.toSorted((a, b) => a - b);
      const counted = times.map((at, i) => times.slice(0, i + 1).filter((t) => t > at - policy.period).length);
      const { exhausted } = spendAll(times);
      return exhausted.every((is, i) => is === (counted[i] ?? 0) > policy.intensity);
    });
    expect(() => fc.assert(property, { numRuns: 1_000 })).not.toThrow();
  });
});

describe("restartsInPeriod()", () => {
  test("lists what still counts, oldest first", () => {
    expect(restartsInPeriod(policy, [0, 1, 30_000], 60_001)).toEqual([30_000]);
    expect(restartsInPeriod(policy, [], 5)).toEqual([]);
  });
});

describe("budgetSchema", () => {
  test("has the defaults of the contract", () => {
    expect(budgetSchema.parse({})).toEqual({ intensity: 5, period: 600_000 });
  });

  test.each([{ intensity: -1 }, { intensity: 1.5 }, { intensity: 1_001 }, { period: 600 }, { perod: "1m" }])(
    "refuses %o",
    (fields) => {
      expect(budgetSchema.safeParse(fields).success).toBe(false);
    },
  );
});
