/** When a worker counts as hung: by what was seen of it, and never for being slow. */
import { describe, expect, test } from "vitest";
import { beatMsOf, foldLook, HANG_BOUNDS, hangOf, type HangState, type WorkLook } from "../../src/core/hang.ts";

const { lookMs, hungMs } = HANG_BOUNDS;
const BEAT_MS = beatMsOf(HANG_BOUNDS.hungMs);
const HOUR_MS = 3_600_000;
const still: WorkLook = { members: "1:1", cpuMs: 0, bytes: 0, stopped: undefined, blocked: undefined };

interface Told {
  /** Of the look at this time. */
  readonly seen?: (atMs: number) => Partial<WorkLook>;
  /** Whether its loop gives its signs; default: it does. */
  readonly beats?: boolean;
  readonly lineMs?: number;
  readonly waitMs?: number | undefined;
}

/** Why it hangs and when that is seen, of looks over so long. */
function watch(forMs: number, { seen = () => ({}), beats = true, lineMs = 0, ...rest }: Told = {}) {
  const bounds = { ...HANG_BOUNDS, ...rest };
  let state: HangState | undefined;
  for (let atMs = 0; atMs <= forMs; atMs += lookMs) {
    const heard = { lineMs, beatMs: beats ? atMs - (atMs % BEAT_MS) : 0 };
    state = foldLook(state, { ...still, ...seen(atMs) }, atMs, heard, bounds);
    const why = hangOf(state, heard, bounds);
    if (why !== undefined) return { atMs, why };
  }
  return undefined;
}

describe("hangOf()", () => {
  test.each([
    [
      "a program was stopped, whatever the others say",
      { seen: (atMs) => ({ stopped: "pg_dump", cpuMs: atMs }) },
      "pg_dump was stopped for 10 minutes (SIGSTOP)",
    ],
    [
      "somebody waits for a dead disk",
      { seen: () => ({ blocked: "it" }) },
      "it waited for 10 minutes for a disk or a file system that does not answer",
    ],
    ["its loop no longer turns", { beats: false }, "it gave no sign of life for 10 minutes"],
  ] satisfies readonly (readonly [string, Told, string])[])(
    "ends a worker after ten minutes in which %s",
    (_, told, why) => {
      expect(watch(HOUR_MS, told)).toEqual({ atMs: hungMs, why: `the worker hung and was ended: ${why}` });
    },
  );

  test("names who is stopped also where the silence began before that was seen", () => {
    const told: Told = { seen: (atMs) => (atMs < 2 * lookMs ? {} : { stopped: "it" }), beats: false };
    expect(watch(HOUR_MS, told)).toEqual({
      atMs: hungMs,
      why: "the worker hung and was ended: it was stopped for 10 minutes (SIGSTOP)",
    });
  });

  test("counts from the last line on", () => {
    expect(watch(HOUR_MS, { beats: false, lineMs: 55_000 })?.atMs).toBe(60_000 + hungMs);
  });

  test.each([
    ["computes in one call", { seen: (atMs) => ({ cpuMs: atMs / 10 }), beats: false }],
    ["reads from a slow disk in one call", { seen: (atMs) => ({ bytes: atMs * 4, blocked: "it" }), beats: false }],
    ["starts one program after the other", { seen: (atMs) => ({ members: `1:1 ${atMs}:1` }), beats: false }],
    ["waits for a server", {}],
  ] satisfies readonly (readonly [string, Told])[])("leaves a worker that %s", (_, told) => {
    expect(watch(2 * HOUR_MS, told)).toBeUndefined();
  });

  test("a look at what it waits for, many times a second, is no progress", () => {
    const polls = { seen: (atMs: number) => ({ cpuMs: atMs * 0.02, bytes: atMs * 0.05 }) };
    expect(watch(4 * HOUR_MS, polls)).toEqual({
      atMs: 3 * HOUR_MS,
      why: "the worker hung and was ended: what it waits for did nothing for 180 minutes",
    });
    expect(watch(12 * HOUR_MS, { ...polls, waitMs: undefined })).toBeUndefined();
  });

  test("who waits for a disk now and then does not hang in it", () => {
    expect(
      watch(2 * HOUR_MS, { seen: (atMs) => ({ blocked: atMs % 60_000 === 0 ? undefined : "it" }) }),
    ).toBeUndefined();
  });

  test("nothing counts that was seen before we ourselves were stopped", () => {
    const heard = { lineMs: 0, beatMs: 0 };
    const look = { ...still, stopped: "it", blocked: "it" };
    const before = foldLook(undefined, look, 0, heard, HANG_BOUNDS);
    const after = foldLook(before, look, HOUR_MS, heard, HANG_BOUNDS);
    expect(hangOf(after, heard, HANG_BOUNDS)).toBeUndefined();
  });
});
