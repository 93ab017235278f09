import fc from "fast-check";
import { expect, test } from "vitest";
import { countRestart, knownCounts, RESTART_REASONS, restartReason } from "../../src/core/restart-reason.ts";

const count = fc.integer({ min: 0, max: 1_000 });
const anyCounts = fc.option(fc.dictionary(fc.constantFrom(...RESTART_REASONS, "of a newer release"), count), {
  nil: undefined,
});

test("restartReason() is the cause of the end, with one word for all probes", () => {
  expect(restartReason({ cause: "oom" })).toBe("oom");
  expect(restartReason({ cause: "probe:web" })).toBe("probe");
});

test("restartReason() calls an end that leads to no restart, and none at all, unknown", () => {
  expect([restartReason({ cause: "stopped" }), restartReason(undefined)]).toEqual(["unknown", "unknown"]);
});

test("countRestart() adds one to the reason of the end", () => {
  const exit = { cause: "heartbeat", code: null, signal: null, detail: "" } as const;
  expect(countRestart(countRestart({ oom: 1 }, exit), exit)).toEqual({ oom: 1, heartbeat: 2 });
});

test("knownCounts() keeps the counts of reasons that it knows, and calls the rest unknown", () => {
  expect(knownCounts({ oom: 2, "of a newer release": 1 }, 5)).toEqual({ oom: 2, unknown: 3 });
});

test("knownCounts() believes the total where the counts are more", () => {
  expect(knownCounts({ oom: 6 }, 5)).toEqual({ unknown: 5 });
});

test("knownCounts() always adds up to the total", () => {
  fc.assert(
    fc.property(anyCounts, count, (counts, total) => {
      const known = Object.values(knownCounts(counts, total));
      expect(known.reduce((sum, each) => sum + each, 0)).toBe(total);
    }),
  );
});
