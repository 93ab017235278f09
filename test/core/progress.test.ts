import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_PROGRESS_CHARS, noLifeSigns, noteHeartbeat, noteProgress, silenceMs } from "../../src/core/progress.ts";

describe("noteHeartbeat()", () => {
  test("keeps the latest, also when an older one is read late", () => {
    expect(noteHeartbeat(noteHeartbeat(noLifeSigns, 20), 10).heartbeatAtMs).toBe(20);
  });

  test("says nothing of progress", () => {
    expect(noteHeartbeat(noLifeSigns, 20)).toEqual({ ...noLifeSigns, heartbeatAtMs: 20 });
  });
});

describe("noteProgress()", () => {
  test("counts the first value and each changed one", () => {
    const first = noteProgress(noLifeSigns, "1", 10);
    expect([first.progressAtMs, noteProgress(first, "2", 30).progressAtMs]).toEqual([10, 30]);
  });

  test("does not count the same value again", () => {
    const first = noteProgress(noLifeSigns, "1", 10);
    expect(noteProgress(first, "1", 30)).toBe(first);
  });

  test("keeps at most 256 characters and still sees a change at the end of a long value", () => {
    const long = "x".repeat(4_000);
    const first = noteProgress(noLifeSigns, `${long}1`, 10);
    const second = noteProgress(first, `${long}2`, 30);
    expect(first.progressValue).toHaveLength(MAX_PROGRESS_CHARS);
    expect(second.progressAtMs).toBe(30);
    expect(noteProgress(second, `${long}2`, 50).progressAtMs).toBe(30);
  });

  test("never keeps more than 256 characters, and time never goes back", () => {
    const step = fc.tuple(fc.string({ maxLength: 600 }), fc.nat(1e6));
    const property = fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let signs = noLifeSigns;
      for (const [value, atMs] of steps) {
        const next = noteProgress(signs, value, atMs);
        expect(next.progressValue?.length).toBeLessThanOrEqual(MAX_PROGRESS_CHARS);
        expect(next.progressAtMs).toBeGreaterThanOrEqual(signs.progressAtMs ?? 0);
        signs = next;
      }
    });
    fc.assert(property);
  });
});

describe("silenceMs()", () => {
  test.each([
    ["from the start before the first sign", 100, undefined, 150, 50],
    ["from the last sign", 100, 140, 150, 10],
    ["from the start when the sign is of earlier times", 100, 40, 150, 50],
    ["0 when the sign is stamped after now", 100, 160, 150, 0],
  ] as const)("counts %s", (_name, armedAtMs, lastAtMs, nowMs, expected) => {
    expect(silenceMs(armedAtMs, lastAtMs, nowMs)).toBe(expected);
  });

  test("is never negative and never more than the time since arming", () => {
    const property = fc.property(fc.nat(), fc.option(fc.nat(), { nil: undefined }), fc.nat(), (armed, last, now) => {
      const silence = silenceMs(armed, last, now);
      expect(silence).toBeGreaterThanOrEqual(0);
      expect(silence).toBeLessThanOrEqual(Math.max(0, now - armed));
    });
    fc.assert(property);
  });
});
