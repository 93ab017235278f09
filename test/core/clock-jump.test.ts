/** Sleep and clock steps, told from three clocks. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clockJump, type ClockReading } from "../../src/core/clock-jump.ts";

const HOUR = 3_600_000;
const START: ClockReading = { monotonicMs: 1_000, boottimeMs: 5_000, realtimeMs: 1_700_000_000_000 };

/** The clocks after `awakeMs` awake and `sleptMs` asleep, with the wall clock set by `steppedMs` meanwhile. */
function after(awakeMs: number, { sleptMs = 0, steppedMs = 0 } = {}): ClockReading {
  return {
    monotonicMs: START.monotonicMs + awakeMs,
    boottimeMs: START.boottimeMs + awakeMs + sleptMs,
    realtimeMs: START.realtimeMs + awakeMs + sleptMs + steppedMs,
  };
}

const awake = fc.integer({ min: 0, max: 24 * HOUR });
const jump = fc.integer({ min: 2 * 90_000, max: 365 * 24 * HOUR });

describe("clockJump()", () => {
  test.each([
    ["nothing", after(1_000), { sleptMs: 0, steppedMs: 0 }],
    ["an hour of sleep", after(1_000, { sleptMs: HOUR }), { sleptMs: HOUR, steppedMs: 0 }],
    ["a clock set forward", after(1_000, { steppedMs: HOUR }), { sleptMs: 0, steppedMs: HOUR }],
    ["a clock set back", after(1_000, { steppedMs: -HOUR }), { sleptMs: 0, steppedMs: -HOUR }],
    ["sleep and a step", after(0, { sleptMs: HOUR, steppedMs: -9_000 }), { sleptMs: HOUR, steppedMs: -9_000 }],
    ["half a second less", after(1_000, { steppedMs: 499 }), { sleptMs: 0, steppedMs: 0 }],
    ["a slew of an hour at full speed", after(HOUR, { steppedMs: 1_800 }), { sleptMs: 0, steppedMs: 0 }],
  ])("tells %s", (_, now, expected) => {
    expect(clockJump(START, now)).toEqual(expected);
  });

  test("finds no jump in whatever time passes awake, and every jump of three minutes and more within a day", () => {
    fc.assert(
      fc.property(awake, jump, fc.boolean(), (awakeMs, jumpMs, back) => {
        expect(clockJump(START, after(awakeMs))).toEqual({ sleptMs: 0, steppedMs: 0 });
        const steppedMs = back ? -jumpMs : jumpMs;
        expect(clockJump(START, after(awakeMs, { steppedMs })).steppedMs).toBe(steppedMs);
        const slept = clockJump(START, after(awakeMs % HOUR, { sleptMs: jumpMs }));
        expect(slept.sleptMs === 0 ? jumpMs : slept.sleptMs).toBe(jumpMs);
      }),
    );
  });
});
