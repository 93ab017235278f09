/** The restart budget: a sliding list of restart times. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RestartLog, restartsInPeriod, spendRestart } from "../../src/core/budget.ts";
import { budgetSchema } from "../../src/core/restart-schema.ts";

const policy = { intensity: 3, period: 60_000 };

/** A log of one restart at each of `times`. */
const once = (...times: readonly number[]): RestartLog => times.map((atMs) => ({ atMs, count: 1 }));

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
    expect(spendAll([0, 1, 2, 60_000]).log).toEqual(once(1, 2, 60_000));
  });

  test("never ends with a period of 0, and keeps one entry", () => {
    const { log, exhausted } = spendAll([0, 0, 0, 0, 1, 1], { intensity: 1, period: 0 });
    expect(exhausted).not.toContain(true);
    expect(log).toEqual(once(1));
  });

  test("slides: the window ends now, it is not a row of fixed windows", () => {
    expect(spendAll([50_000, 55_000, 59_000, 61_000]).exhausted.at(-1)).toBe(true);
  });

  test("allows no restart at all with intensity 0", () => {
    expect(spendAll([0], { intensity: 0, period: 60_000 })).toEqual({ log: once(0), exhausted: [true] });
  });

  test("leaves the log that it was given alone", () => {
    const log = Object.freeze(once(1, 2));
    spendRestart(policy, log, 3);
    expect(log).toEqual(once(1, 2));
  });

  test("keeps at most intensity + 1 times, also when a reload has lowered the intensity", () => {
    expect(spendRestart({ intensity: 1, period: 60_000 }, once(1, 2, 3, 4), 5)).toEqual({
      log: once(4, 5),
      exhausted: true,
    });
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

describe("a budget of more restarts than are listed one by one", () => {
  const large = { intensity: 1_100, period: 60_000 };

  test("takes no more room, and allows never more than intensity within the period, and hardly fewer", () => {
    const property = fc.property(fc.array(fc.nat(100), { minLength: 1_300, maxLength: 1_800 }), (gaps) => {
      let nowMs = 0;
      const times = gaps.map((gapMs) => (nowMs += gapMs));
      const { log, exhausted } = spendAll(times, large);
      const first = exhausted.indexOf(true);
      const within = (upTo: number, period: number): number =>
        times.slice(0, upTo + 1).filter((time) => time > (times[upTo] ?? 0) - period).length;
      const never = exhausted.every((is, i) => is || within(i, large.period) <= large.intensity);
      const late = first === -1 || within(first, large.period * 1.002) > large.intensity;
      return log.length <= 1_002 && never && late;
    });
    expect(() => fc.assert(property, { numRuns: 20 })).not.toThrow();
  });

  test("is spent by one restart too many, however close together they are", () => {
    const { log, exhausted } = spendAll(
      Array.from({ length: 1_101 }, () => 7),
      large,
    );
    expect(log).toEqual([{ atMs: 7, count: 1_101 }]);
    expect(exhausted.indexOf(true)).toBe(1_100);
  });

  test("keeps what it counted when a reload makes it small", () => {
    const { log } = spendAll(
      Array.from({ length: 1_000 }, () => 7),
      large,
    );
    expect(spendRestart(policy, log, 8)).toEqual({
      log: [
        { atMs: 7, count: 1_000 },
        { atMs: 8, count: 1 },
      ],
      exhausted: true,
    });
  });
});

describe("restartsInPeriod()", () => {
  test("counts what still counts", () => {
    expect(restartsInPeriod(policy, once(0, 1, 30_000), 60_001)).toBe(1);
    expect(restartsInPeriod(policy, [], 5)).toBe(0);
  });
});

describe("budgetSchema", () => {
  test("has the defaults of the contract", () => {
    expect(budgetSchema.parse({})).toEqual({ intensity: 5, period: 600_000 });
  });

  test.each([{ intensity: -1 }, { intensity: 1.5 }, { intensity: 1_000_000_001 }, { period: 600 }, { perod: "1m" }])(
    "refuses %o",
    (fields) => {
      expect(budgetSchema.safeParse(fields).success).toBe(false);
    },
  );
});
