import fc from "fast-check";
import { expect, test } from "vitest";
import { GROWTH_BYTES, isWorthCollecting, leftAfter } from "../../src/core/own-memory.ts";

const MIB = 1_024 ** 2;
const someBytes = fc.integer({ min: 0, max: 512 * MIB });

/** Looks at each of `sizes`; a collection leaves what it finds. Answers with what was collected, and what is left. */
function looks(sizes: readonly number[], before?: number): { collected: readonly boolean[]; left: number | undefined } {
  let left = before;
  const collected: boolean[] = [];
  for (const bytes of sizes) {
    const collects = isWorthCollecting(left, bytes);
    collected.push(collects);
    left = leftAfter(left, collects, bytes);
  }
  return { collected, left };
}

test("isWorthCollecting() says yes to the first look, and to no other while memory keeps its size", () => {
  expect(looks([9 * MIB, 9 * MIB, 9 * MIB]).collected).toEqual([true, false, false]);
});

test("isWorthCollecting() says yes where memory has grown", () => {
  expect(looks([14 * MIB], 9 * MIB).collected).toEqual([true]);
});

test("isWorthCollecting() compares with the least that was left: a collection that frees late raises nothing", () => {
  expect(looks([16 * MIB, 21 * MIB], 20 * MIB).collected).toEqual([false, true]);
});

test("isWorthCollecting() ends by itself: memory of one size is left alone after one look, whatever was before", () => {
  fc.assert(
    fc.property(fc.array(someBytes), someBytes, (before, bytes) => {
      const { left } = looks(before);
      expect(looks([bytes, bytes, bytes], left).collected.slice(1)).toEqual([false, false]);
    }),
  );
});

test("leftAfter() lets no look pass over memory that has grown since any look after the last collection", () => {
  fc.assert(
    fc.property(fc.array(someBytes, { minLength: 1 }), someBytes, (quiet, bytes) => {
      let left: number | undefined;
      for (const each of quiet) left = leftAfter(left, false, each);
      expect(isWorthCollecting(left, bytes)).toBe(bytes > Math.min(...quiet) + GROWTH_BYTES);
    }),
  );
});
