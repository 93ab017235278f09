/** Lines about a deed that takes long. */
import { expect, test } from "vitest";
import { showProgress, type DisplayState } from "../../src/core/progress-display.ts";

const MIB = 1_024 ** 2;

/** Texts of a deed that does 1 % of 100 MiB in each `everyMs`. */
function texts(everyMs: number, terminal: boolean): readonly string[] {
  let state: DisplayState | undefined;
  const shown: string[] = [];
  for (let percent = 0; percent <= 100; percent += 1) {
    const progress = { step: "storing", doneBytes: percent * MIB, totalBytes: 100 * MIB };
    const next = showProgress(state, progress, { atMs: percent * everyMs, terminal });
    ({ state } = next);
    if (next.text !== undefined) shown.push(next.text);
  }
  return shown;
}

test("showProgress() tells each tenth once where the output is no terminal", () => {
  expect(texts(1_000, false).length).toBe(10);
  expect(texts(1_000, false)[4]).toBe("storing: 50 % of 100.0 MiB, 1.0 MiB/s, 50 s left");
});

test("showProgress() tells nothing of a step that is over soon", () => {
  expect(texts(10, false)).toEqual([]);
});

test("showProgress() redraws a bar at most ten times a second, and its end", () => {
  const shown = texts(10, true);
  expect(shown.length).toBeLessThanOrEqual(12);
  expect(shown.at(-1)).toContain(`[${"#".repeat(24)}] 100 % of 100.0 MiB`);
});
