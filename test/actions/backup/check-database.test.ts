/** A check by two processes finds what one alone finds, whatever is wrong with the database and with the second process. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { checkFully, checkShareAction } from "../../../src/actions/backup/check-database.ts";
import { shareCheck } from "../../../src/core/sqlite-shares.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { checkDatabase, checkShare, tablesToCheck } from "../../../src/platform/sqlite-check.ts";

const folder = mkdtempSync(join(tmpdir(), "check-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const whole = join(folder, "whole.db");
execFileSync("sqlite3", [
  whole,
  `PRAGMA page_size = 512; PRAGMA foreign_keys = OFF;
   CREATE TABLE orders (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, price REAL, side TEXT CHECK (side IN ('buy', 'sell')));
   CREATE INDEX cheap ON orders (price) WHERE price < 10;
   CREATE TABLE trades (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id), fee REAL);
   CREATE INDEX trades_order ON trades (order_id);
   CREATE TABLE "wei""rd name" (symbol TEXT, at INTEGER, note TEXT, PRIMARY KEY (symbol, at)) WITHOUT ROWID;
   CREATE TABLE bare (note TEXT);
   WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO orders (uid, price, side) SELECT printf('%x', i * 7919 % 1009), i % 37, 'buy' FROM n;
   INSERT INTO trades (order_id, fee) SELECT id, 0.1 FROM orders UNION ALL SELECT id, 0.2 FROM orders;
   INSERT INTO "wei""rd name" SELECT side, id, uid FROM orders; INSERT INTO bare SELECT uid FROM orders;
   CREATE TABLE gone AS SELECT * FROM orders; DROP TABLE gone`,
]);

function query(path: string, sql: string): void {
  execFileSync("sqlite3", [path, sql]);
}

/** Makes the change without telling an index of it. */
const behind = (index: string, sql: string): string =>
  `CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '${index}';
   PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = '${index}'; PRAGMA writable_schema = RESET; ${sql};
   PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM temp.kept; PRAGMA writable_schema = RESET`;

/** Both shares, one after the other. */
async function sharedFindings(path: string): Promise<readonly string[]> {
  const tables = await tablesToCheck(path);
  const shares = tables && shareCheck(tables);
  if (shares === undefined) throw new Error("it is not shared");
  return [...(await checkShare(path, shares[0])), ...(await checkShare(path, shares[1]))];
}

const alone = (path: string): Promise<readonly string[]> => checkDatabase(path, { quick: false });

test.each([
  { what: "nothing", sql: "SELECT 1", found: "" },
  {
    what: "a row that an index has not",
    sql: behind("trades_order", "UPDATE trades SET order_id = 299 WHERE id = 3"),
    found: "row 3 missing from index trades_order",
  },
  {
    what: "a row that an index alone has",
    sql: behind("trades_order", "DELETE FROM trades WHERE id = 3"),
    found: "wrong # of entries in index trades_order",
  },
  {
    what: "a partial index without its row",
    sql: behind("cheap", "UPDATE orders SET price = 3 WHERE id = 20"),
    found: "row 20 missing from index cheap",
  },
  {
    what: "a row without the row that it refers to",
    sql: "PRAGMA foreign_keys = OFF; DELETE FROM orders WHERE id = 7",
    found: "a row refers to one that is not there: trades",
  },
  {
    what: "a value that the schema forbids",
    sql: `UPDATE orders SET price = NULL WHERE id = 9; PRAGMA writable_schema = ON;
          UPDATE sqlite_schema SET sql = replace(sql, 'price REAL', 'price REAL NOT NULL') WHERE name = 'orders'`,
    found: "NULL value in orders.price",
  },
  {
    what: "a page that nobody has",
    sql: "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'bare'",
    found: "never used",
  },
])("checkShare() of both shares finds $what as checkDatabase() does", async ({ what, sql, found }) => {
  const path = join(folder, `${what}.db`);
  copyFileSync(whole, path);
  query(path, sql);
  const [shared, one] = [(await sharedFindings(path)).join("; "), (await alone(path)).join("; ")];
  expect(shared).toContain(found);
  expect(one).toContain(found);
  expect([shared === "", one === ""]).toEqual([found === "", found === ""]);
});

test("checkShare() of both shares passes the same files with flipped bits as checkDatabase() does", async () => {
  const bytes = readFileSync(whole);
  const path = join(folder, "flipped.db");
  const outcomes = { passed: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
      writeFileSync(path, flipped);
      const one = (await alone(path)).length > 0;
      outcomes[one ? "refused" : "passed"] += 1;
      const tables = await tablesToCheck(path).catch(() => undefined);
      // One that cannot be shared is checked as a whole.
      if (tables === undefined || shareCheck(tables) === undefined) return;
      expect((await sharedFindings(path)).length > 0).toBe(one);
    }),
    { numRuns: 300 },
  );
  expect(outcomes.passed).toBeGreaterThan(20);
  expect(outcomes.refused).toBeGreaterThan(20);
}, 60_000);

test("tablesToCheck() gives no share of a database with a virtual table", async () => {
  const path = join(folder, "virtual.db");
  query(path, "CREATE TABLE a (b UNIQUE); CREATE VIRTUAL TABLE words USING fts5 (text)");
  expect(await tablesToCheck(path)).toBeUndefined();
});

/** Something that is in the share of the second process. */
const SECOND = {
  sql: behind("cheap", "UPDATE orders SET price = 3 WHERE id = 20"),
  found: "row 20 missing from index cheap",
};

test("shareCheck() leaves the orders of these tests to the second process", async () => {
  const [, other] = shareCheck((await tablesToCheck(whole)) ?? []) ?? [];
  expect(other).toEqual({ file: false, tables: ["orders"] });
});

test.concurrent("checkFully() says what its second process has found", async () => {
  const path = join(folder, "second.db");
  copyFileSync(whole, path);
  query(path, SECOND.sql);
  expect(await checkFully(path, { processes: 2, minBytes: 0 })).toEqual([expect.stringContaining(SECOND.found)]);
  expect(await checkFully(whole, { processes: 2, minBytes: 0 })).toEqual([]);
}, 60_000);

test.concurrent("checkFully() believes its second process, and does not look again", async () => {
  const program = ["sh", "-c", `echo '{"findings":["told by another"]}' >&3`];
  expect(await checkFully(whole, { processes: 2, minBytes: 0, program })).toEqual(["told by another"]);
});

test("checkShareAction answers with what its share has", async () => {
  const path = join(folder, "action.db");
  copyFileSync(whole, path);
  query(path, SECOND.sql);
  const lines: unknown[] = [];
  const io = { write: (line: unknown) => void lines.push(line), clock: systemClock };
  expect(await checkShareAction.run({ path, file: false, tables: ["orders"] }, io)).toBe(0);
  expect(lines).toEqual([{ findings: [expect.stringContaining(SECOND.found)] }]);
});

test.concurrent.each([
  { what: "fails", program: ["/bin/false"] },
  { what: "says nothing", program: ["/bin/true"] },
  { what: "is not there", program: ["/nowhere/at/all"] },
])("checkFully() does the share of a process that $what", async ({ what, program }) => {
  const path = join(folder, `second ${what}.db`);
  copyFileSync(whole, path);
  query(path, SECOND.sql);
  expect(await checkFully(path, { processes: 2, minBytes: 0, program })).toEqual([
    expect.stringContaining(SECOND.found),
  ]);
});
