/** Rows with their hashes, in SQL and as lines of the second copy. */
import { hash as hashText } from "node:crypto";
import { rowText, TABLE_NAMES, TABLES, type Cell, type Row, type TableName } from "../../core/state-tables.ts";

/** 128 bits: proof against chance and damage, not against somebody who writes to the file. */
const HASH_CHARS = 32;

/** A row in the order in which it is stored: cells, version, hash. */
export interface StoredRow {
  readonly row: Row;
  readonly hash: string;
  /** What the hash is made of, of a row that has just been written: its line begins so. */
  readonly text?: string;
}

export function hashOf(row: Row): string {
  return hashOfText(rowText(row));
}

/** The hash of what `rowText` gives. */
export function hashOfText(text: string): string {
  return hashText("sha256", text, "hex").slice(0, HASH_CHARS);
}

/** The row that `values` (cells, version, hash) are, if they are whole and of that table. */
export function proven(table: TableName, values: readonly unknown[]): StoredRow | undefined {
  const { columns } = TABLES[table];
  if (values.length !== columns.length + 2) return undefined;
  const cells: Cell[] = [];
  for (const value of values.slice(0, columns.length)) {
    if (value !== null && typeof value !== "string" && typeof value !== "number") return undefined;
    cells.push(value);
  }
  const version = values[columns.length];
  const hash = values[columns.length + 1];
  if (typeof version !== "number" || typeof hash !== "string") return undefined;
  const row = { table, cells, version };
  return hashOf(row) === hash ? { row, hash } : undefined;
}

/** The row that `values` are, whichever table they are of. */
export function provenAnywhere(values: readonly unknown[]): StoredRow | undefined {
  for (const table of TABLE_NAMES) {
    const found = proven(table, values);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Column names of a table as SQL, with the proof. */
export function columnsSql(table: TableName): string {
  return [...TABLES[table].columns, "version", "hash"].join(", ");
}

/** `INSERT` of a whole row; one with the same key is replaced, but for a trade, which stays as it is. */
export function upsertSql(table: TableName): string {
  const columns = [...TABLES[table].columns, "version", "hash"];
  const places = columns.map(() => "?").join(", ");
  const insert = `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${places})`;
  const [key, ...rest] = columns;
  const changes = rest.map((column) => `${column} = excluded.${column}`).join(", ");
  return table === "trades" ? insert : `${insert} ON CONFLICT (${key}) DO UPDATE SET ${changes}`;
}

/** One line of the second copy, with its end. */
export function lineOf({ row, hash, text = rowText(row) }: StoredRow): string {
  return `${text.slice(0, -1)},"${hash}"]\n`;
}

/** The row of a line; `undefined` for one that is torn or damaged. */
export function parseRowLine(line: string): StoredRow | undefined {
  try {
    const values: unknown = JSON.parse(line);
    if (!Array.isArray(values)) return undefined;
    const table = TABLE_NAMES.find((name) => name === values[0]);
    return table === undefined ? undefined : proven(table, values.slice(1));
  } catch {
    return undefined;
  }
}
