/**
 * Single tables of one SQLite database put into another that lives (https://sqlite.org/lang_attach.html): all of them in one
 * transaction, with their indexes and triggers, or none.
 */
import { openToRead, openToWrite } from "./sqlite.ts";

type Database = BetterSqlite3.Database;

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly sql: string;
}

/** Rows of each table that was put in. */
export type TableCounts = Readonly<Record<string, number>>;

/**
 * Replaces the tables in the database at `path` by those of the one at `source`; what is not named stays as it is. The rows
 * are counted against `expected` before anything is committed. Throws, and has then changed nothing, when a table is not there,
 * is virtual, or when a row of the result would refer to one that is not there.
 */
export async function replaceTables(
  path: string,
  source: string,
  {
    tables,
    expected,
    beforeCommit,
  }: {
    readonly tables: readonly string[];
    readonly expected: TableCounts | undefined;
    readonly beforeCommit: () => void;
  },
): Promise<TableCounts> {
  const database = await openToWrite(path);
  try {
    // Durable when it returns, also in WAL mode.
    database.exec("PRAGMA synchronous = FULL");
    // Otherwise the end of the old table would take the rows that refer to it along; the check below comes in its place.
    database.exec("PRAGMA foreign_keys = OFF");
    database.prepare("ATTACH DATABASE ? AS source").run(source);
    const before = orphansOf(database);
    database.exec("BEGIN IMMEDIATE");
    try {
      const counts = Object.fromEntries(tables.map((table) => [table, replaceTable(database, table)]));
      for (const [table, rows] of Object.entries(counts))
        if (expected !== undefined && expected[table] !== rows)
          throw new Error(`table ${table} has ${rows} rows instead of ${expected[table] ?? "none"}`);
      const fresh = orphansOf(database).filter((text) => !before.includes(text));
      if (fresh.length > 0)
        throw new Error(`rows would refer to ones that are not there (${fresh.join("; ")}); restore those tables too`);
      beforeCommit();
      database.exec("COMMIT");
      return counts;
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  } catch (cause) {
    throw new Error(`cannot restore into ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  } finally {
    database.close();
  }
}

/** Names of the tables of the database at `path`, without SQLite's own. Throws when it cannot be read. */
export async function tablesOf(path: string): Promise<readonly string[]> {
  const database = await openToRead(path);
  try {
    return database
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY 1",
      )
      .raw(true)
      .all()
      .map((row) => (Array.isArray(row) ? String(row[0]) : ""));
  } finally {
    database.close();
  }
}

function replaceTable(database: Database, table: string): number {
  const schema = schemaOf(database, table);
  const definition = schema.find(({ type }) => type === "table");
  if (definition === undefined) throw new Error(`the backup has no table ${table}`);
  if (/^\s*create\s+virtual/i.test(definition.sql))
    throw new Error(`${table} is a virtual table; restore the whole database`);
  database.exec(`DROP TABLE IF EXISTS main.${quoted(table)}`);
  database.exec(definition.sql);
  const columns = columnsOf(database, table).map(quoted).join(", ");
  database.exec(`INSERT INTO main.${quoted(table)} (${columns}) SELECT ${columns} FROM source.${quoted(table)}`);
  for (const { type, sql } of schema) if (type !== "table") database.exec(sql);
  copySequence(database, table);
  return Number(one(database, `SELECT count(*) FROM main.${quoted(table)}`));
}

/** The statements that make the table, its indexes and its triggers; an index that a constraint makes has none. */
function schemaOf(database: Database, table: string): readonly SchemaRow[] {
  return database
    .prepare(
      "SELECT type, name, sql FROM source.sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL AND type <> 'view'",
    )
    .raw(true)
    .all(table)
    .flatMap((row) =>
      Array.isArray(row) ? [{ type: String(row[0]), name: String(row[1]), sql: String(row[2]) }] : [],
    );
}

/** Columns that are stored; generated ones make themselves. */
function columnsOf(database: Database, table: string): readonly string[] {
  return database
    .prepare("SELECT name FROM pragma_table_xinfo(?, 'source') WHERE hidden = 0 ORDER BY cid")
    .raw(true)
    .all(table)
    .map((row) => (Array.isArray(row) ? String(row[0]) : ""));
}

/** The next number of AUTOINCREMENT. */
function copySequence(database: Database, table: string): void {
  const has = one(database, "SELECT count(*) FROM source.sqlite_schema WHERE name = 'sqlite_sequence'");
  if (
    Number(has) === 0 ||
    Number(one(database, "SELECT count(*) FROM source.sqlite_sequence WHERE name = ?", table)) === 0
  )
    return;
  database.prepare("DELETE FROM main.sqlite_sequence WHERE name = ?").run(table);
  database
    .prepare("INSERT INTO main.sqlite_sequence (name, seq) SELECT name, seq FROM source.sqlite_sequence WHERE name = ?")
    .run(table);
}

function orphansOf(database: Database): readonly string[] {
  const rows = database.pragma("main.foreign_key_check");
  if (!Array.isArray(rows)) return [];
  return rows.map((row: unknown) =>
    typeof row === "object" && row !== null ? Object.values(row).map(String).join(" ") : "",
  );
}

function one(database: Database, sql: string, ...values: string[]): unknown {
  const [row] = database
    .prepare(sql)
    .raw(true)
    .all(...values);
  return Array.isArray(row) ? row[0] : undefined;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
