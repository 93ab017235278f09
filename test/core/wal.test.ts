/** Names of WAL segments and what can be played of them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { contiguousFrom, countGaps, endOfSegment, gapsIn, readSegment } from "../../src/core/wal.ts";

const MIB = 1_024 ** 2;

test.each([
  ["000000010000000000000001", 16 * MIB, { timeline: 1, number: 1 }],
  ["0000000A0000000100000000", 16 * MIB, { timeline: 10, number: 256 }],
  ["000000010000000200000003", 1_024 * MIB, { timeline: 1, number: 11 }],
  ["000000010000000000000100", 16 * MIB, undefined],
  ["00000001.history", 16 * MIB, undefined],
  ["000000010000000000000001.partial", 16 * MIB, undefined],
])("readSegment() reads %s of segments of %i bytes", (name, bytes, segment) => {
  expect(readSegment(name, bytes)).toEqual(segment && { name, ...segment });
});

const numbers = fc.uniqueArray(fc.nat(40), { minLength: 1 });
const asSegment = (number: number) => ({ name: String(number), timeline: 1, number });

test("contiguousFrom() takes every segment up to the first that is missing, and none behind", () => {
  fc.assert(
    fc.property(numbers, fc.nat(40), (all, from) => {
      const { usable, missing } = contiguousFrom(all.map(asSegment), from);
      expect(usable.map(({ number }) => number)).toEqual(Array.from({ length: missing - from }, (_, n) => from + n));
      expect(all).not.toContain(missing);
    }),
  );
});

test("gapsIn() finds a gap wherever the numbers do not count on", () => {
  fc.assert(
    fc.property(numbers, (all) => {
      const sorted = all.toSorted((a, b) => a - b);
      const missing = (sorted.at(-1) ?? 0) - (sorted[0] ?? 0) + 1 - all.length;
      const found = gapsIn(all.map(asSegment)).map(([a, b]) => b.number - a.number - 1);
      expect(found.reduce((sum, each) => sum + each, 0)).toBe(missing);
    }),
  );
});

test("countGaps() is how often a number from the start on is not there, though a later one is, whatever the timeline", () => {
  fc.assert(
    fc.property(numbers, fc.nat(40), (all, from) => {
      const there = new Set(all.filter((number) => number >= from));
      const end = Math.max(from, ...there);
      const shown = Array.from({ length: end - from + 1 }, (_, n) => (there.has(from + n) ? "x" : ".")).join("");
      const twice = [...all, ...all].map(asSegment);
      expect(countGaps(twice, from)).toBe(there.size === 0 ? 0 : (shown.match(/\.+/g)?.length ?? 0));
    }),
  );
});

test("endOfSegment() is the place of its last byte, as the server writes it", () => {
  expect([endOfSegment(0, 16 * MIB), endOfSegment(255, 16 * MIB), endOfSegment(4_096, MIB)]).toEqual([
    "0/FFFFFF",
    "0/FFFFFFFF",
    "1/FFFFF",
  ]);
});
