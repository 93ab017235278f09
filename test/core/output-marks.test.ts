/** Where in a bot's output a start or a time begins. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Segment } from "../../src/core/output-log.ts";
import {
  offsetSince,
  outputMarkLine,
  parseOutputMarks,
  parseRunMarks,
  rangeOfRun,
  thinMarks,
  type OutputMark,
} from "../../src/core/output-marks.ts";

const segment = (name: string, start: number, at: string): Segment => ({ name: `a.log.${name}`, start, bytes: 10, at });
const segments = [
  segment("1Z", 0, "2026-01-01T00:00:00.000Z"),
  segment("2Z", 10, "2026-01-02T00:00:00.000Z"),
  segment("2Z-rest", 20, "2026-01-02T00:00:00.000Z"),
  segment("3Z", 30, "2026-01-03T00:00:00.000Z"),
];

const text = [
  outputMarkLine({ generation: 1, at: "2025-12-31T12:00:00.000Z", offset: 0 }),
  "torn {\n",
  outputMarkLine({ generation: 2, at: "2026-01-02T12:00:00.000Z", offset: 25 }),
  outputMarkLine({ at: "2026-01-02T12:01:00.000Z", offset: 33 }),
  '{"v":1,"generation":"x","at":"2026-01-02T12:01:00.000Z","offset":33}\n',
  outputMarkLine({ generation: 3, at: "2026-01-03T12:00:00.000Z", offset: 44 }),
  '{"v":1,"gen',
].join("");
const marks = parseOutputMarks(text);

test("parseOutputMarks() reads starts and times, and parseRunMarks() the starts alone", () => {
  expect(marks.map(({ offset }) => offset)).toEqual([0, 25, 33, 44]);
  expect(parseRunMarks(text).map(({ generation }) => generation)).toEqual([1, 2, 3]);
});

test("rangeOfRun() ends where the next start begins, and the last one has no end yet", () => {
  const stream = { segments, end: 60 };
  expect(rangeOfRun(marks, 2, stream)).toEqual({ from: 25, to: 44 });
  expect(rangeOfRun(marks, 3, stream)).toEqual({ from: 44, to: undefined });
  expect(rangeOfRun(marks, 4, stream)).toBeUndefined();
});

const start = (generation: number, offset: number): OutputMark => ({ v: 1, generation, at: "", offset });
const timed = (offset: number): OutputMark => ({ v: 1, at: "", offset });

test("rangeOfRun() shows what a start has written since somebody emptied the file", () => {
  const begun = [start(1, 0), start(2, 100), timed(150)];
  const rest = { from: 40, to: undefined };
  expect(rangeOfRun(begun, 2, { segments, end: 60 })).toEqual(rest);
  expect(rangeOfRun([...begun, timed(60), timed(300)], 2, { segments, end: 400 })).toEqual(rest);
  expect(rangeOfRun([...begun, start(3, 60)], 2, { segments, end: 400 })).toEqual({ from: 40, to: 60 });
  expect(rangeOfRun(begun, 2, { segments: [], end: 60 })).toEqual({ from: 0, to: undefined });
});

test("rangeOfRun() knows nothing of a start that ended before the file was emptied", () => {
  const begun = [start(1, 0), start(2, 100), timed(60), start(3, 200)];
  expect(rangeOfRun(begun, 1, { segments, end: 300 })).toBeUndefined();
  expect(rangeOfRun(begun, 3, { segments, end: 300 })).toEqual({ from: 200, to: undefined });
});

test.each([
  ["before all", "2025-01-01T00:00:00.000Z", 0],
  // The rest was written after the time that it bears.
  ["after a rotation", "2026-01-02T11:00:00.000Z", 20],
  ["after a mark of time", "2026-01-02T12:01:30.000Z", 33],
  ["after the last start", "2026-01-03T13:00:00.000Z", 44],
])("offsetSince() %s misses nothing that is newer", (_, since, offset) => {
  expect(offsetSince(marks, { segments, end: 60 }, since)).toBe(offset);
});

const time = (at: string, offset: number): OutputMark => ({ v: 1, at: `2026-01-01T${at}:00.000Z`, offset });

test("offsetSince() of a time that a clock set back has shown twice begins at the first of them", () => {
  const stepped = [time("12:00", 10), time("13:00", 20), time("12:10", 30), time("12:30", 40), time("14:00", 50)];
  expect(offsetSince(stepped, { segments: [], end: 60 }, "2026-01-01T12:40:00.000Z")).toBe(10);
  expect(offsetSince(stepped, { segments: [], end: 60 }, "2026-01-01T15:00:00.000Z")).toBe(50);
});

test("offsetSince() passes over marks of a file that was emptied since", () => {
  const emptied = [time("12:00", 0), time("12:01", 9_000), time("12:05", 40), time("12:06", 80)];
  expect(offsetSince(emptied, { segments: [], end: 90 }, "2026-01-01T12:03:00.000Z")).toBe(0);
  expect(offsetSince(emptied, { segments: [], end: 90 }, "2026-01-01T12:05:30.000Z")).toBe(40);
  // In the minute since then, no mark tells.
  expect(offsetSince(emptied, { segments: [], end: 30 }, "2026-01-01T12:06:30.000Z")).toBe(0);
  expect(offsetSince(emptied, { segments, end: 35 }, "2026-01-03T12:06:30.000Z")).toBe(40);
});

test("offsetSince() with a mark each minute shows what was written since, and at most a minute more", () => {
  const minute = fc.integer({ min: 0, max: 3 }).map((written) => written * 100);
  fc.assert(
    fc.property(fc.array(minute, { minLength: 1, maxLength: 60 }), fc.nat(3_599), (written, second) => {
      const base = Date.UTC(2026, 0, 1);
      let end = 0;
      const noted: OutputMark[] = [{ v: 1, generation: 1, at: new Date(base).toISOString(), offset: 0 }];
      const ends = written.map((bytes, at) => {
        end += bytes;
        if (bytes > 0) noted.push({ v: 1, at: new Date(base + (at + 1) * 60_000).toISOString(), offset: end });
        return end;
      });
      const minutes = Math.min(Math.floor(second / 60), ends.length);
      const known = ends[minutes - 1] ?? 0;
      expect(offsetSince(noted, { segments: [], end }, new Date(base + second * 1_000).toISOString())).toBe(known);
    }),
  );
});

test("thinMarks() keeps all starts while they are few, all new times, and half of the old ones", () => {
  const all: OutputMark[] = [];
  for (let n = 0; n < 1_000; n += 1) {
    if (n % 10 === 0) all.push({ v: 1, generation: n / 10 + 1, at: "", offset: n });
    all.push({ v: 1, at: "", offset: n });
  }
  const kept = thinMarks(all);
  expect(kept.filter((mark) => "generation" in mark)).toHaveLength(100);
  expect(kept).toHaveLength(100 + 750);
  expect(kept.map(({ offset }) => offset)).toEqual(kept.map(({ offset }) => offset).toSorted((a, b) => a - b));
  expect(kept.at(-1)).toBe(all.at(-1));
});
