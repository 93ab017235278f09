/** The questions to a restored database and what is made of their answers. */
import { expect, test } from "vitest";
import { checkSchema, planChecks, summarizeChecks, type CheckInput } from "../../src/core/backup-checks.ts";

const SNAPSHOT_MS = 1_800_000_000_000;
const TRADES = { id: "INTEGER", order_id: "INTEGER", created_at: "timestamp with time zone" };

const input = (more: Partial<CheckInput>): CheckInput => ({
  dialect: "sqlite",
  catalogue: {},
  checks: [],
  snapshotMs: SNAPSHOT_MS,
  timeText: String,
  ...more,
});

/** The answer to the only question that is asked of the config's own checks. */
function judged(check: unknown, values: readonly unknown[]) {
  const planned = planChecks(
    input({ catalogue: { fills: { at: "INTEGER", of: "" } }, checks: [checkSchema.parse(check)] }),
  );
  const [only] = planned;
  if (only === undefined || planned.length > 1) throw new Error(`${planned.length} questions`);
  return "judge" in only ? only.judge(values) : only;
}

const names = (catalogue: CheckInput["catalogue"]) => planChecks(input({ catalogue })).map(({ name }) => name);

const sql = (dialect: CheckInput["dialect"], type: string) => {
  const planned = planChecks(input({ dialect, catalogue: { trades: { created_at: type } } }));
  return planned.map((each) => ("sql" in each ? each.sql : "")).join("\n");
};

test("planChecks() asks the usual questions only of tables and columns that are there", () => {
  expect(names({})).toEqual([]);
  expect(names({ trades: { id: "" } })).toEqual(["rows of trades"]);
  expect(names({ trades: TRADES, orders: { id: "" } })).toEqual([
    "rows of trades",
    "time range of trades",
    "gaps of trades",
    "rows of orders",
    "orphans of trades",
  ]);
});

test("planChecks() answers by itself for a table or column that is not there", () => {
  expect(judged({ kind: "rows", table: "trades" }, [])).toMatchObject({ ok: false, text: "there is no table trades" });
  expect(judged({ kind: "fresh", table: "fills", within: "1h" }, [])).toMatchObject({
    ok: false,
    text: "fills has no column created_at",
  });
});

test("planChecks() reads the time of a row as the dialect and the column's type say", () => {
  expect(sql("postgres", "timestamp without time zone")).toContain('extract(epoch FROM "created_at")');
  expect(sql("postgres", "bigint")).not.toContain("extract");
  expect(sql("sqlite", "TEXT")).toContain("julianday");
});

test.each([
  [{ kind: "rows", table: "fills", atLeast: 10 }, [10], true],
  [{ kind: "rows", table: "fills", atLeast: 10 }, [9], false],
  [{ kind: "fresh", table: "fills", column: "at", within: "1h" }, [1, SNAPSHOT_MS / 1_000 - 3_600], true],
  [{ kind: "fresh", table: "fills", column: "at", within: "1h" }, [1, SNAPSHOT_MS / 1_000 - 3_601], false],
  [{ kind: "gaps", table: "fills", column: "at", longest: "1h" }, [3, 3_600], true],
  [{ kind: "gaps", table: "fills", column: "at", longest: "1h" }, [3, 3_601], false],
  [{ kind: "gaps", table: "fills", column: "at", longest: "1h" }, [1, null], false],
  [{ kind: "orphans", table: "fills", column: "of", of: "fills", key: "at" }, [0], true],
  [{ kind: "orphans", table: "fills", column: "of", of: "fills", key: "at" }, ["2"], false],
  [{ kind: "query", name: "sum", sql: "SELECT 1", min: 1, max: 2 }, [2], true],
  [{ kind: "query", name: "sum", sql: "SELECT 1", min: 1, max: 2 }, [3], false],
  [{ kind: "query", name: "sum", sql: "SELECT 1", min: 1 }, [null], false],
])("planChecks() judges %j with %j", (check, values, ok) => {
  expect(judged(check, values).ok).toBe(ok);
});

test("summarizeChecks() tells what is wrong alone, and everything when nothing is", () => {
  const good = { name: "rows", ok: true, text: "5" };
  const bad = { name: "gaps", ok: false, text: "2 h" };
  expect(summarizeChecks([good, bad])).toEqual({ ok: false, text: "gaps: 2 h" });
  expect(summarizeChecks([good])).toEqual({ ok: true, text: "rows: 5" });
});
