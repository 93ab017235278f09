import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bootName,
  isBlackboxFile,
  missingEvents,
  orderEvents,
  parseEvent,
  recorderOf,
  segmentName,
  segmentsOf,
  type BlackboxEvent,
} from "../../src/core/blackbox.ts";

const event = (seq: number | undefined, boot = "000001-aa", ts = 0): BlackboxEvent => ({
  v: 1,
  seq,
  ts,
  mono: undefined,
  boot,
  type: "tick",
  comp: undefined,
  sev: "info",
  msg: "",
  data: undefined,
});

test.each([
  ["tick", "info", "events"],
  ["order.sent", "info", "kept"],
  ["order", "debug", "kept"],
  ["orderbook.read", "info", "events"],
  ["tick", "warn", "kept"],
  ["tick", "error", "kept"],
] as const)("recorderOf() puts %s (%s) into %s", (type, severity, recorder) => {
  expect(recorderOf(type, severity)).toBe(recorder);
});

test("segmentsOf() sorts the segments of one recorder by start and number", () => {
  const names = [3, 10, 2].map((index) => segmentName(bootName(12, "abcdef0123"), "events", index));
  const early = segmentName(bootName(2, "ffff"), "events", 7);
  const others = [segmentName(bootName(12, "abcdef0123"), "kept", 1), "notes.ndjson"];
  expect(segmentsOf([...names, early, ...others], "events")).toEqual([early, names[2], names[0], names[1]]);
});

test("isBlackboxFile() takes segments of any writer and pages, and nothing that is hidden", () => {
  expect(["py.ndjson", "000001-a-page.bin"].every(isBlackboxFile)).toBe(true);
  expect([".x.ndjson", "state.db", "page.bin"].some(isBlackboxFile)).toBe(false);
});

describe("parseEvent()", () => {
  test("never throws, and answers with an event or nothing", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
        const parsed = parseEvent(line, "x");
        expect(parsed === undefined || typeof parsed.type === "string").toBe(true);
      }),
    );
  });

  test("fills in what a small writer leaves out", () => {
    expect(parseEvent(`{"ts":5,"type":"hello"}`, "py")).toEqual({ ...event(undefined, "py", 5), type: "hello" });
  });

  test.each(["{", "[]", "null", "1", `{"type":"a"}`, `{"ts":1}`, `{"ts":"1","type":"a"}`])("refuses %s", (line) => {
    expect(parseEvent(line, "x")).toBeUndefined();
  });
});

test("missingEvents() counts exactly what was taken out between the first and the last of each start", () => {
  const scripts = fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), { maxLength: 4 });
  fc.assert(
    fc.property(scripts, fc.integer(), (starts, seed) => {
      let gone = 0;
      const kept = starts.flatMap((script, index) => {
        const seen = script.flatMap((stays, n) => (stays ? [n] : []));
        const [first, last] = [seen.at(0), seen.at(-1)];
        if (first !== undefined && last !== undefined) gone += last - first + 1 - seen.length;
        return seen.map((n) => event(n, `00000${index}-a`));
      });
      const shuffled = kept.toSorted((a, b) => (((a.seq ?? 0) * 7 + seed) % 5) - (((b.seq ?? 0) * 7 + seed) % 5));
      const ordered = orderEvents(shuffled);
      expect(missingEvents(ordered)).toBe(gone);
      expect(missingEvents(ordered.flatMap((each) => [each, each]))).toBe(gone);
    }),
  );
});

test("orderEvents() tells a later start from an earlier one although the clock was set back between them", () => {
  const story = [event(1, "000002-b", 10), event(1, "000001-a", 1_000), event(undefined, "000001-a", 500)];
  expect(orderEvents(story).map(({ boot, ts }) => [boot, ts])).toEqual([
    ["000001-a", 500],
    ["000001-a", 1_000],
    ["000002-b", 10],
  ]);
});
