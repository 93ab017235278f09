/** Rows read straight from pages: whatever a page holds, reading it ends and throws nothing. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { rowsOfPage } from "../../src/core/sqlite-page.ts";
import { networkFileSystem } from "../../src/core/state-tables.ts";

const PAGE = 4_096;

/** A leaf with one row: key "k", 258, null, 1. */
function leaf(): Uint8Array {
  const page = new Uint8Array(PAGE);
  const record = [5, 15, 2, 0, 9, 0x6b, 1, 2];
  const at = PAGE - record.length - 2;
  page.set([0x0d, 0, 0, 0, 1, at >> 8, at & 0xff, 0, at >> 8, at & 0xff]);
  page.set([record.length, 1, ...record], at);
  return page;
}

test("rowsOfPage() reads the cells of a leaf", () => {
  expect(rowsOfPage(leaf(), 2, () => undefined)).toEqual([["k", 258, null, 1]]);
});

test("rowsOfPage() of any bytes gives rows or none, and throws nothing", () => {
  const garbage = fc.uint8Array({ minLength: 64, maxLength: 512 });
  fc.assert(
    fc.property(garbage, fc.array(fc.tuple(fc.nat(PAGE - 1), fc.nat(255)), { maxLength: 40 }), (noise, changes) => {
      const page = leaf();
      for (let at = 16; at < PAGE - 16; at += noise.length) page.set(noise.subarray(0, PAGE - 16 - at), at);
      for (const [at, value] of changes) page[at] = value;
      // A leaf with as many cells as it claims, and every page that it overflows to is itself: a chain without an end.
      page[0] = 0x0d;
      expect(Array.isArray(rowsOfPage(page, 2, () => page))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test.each([
  [0x6969, "NFS"],
  [-11_317_950, "CIFS"],
  [0xef53, undefined],
])("networkFileSystem() of %s is %s", (type, name) => {
  expect(networkFileSystem(type)).toBe(name);
});
