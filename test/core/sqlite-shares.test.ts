/** The shares of a check: together all of it, and only where two processes are worth it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { shareCheck, type CheckedTable } from "../../src/core/sqlite-shares.ts";

const tables = fc
  .array(
    fc.record({
      rows: fc.nat(1_000_000),
      indexes: fc.array(fc.record({ whole: fc.boolean() }), { maxLength: 3 }),
      foreignKeys: fc.nat(2),
    }),
    { maxLength: 12 },
  )
  .map((all) => all.map((each, index): CheckedTable => ({ ...each, name: `t${index}` })));

test("shareCheck() leaves out no table that has an index, and the file is checked once", () => {
  let shared = 0;
  fc.assert(
    fc.property(tables, (all) => {
      const shares = shareCheck(all);
      if (shares === undefined) return;
      shared += 1;
      const indexed = all.filter(({ indexes }) => indexes.length > 0).map(({ name }) => name);
      expect(shares.flatMap((share) => share.tables).toSorted()).toEqual(indexed.toSorted());
      expect(shares.filter(({ file }) => file)).toHaveLength(1);
    }),
  );
  expect(shared).toBeGreaterThan(10);
});

const table = (name: string, rows: number, ...whole: readonly boolean[]): CheckedTable => ({
  name,
  rows,
  indexes: whole.map((each) => ({ whole: each })),
  foreignKeys: 0,
});

test("shareCheck() gives the texts of one table to one process and the rest to the other", () => {
  expect(shareCheck([table("trades", 5_000, true), table("orders", 2_500, false)])).toEqual([
    { file: false, tables: ["orders"] },
    { file: true, tables: ["trades"] },
  ]);
});

test.each([
  { what: "nothing", all: [] },
  { what: "one table with an index", all: [table("orders", 1_000, false), table("notes", 10)] },
  { what: "empty tables", all: [table("orders", 0, true), table("trades", 0, true)] },
])("shareCheck() shares nothing of $what", ({ all }) => {
  expect(shareCheck(all)).toBeUndefined();
});
