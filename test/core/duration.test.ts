/** Durations of the config: what is accepted, what is refused and in which words. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../../src/core/duration.ts";
import { duration } from "../../src/core/quantities.ts";

describe("parseDuration()", () => {
  test.each([
    ["0s", 0],
    ["250ms", 250],
    ["30s", 30_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["365d", MAX_DURATION_MS],
    ["007s", 7_000],
  ])("reads %s as %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(["", "30", "s", "1.5s", "-1s", "+1s", " 1s", "1s ", "1 s", "1S", "1min", "1h30m", "1w", "1e3s", "٣s"])(
    "refuses %j",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );

  test.each(["366d", "8761h", "999999999d", "9999999999ms"])("refuses %s, which a timer could not hold", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe("duration()", () => {
  test("is milliseconds in the program", () => {
    expect(duration().parse("2m")).toBe(120_000);
  });

  test("refuses in one sentence that shows how to write it", () => {
    expect(duration().safeParse("30").error?.issues[0]?.message).toBe(
      '"30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)',
    );
  });

  test("refuses a number: 30 of what?", () => {
    expect(duration().safeParse(30).success).toBe(false);
  });
});

describe("formatDuration()", () => {
  test.each([
    [0, "0ms"],
    [1, "1ms"],
    [1_500, "1500ms"],
    [90_000, "90s"],
    [120_000, "2m"],
    [86_400_000, "1d"],
  ])("writes %i ms as %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test("writes what parseDuration() reads back", () => {
    const property = fc.property(
      fc.oneof(
        fc.integer({ min: 0, max: 999_999_999 }),
        fc.integer({ min: 0, max: 365 }).map((d) => d * 86_400_000),
      ),
      (ms) => parseDuration(formatDuration(ms)) === ms,
    );
    expect(() => fc.assert(property, { numRuns: 1_000 })).not.toThrow();
  });
});
