/** SQLite's own checks of a copy that nobody else writes to (https://sqlite.org/pragma.html#pragma_integrity_check). */
import type { CheckedTable, CheckShare } from "../core/sqlite-shares.ts";
import { openToRead, rowsOf } from "./sqlite.ts";

/** Part of a copy that SQLite reads by mmap(2) while it checks it: without it half of the time goes to reads of one page each. */
const MAPPED_BYTES = 2 ** 31 - 65_536;
/** Errors of one check that are quoted. */
const MAX_FINDINGS = 5;

/** Which rows of `pragma_table_list AS t` are tables of the file; the one of the schema itself has no index. */
const OWN_TABLES = "t.schema = 'main' AND t.type <> 'view' AND t.name <> 'sqlite_schema'";

type Database = Awaited<ReturnType<typeof openToRead>>;

/**
 * What the checks find wrong, in the order found; empty when nothing. `quick` does not look up each row in each index.
 */
export function checkDatabase(path: string, { quick }: { readonly quick: boolean }): Promise<readonly string[]> {
  return findings(path, (database) => [
    ...ask(database, `${quick ? "quick_check" : "integrity_check"}(${MAX_FINDINGS})`),
    ...orphans(database),
  ]);
}

/** The same of a part of the work: both shares together find what `checkDatabase` does. */
export function checkShare(path: string, { file, tables }: CheckShare): Promise<readonly string[]> {
  return findings(path, (database) => [
    ...(file ? [...ask(database, `quick_check(${MAX_FINDINGS})`), ...orphans(database)] : []),
    ...tables.flatMap((table) => ask(database, `integrity_check(${quoted(table)})`).slice(0, MAX_FINDINGS)),
  ]);
}

/**
 * What there is to check; `undefined` when it is not to be shared: a virtual table may be checked in its own way, and its module
 * may not be there; and where not every index is found by its table. Throws when the schema cannot be read.
 */
export async function tablesToCheck(path: string): Promise<readonly CheckedTable[] | undefined> {
  const database = await openToRead(path);
  try {
    const all = (sql: string): readonly unknown[][] => rowsOf(database, sql);
    const tables = all(`SELECT t.name, t.type FROM pragma_table_list AS t WHERE ${OWN_TABLES}`);
    const keys = all(
      `SELECT t.name, coalesce(c.type LIKE '%INT%', 0)
       FROM pragma_table_list AS t, pragma_index_list(t.name, 'main') AS i, pragma_index_xinfo(i.name, 'main') AS k
       LEFT JOIN pragma_table_xinfo(t.name, 'main') AS c ON c.cid = k.cid WHERE ${OWN_TABLES} AND k.seqno = 0`,
    );
    const foreign = all(
      `SELECT t.name, count(DISTINCT f.id) FROM pragma_table_list AS t, pragma_foreign_key_list(t.name, 'main') AS f
       WHERE ${OWN_TABLES} GROUP BY t.name`,
    );
    const [[indexes] = []] = all("SELECT count(*) FROM sqlite_schema WHERE type = 'index'");
    if (tables.some(([, type]) => type === "virtual") || keys.length < Number(indexes)) return undefined;
    return tables.map(([name]) => ({
      name: String(name),
      rows: Number(all(`SELECT count(*) FROM ${quoted(String(name))}`)[0]?.[0] ?? 0),
      indexes: keys.filter(([table]) => table === name).map(([, whole]) => ({ whole: whole === 1 })),
      foreignKeys: Number(foreign.find(([table]) => table === name)?.[1] ?? 0),
    }));
  } finally {
    database.close();
  }
}

async function findings(path: string, deed: (database: Database) => readonly string[]): Promise<readonly string[]> {
  const database = await openToRead(path);
  try {
    database.pragma(`mmap_size = ${MAPPED_BYTES}`);
    return deed(database);
  } catch (cause) {
    return [cause instanceof Error ? cause.message : String(cause)];
  } finally {
    database.close();
  }
}

function ask(database: Database, check: string): readonly string[] {
  return rows(database.pragma(check)).filter((text) => text !== "ok");
}

function orphans(database: Database): readonly string[] {
  const found = rows(database.pragma("foreign_key_check")).slice(0, MAX_FINDINGS);
  return found.map((text) => `a row refers to one that is not there: ${text}`);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function rows(answer: unknown): readonly string[] {
  if (!Array.isArray(answer)) return [];
  return answer.map((row: unknown) =>
    typeof row === "object" && row !== null ? Object.values(row).map(String).join(" ") : String(row),
  );
}
