/** Questions to a SQLite database that is read only: what tables and columns it has, and statements of others that only read. */
import { openToRead, rowsOf } from "./sqlite.ts";

interface AskedDatabase {
  /** Declared type of each column, by column, by table. */
  readonly catalogue: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The values of the first row; empty when there is none. Throws for a statement that writes or fails. */
  readonly ask: (sql: string) => readonly unknown[];
}

/** Throws when the database cannot be opened. */
export async function askDatabase<Value>(
  path: string,
  deed: (database: AskedDatabase) => Promise<Value>,
): Promise<Value> {
  const database = await openToRead(path);
  try {
    const all = (sql: string): readonly unknown[][] => rowsOf(database, sql);
    const columns = all(
      "SELECT t.name, c.name, c.type FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c WHERE t.type IN ('table', 'view') ORDER BY 1",
    );
    const catalogue: Record<string, Record<string, string>> = {};
    for (const [table, column, type] of columns) (catalogue[String(table)] ??= {})[String(column)] = String(type);
    const ask = (sql: string): readonly unknown[] => {
      const statement = database.prepare(sql);
      if (!statement.reader || !statement.readonly) throw new Error("it is no statement that only reads");
      // The first row alone: leaving the loop ends the statement.
      for (const row of statement.raw(true).iterate()) return Array.isArray(row) ? row : [];
      return [];
    };
    return await deed({ catalogue, ask });
  } finally {
    database.close();
  }
}
