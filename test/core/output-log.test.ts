/** Decisions about a bot's output: how much to cut, what is surplus. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  compressionOf,
  cutBytes,
  markOf,
  MAX_MARK_BYTES,
  pendingOfMark,
  restName,
  rotationDue,
  segmentName,
  surplus,
  type Segment,
} from "../../src/core/output-log.ts";

const MAX_SIZE = 1_048_576;

test("cutBytes() by collapse is whole blocks, never the whole file, never above maxSize", () => {
  const due = fc.constantFrom("size" as const, "age" as const);
  const granularity = fc.constantFrom(1_024, 4_096, 65_536);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e9 }), granularity, due, (size, unit, why) => {
      const bytes = cutBytes({ size, maxSize: MAX_SIZE, granularity: unit, due: why });
      expect(bytes % unit).toBe(0);
      expect(bytes).toBeGreaterThanOrEqual(0);
      expect(bytes === 0 || bytes < size).toBe(true);
      expect(bytes).toBeLessThanOrEqual(MAX_SIZE);
    }),
  );
});

test.each([
  ["leaves 64 KiB when the size is the reason", MAX_SIZE, 4_096, "size", MAX_SIZE - 65_536],
  ["leaves less than a block when the age is", 10_000, 4_096, "age", 8_192],
  ["cuts nothing out of less than a block", 4_096, 4_096, "age", 0],
  ["cuts all where only all can be cut", 10_000, undefined, "size", 10_000],
  ["cuts nothing that is smaller than a mark", MAX_MARK_BYTES, undefined, "age", 0],
] as const)("cutBytes() %s", (_name, size, granularity, due, bytes) => {
  expect(cutBytes({ size, maxSize: MAX_SIZE, granularity, due })).toBe(bytes);
});

test.each([
  [MAX_SIZE, undefined, 0, "size"],
  [MAX_SIZE - 1, undefined, 1e12, undefined],
  [1_000, 60_000, 60_000, "age"],
  [1_000, 60_000, -60_000, undefined],
  [0, 60_000, 60_000, undefined],
] as const)("rotationDue() of %d bytes, maxAge %s, age %d is %s", (size, maxAgeMs, ageMs, due) => {
  expect(rotationDue({ size, maxSize: MAX_SIZE, maxAgeMs, ageMs })).toBe(due);
});

test("segmentName() sorts as time does, and its end says how it is packed", () => {
  expect(segmentName("bot.log", "2026-01-02T03:04:05.678Z", "zstd")).toBe("bot.log.20260102T030405.678Z.zst");
  for (const compress of ["zstd", "gzip", "none"] as const)
    expect(compressionOf(segmentName("bot.log", "2026-01-02T03:04:05.678Z", compress))).toBe(compress);
  expect(compressionOf(restName("bot.log.20260102T030405.678Z.gz"))).toBe("none");
});

test("pendingOfMark() reads what markOf() wrote, and nothing else", () => {
  const token = "0c8f0e6c-6c0e-4c38-8b53-0123456789ab";
  const name = `${"b".repeat(32)}.log.20260102T030405.678Z.zst`;
  const pending = { phase: "published", method: "truncate", name, bytes: 4_096, token, at: "now" } as const;
  expect(pendingOfMark(`${markOf(pending)}more`, "now")).toEqual(pending);
  expect(Buffer.byteLength(markOf({ ...pending, bytes: Number.MAX_SAFE_INTEGER }))).toBeLessThanOrEqual(MAX_MARK_BYTES);
  expect(pendingOfMark("2026 started\n", "now")).toBeUndefined();
  expect(pendingOfMark("\0supervisor: the first 9 bytes of this file are in ../etc/x t\n", "now")).toBeUndefined();
});

const segment = (name: string, start: number, at: string): Segment => ({ name: `a.log.${name}`, start, bytes: 10, at });
const segments = [
  segment("1Z", 0, "2026-01-01T00:00:00.000Z"),
  segment("2Z", 10, "2026-01-02T00:00:00.000Z"),
  segment("2Z-rest", 20, "2026-01-02T00:00:00.000Z"),
  segment("3Z", 30, "2026-01-03T00:00:00.000Z"),
];

const surplusNames = (keep: number): string[] => surplus(segments, keep).map(({ name }) => name.slice(6));

test("surplus() is what is older than the newest ones kept, and a rest stays with its segment", () => {
  expect([surplusNames(3), surplusNames(2), surplusNames(1)]).toEqual([[], ["1Z"], ["1Z", "2Z", "2Z-rest"]]);
});
