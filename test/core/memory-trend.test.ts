/** Memory that grows towards a limit, told from memory that wavers, collects garbage, or has just started. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addSample,
  growth,
  MAX_SAMPLES,
  MIN_SPAN_MS,
  noTrend,
  timeToLimitMs,
  type MemoryTrend,
} from "../../src/core/memory-trend.ts";

const MIB = 1_024 ** 2;

/** Looks once a second for `seconds`. */
function watch(seconds: number, bytesAt: (second: number) => number): MemoryTrend {
  let trend = noTrend;
  for (let second = 0; second <= seconds; second += 1)
    trend = addSample(trend, { atMs: second * 1_000, bytes: bytesAt(second) });
  return trend;
}

const anyNoise = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 601, maxLength: 601 });

describe("addSample()", () => {
  test("keeps a bounded number of samples in order that span the time so far, up to an hour", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 800 }), (steps) => {
        let trend = noTrend;
        let atMs = 0;
        for (const step of steps) {
          atMs += step;
          trend = addSample(trend, { atMs, bytes: 1 });
          const times = trend.samples.map((sample) => sample.atMs);
          expect(times.length).toBeLessThanOrEqual(MAX_SAMPLES + 1);
          expect(times).toEqual(times.toSorted((a, b) => a - b));
          expect(new Set(times).size).toBe(times.length);
        }
      }),
      { numRuns: 30 },
    );
    const hours = watch(4 * 3_600, () => 1).samples;
    expect(hours.length).toBeGreaterThan(MAX_SAMPLES / 2);
    expect((hours.at(-1)?.atMs ?? 0) - (hours[0]?.atMs ?? 0)).toBeGreaterThan(50 * 60_000);
  });
});

describe("growth()", () => {
  test("is the slope of a leak, whatever noise a tenth of its growth makes", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 50, noNaN: true }), anyNoise, (mibPerSecond, noise) => {
        const total = mibPerSecond * 600;
        const trend = watch(600, (s) => (100 + mibPerSecond * s + 0.1 * total * (noise[s] ?? 0)) * MIB);
        const slope = growth(trend) ?? 0;
        expect((slope * 1_000) / MIB / mibPerSecond).toBeGreaterThan(0.8);
        expect((slope * 1_000) / MIB / mibPerSecond).toBeLessThan(1.2);
      }),
      { numRuns: 50 },
    );
  });

  test("is none for memory that wavers without a direction", () => {
    fc.assert(
      fc.property(anyNoise, (noise) => {
        expect(growth(watch(600, (s) => (500 + 200 * (noise[s] ?? 0)) * MIB))).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ["memory that stays", () => 500 * MIB],
    ["memory that falls", (s: number) => (900 - s) * MIB],
    ["a garbage collector's teeth", (s: number) => (300 + (s % 40) * 10) * MIB],
    ["one spike", (s: number) => (s === 300 ? 4_000 : 500) * MIB],
    ["one step", (s: number) => (s > 450 ? 900 : 500) * MIB],
    ["a start that is over", (s: number) => Math.min(s * 20, 900) * MIB],
  ])("is none for %s", (_, bytesAt) => {
    expect(growth(watch(600, bytesAt))).toBeUndefined();
  });

  test("is none before a minute is seen", () => {
    const seconds = MIN_SPAN_MS / 1_000;
    expect(growth(watch(seconds - 1, (s) => s * MIB))).toBeUndefined();
    expect(growth(watch(seconds, (s) => s * MIB))).toBeDefined();
  });
});

describe("timeToLimitMs()", () => {
  test("is the time until a leak reaches the limit", () => {
    const leak = watch(600, (s) => (200 + s) * MIB);
    expect(timeToLimitMs(leak, 1_000 * MIB)).toBeCloseTo(200_000, -4);
    expect(timeToLimitMs(leak, 700 * MIB)).toBe(0);
  });

  test("looks no further ahead than it has looked back", () => {
    const start = watch(90, (s) => s * 10 * MIB);
    expect(timeToLimitMs(start, 2_048 * MIB)).toBeUndefined();
    expect(timeToLimitMs(start, 1_600 * MIB)).toBeDefined();
  });
});
