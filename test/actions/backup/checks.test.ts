/** What a restored database is asked (L3), by SQLite itself. */
import { Database } from "bun:sqlite";
import { expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { checkData } from "../../../src/actions/backup/sqlite.ts";
import { checkSchema } from "../../../src/core/backup-checks.ts";
import { provenLevel } from "../../../src/core/backup-manifest.ts";
import { backupRecordSchema } from "../../../src/core/backup-record.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { readFileSync } from "node:fs";
import { Rig } from "./rig.ts";

const NOW_MS = Date.UTC(2026, 0, 2);

/** Trades with their times in one of the ways in which bots write them. */
function trading(path: string, time: (ms: number) => number | string): void {
  const database = new Database(path);
  database.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
  database.exec("CREATE TABLE trades (id INTEGER PRIMARY KEY, order_id INTEGER, created_at)");
  const trade = database.prepare("INSERT INTO trades (order_id, created_at) VALUES (?, ?)");
  database.exec("INSERT INTO orders VALUES (1)");
  for (const minutes of [0, 30, 120, 130]) trade.run(1, time(NOW_MS - minutes * 60_000));
  database.close();
}

test.each([
  ["text", (ms: number) => new Date(ms).toISOString()],
  ["text of SQLite", (ms: number) => new Date(ms).toISOString().slice(0, 19).replace("T", " ")],
  ["seconds", (ms: number) => ms / 1_000],
  ["milliseconds", (ms: number) => ms],
])("checkData() finds range and gaps of times that are %s", async (_, time) => {
  using rig = new Rig();
  trading(rig.database, time);
  const results = await checkData(rig.database, [], NOW_MS);
  expect(Object.fromEntries(results.map(({ name, text }) => [name, text]))).toEqual({
    "rows of trades": "4",
    "time range of trades": "2026-01-01T21:50:00Z to 2026-01-02T00:00:00Z",
    "gaps of trades": "longest in the last day 90 min",
    "rows of orders": "1",
    "orphans of trades": "none",
  });
});

const asked = (sql: string) => checkSchema.parse({ kind: "query", name: "own", sql, min: 0 });

test("checkData() runs no statement that writes, and tells what SQLite says of a wrong one", async () => {
  using rig = new Rig();
  trading(rig.database, String);
  const results = await checkData(rig.database, [asked("DELETE FROM trades"), asked("SELEC 1")], NOW_MS);
  const own = results.filter(({ name }) => name === "own");
  expect(own.map(({ ok }) => ok)).toEqual([false, false]);
  expect(own[1]?.text).toContain("syntax error");
});

test("checkBackups() at L3 leaves a backup proven to L2 when only its data is not as it should be", async () => {
  using rig = new Rig();
  rig.fill(5).close();
  const { record, ...job } = rig.job(rig.sqlite);
  expect(await rig.backUp({ ...job, record })).toBe(0);
  const verify = (atLeast: number) =>
    checkBackups(
      {
        version: 1,
        target: rig.sqlite,
        store: "local",
        folder: rig.store,
        level: "L3",
        ids: [],
        checks: [{ kind: "rows", table: "orders", atLeast }],
        record,
      },
      { write: (line) => void rig.lines.push(line), clock: systemClock },
    );
  const proof = () => backupRecordSchema.parse(JSON.parse(readFileSync(record, "utf8"))).proofs?.L3;
  expect(await verify(5)).toBe(0);
  expect(provenLevel(rig.stored().state)).toBe("L3");
  expect(proof()).toMatchObject({ ok: true });
  expect(await verify(6)).toBe(4);
  expect(provenLevel(rig.stored().state)).toBe("L2");
  expect(proof()).toMatchObject({ ok: false, detail: expect.stringContaining("fewer than 6") });
});

test("checkBackups() at L3 judges what is fresh from when the source was last seen unchanged: the bot has written nothing since", async () => {
  using rig = new Rig();
  trading(rig.database, (ms) => new Date(ms + Date.now() - NOW_MS - 60_000).toISOString());
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  const { id, state } = rig.stored();
  const common = { version: 1, target: rig.sqlite, store: "local", folder: rig.store, level: "L3" } as const;
  const verify = (aheadMs: number): Promise<number> =>
    checkBackups(
      { ...common, ids: [], checks: [{ kind: "fresh", table: "trades", column: "created_at", within: 3_600_000 }] },
      {
        write: (line) => void rig.lines.push(line),
        clock: { ...systemClock, wallTime: () => new Date(Date.now() + aheadMs) },
      },
    );
  expect(await verify(0)).toBe(0);
  rig.repository().writeState(id, { ...state, unchangedAt: new Date(Date.now() + 7_200_000).toISOString() });
  expect(await verify(9_000_000)).toBe(4);
  expect(rig.lines.at(-1)).toMatchObject({ kind: "verified", ok: false, detail: expect.stringContaining("trades") });
});
