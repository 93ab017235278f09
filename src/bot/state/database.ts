/**
 * The SQLite database of a state: opened with settings that are read back, since better-sqlite3 opens an existing WAL database
 * with synchronous = NORMAL, at which a power cut loses what was acknowledged.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import {
  APPLICATION_ID,
  MIGRATIONS,
  networkFileSystem,
  PAGE_BYTES,
  TABLE_NAMES,
  type Cell,
  type TableName,
} from "../../core/state-tables.ts";
import { columnsSql, hashOf, proven, upsertSql, type StoredRow } from "./rows.ts";

export type Database = BetterSqlite3.Database;

/** Wait for a lock of a reader, for example a backup, ms. */
const BUSY_TIMEOUT_MS = 5_000;
/** Findings of one check that are told. */
const MAX_FINDINGS = 5;

/** What is set, and must be so when it is read back. */
const PRAGMAS: readonly (readonly [name: string, set: string, readBack: string | number])[] = [
  ["journal_mode", "WAL", "wal"],
  ["synchronous", "FULL", 2],
  ["busy_timeout", String(BUSY_TIMEOUT_MS), BUSY_TIMEOUT_MS],
  ["foreign_keys", "ON", 1],
  ["trusted_schema", "OFF", 0],
  ["cell_size_check", "ON", 1],
  ["wal_autocheckpoint", "1000", 1_000],
];

async function loadSqlite(): Promise<BetterSqlite3.Constructor> {
  // The per-platform entries embed the addon; the package's main entry looks for it in node_modules.
  const { default: Constructor } =
    process.arch === "arm64" ? await import("better-sqlite3/linux-arm64") : await import("better-sqlite3/linux-x64");
  return Constructor;
}

/** Opens the file to write. Throws where it is on a network file system, or a setting does not hold. */
export async function openToWrite(path: string): Promise<Database> {
  const found = networkFileSystem(statfsSync(dirname(path)).type);
  if (found !== undefined)
    throw new Error(`cannot keep the state at ${path}: it is on ${found}, where locks and flushes cannot be relied on`);
  const Constructor = await loadSqlite();
  const database = new Constructor(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    database.pragma(`page_size = ${PAGE_BYTES}`);
    for (const [name, value, expected] of PRAGMAS) {
      database.pragma(`${name} = ${value}`);
      const actual = database.pragma(name, { simple: true });
      if (actual !== expected)
        throw new Error(`cannot open ${path}: ${name} is ${String(actual)}, ${expected} was asked for`);
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Opens the file to read only. Throws when it is not there or no database. */
export async function openToRead(path: string): Promise<Database> {
  const Constructor = await loadSqlite();
  return new Constructor(path, { timeout: BUSY_TIMEOUT_MS, readonly: true, fileMustExist: true });
}

/** Opens a copy that nobody else has, with the settings that it has. */
export async function openPlain(path: string): Promise<Database> {
  const Constructor = await loadSqlite();
  return new Constructor(path, { timeout: BUSY_TIMEOUT_MS, fileMustExist: true });
}

/** Brings the schema up to date in one transaction. Throws for a file of somebody else, or of a later release. */
export function migrate(database: Database, now: number): void {
  const id = database.pragma("application_id", { simple: true });
  const done = id === APPLICATION_ID ? appliedMigrations(database) : [];
  if (id !== APPLICATION_ID && id !== 0) throw new Error(`cannot use the state: application_id is ${String(id)}`);
  const unknown = done.find((name) => !MIGRATIONS.some((migration) => migration.id === name));
  if (unknown !== undefined)
    throw new Error(`cannot use the state: a later release has changed it (${unknown}); use that release`);
  const missing = MIGRATIONS.filter((migration) => !done.includes(migration.id));
  if (missing.length === 0) return;
  database.exec("BEGIN IMMEDIATE");
  try {
    database.pragma(`application_id = ${APPLICATION_ID}`);
    database.pragma(`user_version = ${MIGRATIONS.length}`);
    for (const migration of missing) {
      database.exec(migration.sql);
      writeRow(database, "migrations", [migration.id, now], 1);
    }
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}

function appliedMigrations(database: Database): string[] {
  return database
    .prepare("SELECT id FROM migrations ORDER BY id")
    .raw(true)
    .all()
    .map((row) => (Array.isArray(row) ? String(row[0]) : ""));
}

/** Writes one row with its hash. */
function writeRow(database: Database, table: TableName, cells: readonly Cell[], version: number): StoredRow {
  const row = { table, cells, version };
  const hash = hashOf(row);
  database.prepare(upsertSql(table)).run(...cells, version, hash);
  return { row, hash };
}

/** A value of the table `meta`; `undefined` when there is none. */
export function readMeta(database: Database, key: string): string | undefined {
  const row = database.prepare("SELECT value FROM meta WHERE key = ?").raw(true).get(key);
  return Array.isArray(row) ? String(row[0]) : undefined;
}

export function writeMeta(database: Database, key: string, value: string): void {
  const row = database.prepare("SELECT version FROM meta WHERE key = ?").raw(true).get(key);
  writeRow(database, "meta", [key, value], Array.isArray(row) ? Number(row[0]) + 1 : 1);
}

/** What is wrong with the file by SQLite's own checks; empty when nothing. `quick` leaves the indexes out. */
export function checkPages(database: Database, quick: boolean): readonly string[] {
  try {
    const answer = database.pragma(`${quick ? "quick_check" : "integrity_check"}(${MAX_FINDINGS})`);
    const texts = Array.isArray(answer)
      ? answer.map((row: unknown) => (typeof row === "object" && row !== null ? Object.values(row).join(" ") : ""))
      : [String(answer)];
    return texts.filter((text) => text !== "ok");
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

/** Every row of a table, proven by its hash; `onFlaw` hears of each one that is not. Throws where SQLite cannot read on. */
export function* provenRows(
  database: Database,
  table: TableName,
  onFlaw: (key: string) => void,
): Generator<StoredRow, void> {
  for (const values of database
    .prepare(`SELECT ${columnsSql(table)} FROM ${table}`)
    .raw(true)
    .iterate()) {
    if (!Array.isArray(values)) continue;
    const row = proven(table, values);
    if (row === undefined) onFlaw(String(values[0]));
    else yield row;
  }
}

/** What is wrong with the rows: damage that leaves pages and indexes as they should be shows only here. */
export function checkRows(database: Database, { without }: { readonly without?: TableName } = {}): readonly string[] {
  const flaws: string[] = [];
  for (const table of TABLE_NAMES) {
    if (table === without) continue;
    try {
      const all = provenRows(database, table, (key) => flaws.push(`${table}: row ${key} is not what was written`));
      for (const _ of all) if (flaws.length > MAX_FINDINGS) return flaws;
    } catch (error) {
      flaws.push(`${table}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return flaws;
}
