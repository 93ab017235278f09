/** The mark of a source: whatever is written moves it, by whichever way SQLite writes. */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { appendFileSync, existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { filesFacts, sqliteFacts } from "../../../src/actions/backup/source-mark.ts";

const RUN_SQL = join(import.meta.dirname, "..", "..", "fixtures", "run-sql.ts");
/** So far ahead that all has settled: what is written in one tick of the file system's clock must differ all the same. */
const later = (): Date => new Date(Date.now() + 60_000);

/** A database that another process holds open. */
class OpenDatabase {
  readonly #folder = mkdtempSync(join(tmpdir(), "mark-"));
  readonly path = join(this.#folder, "bot.db");
  readonly #child = Bun.spawn([process.execPath, RUN_SQL, this.path], { stdio: ["pipe", "pipe", "inherit"] });
  readonly #answers = createInterface({ input: Readable.fromWeb(this.#child.stdout) })[Symbol.asyncIterator]();

  async ask(line: string): Promise<string> {
    await this.#child.stdin.write(`${line}\n`);
    await this.#child.stdin.flush();
    const { value } = await this.#answers.next();
    if (typeof value !== "string") throw new Error(`it ended at ${line}`);
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.end();
    await this.#child.exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const id = fc.integer({ min: 1, max: 5 });
/** Each of one statement or transaction; many of them change nothing. */
const deed = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(id, fc.integer({ max: 3, min: 0 })).map(([n, v]) => `REPLACE INTO t VALUES (${n}, ${v})`),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(id, fc.integer({ max: 3, min: 0 })).map(([n, v]) => `UPDATE t SET v = ${v} WHERE id = ${n}`),
  },
  id.map((n) => `DELETE FROM t WHERE id = ${n}`),
  id.map((n) => `BEGIN; UPDATE t SET v = v + 1 WHERE id = ${n}; ROLLBACK`),
  id.map((n) => `BEGIN; UPDATE t SET v = v + 1; UPDATE t SET v = v - 1 WHERE id = ${n}; COMMIT`),
  fc.constantFrom(
    "BEGIN IMMEDIATE; COMMIT",
    "VACUUM",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "CREATE INDEX IF NOT EXISTS tv ON t (v)",
    "DROP INDEX IF EXISTS tv",
    "reopen",
    "rows",
  ),
);

describe("sqliteFacts()", () => {
  test.each(["WAL", "DELETE", "TRUNCATE", "PERSIST"])(
    "of a database in mode %s are never the same for other rows, whatever is done between two looks",
    async (mode) => {
      await using database = new OpenDatabase();
      await database.ask(`PRAGMA journal_mode = ${mode}`);
      await database.ask("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)");
      const held = new Map<string, string>();
      let equal = 0;
      const look = async (): Promise<void> => {
        const facts = JSON.stringify(sqliteFacts(database.path, later()));
        if (facts === undefined) return;
        const rows = await database.ask("rows");
        const before = held.get(facts);
        if (before !== undefined) equal += 1;
        expect(before ?? rows).toBe(rows);
        held.set(facts, rows);
      };
      await fc.assert(
        fc.asyncProperty(fc.array(deed, { maxLength: 12 }), async (deeds) => {
          for (const each of deeds) {
            await database.ask(each);
            await look();
          }
        }),
        { numRuns: 40, endOnFailure: true },
      );
      // Else it would hold for marks that are never the same.
      expect(equal).toBeGreaterThan(0);
    },
  );

  test("are the same while somebody only reads", async () => {
    await using database = new OpenDatabase();
    await database.ask("PRAGMA journal_mode = WAL");
    await database.ask("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)");
    const before = sqliteFacts(database.path, later());
    await database.ask("rows");
    expect(before).not.toBe(undefined);
    expect(sqliteFacts(database.path, later())).toEqual(before);
  });

  test("are not there within a transaction in a journal, and for what was written a moment ago or in the future", async () => {
    await using database = new OpenDatabase();
    await database.ask("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)");
    expect(sqliteFacts(database.path, new Date())).toBe(undefined);
    expect(sqliteFacts(database.path, later())).not.toBe(undefined);
    await database.ask("BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1)");
    expect(existsSync(`${database.path}-journal`)).toBe(true);
    // The header of a journal is written with its first page, at the latest when that goes to the disk.
    await database.ask("PRAGMA cache_spill = 1");
    await database.ask("PRAGMA cache_size = 1");
    await database.ask(
      "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, i FROM n",
    );
    expect(sqliteFacts(database.path, later())).toBe(undefined);
    await database.ask("COMMIT");
    expect(sqliteFacts(database.path, later())).not.toBe(undefined);
  });
});

test("filesFacts() see a file that was written and given back its times", () => {
  const folder = mkdtempSync(join(tmpdir(), "mark-"));
  try {
    const file = join(folder, "bot.yaml");
    writeFileSync(file, "size: 1\n");
    utimesSync(file, 1, 1);
    const look = (contents: boolean): object | undefined =>
      filesFacts([folder], { now: later(), contents, maxFiles: 9 });
    const before = [look(true), look(false)];
    writeFileSync(file, "size: 2\n");
    utimesSync(file, 1, 1);
    expect(look(true)).not.toEqual(before[0]);
    expect(look(false)).not.toEqual(before[1]);
    appendFileSync(join(folder, "more"), "");
    expect(filesFacts([folder], { now: later(), contents: true, maxFiles: 2 })).toBe(undefined);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
