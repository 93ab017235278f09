/** What a process sees of its own trouble. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { clockOffMs, LOOP_TICK_MS, LoopLag, Mark } from "../../src/core/self-signs.ts";

/** Ticks each `LOOP_TICK_MS` up to `untilMs`. */
function run(lag: LoopLag, fromMs: number, untilMs: number): void {
  for (let atMs = fromMs + LOOP_TICK_MS; atMs <= untilMs; atMs += LOOP_TICK_MS) lag.tick(atMs);
}

test("tooLong() counts the ticks that a stall has swallowed, and is over a minute later", () => {
  const lag = new LoopLag(500, 0);
  run(lag, 0, 10_000);
  lag.tick(11_100);
  expect(lag.tooLong(11_100)).toBe(undefined);
  lag.tick(12_400);
  expect(lag.tooLong(12_400)).toBe(1_300);
  run(lag, 12_400, 72_300);
  expect(lag.tooLong(72_300)).toBe(1_300);
  expect(lag.tooLong(72_400)).toBe(undefined);
});

test("tooLong() says nothing of a loop whose lag stays below the limit", () => {
  const lag = new LoopLag(500, 0);
  for (let atMs = 550; atMs < 120_000; atMs += 550) lag.tick(atMs);
  expect(lag.tooLong(120_000)).toBe(undefined);
});

test("tooLong() agrees with the 99th percentile of all ticks that were due in a minute", () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(gaps, (stalls) => {
      const lag = new LoopLag(500, 0);
      const lags: number[] = [];
      let atMs = 0;
      for (const ticks of stalls) {
        if (atMs + ticks * LOOP_TICK_MS >= 60_000) break;
        atMs += ticks * LOOP_TICK_MS;
        lag.tick(atMs);
        for (let due = 1; due <= ticks; due += 1) lags.push((ticks - due) * LOOP_TICK_MS);
      }
      // The rest of the minute is on time.
      while (lags.length < 600) lags.push(0);
      const p99 = lags.toSorted((a, b) => b - a)[6] ?? 0;
      expect(lag.tooLong(atMs) !== undefined).toBe(p99 >= 500);
    }),
  );
});

test("look() is reached at the limit and over only at the other mark, in both directions", () => {
  const high = new Mark(1_000, 500);
  expect([900, 1_001, 501, 500, 900].map((value) => high.look(value))).toEqual([false, true, true, false, false]);
  const low = new Mark(0.01, 0.02);
  expect([0.015, 0.009, 0.019, 0.02, 0.015].map((value) => low.look(value))).toEqual([false, true, true, false, false]);
});

test("look() is never reached with a limit of nothing", () => {
  expect([0, 0.5, 1].map((value) => new Mark(0, 0).look(value))).toEqual([false, false, false]);
});

test("clockOffMs() never blames the clock for what the request may have taken", () => {
  expect(clockOffMs(1_500, 1_000, 2_000)).toBe(0);
  expect(clockOffMs(3_500, 1_000, 2_000)).toBe(1_500);
  expect(clockOffMs(200, 1_000, 2_000)).toBe(800);
});
