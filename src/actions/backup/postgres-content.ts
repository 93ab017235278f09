/** What a PostgreSQL database holds as a restore must show it again: the rows of its tables, and a hash over the names and shapes of its objects. */
import { createHash } from "node:crypto";
import type { Manifest } from "../../core/backup-manifest.ts";
import { quoteName, type PsqlSession } from "../../platform/psql.ts";

/** Objects that pg_dump takes along: not PostgreSQL's own, not temporary, not those that an extension brings. */
const ours = (catalog: string, oid: string): string =>
  `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
   WHERE x.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass AND x.objid = ${oid} AND x.deptype = 'e')`;

const TABLES = `SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND ${ours("pg_class", "c.oid")}`;

/**
 * Names and shapes, no expressions: PostgreSQL writes some of them in other words once they were dumped and restored
 * (`IN` over a varchar is one).
 */
const SHAPES = [
  `SELECT c.relkind AS kind, n.nspname AS schema, c.relname AS name, c.relrowsecurity AS secured FROM pg_catalog.pg_class c
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f') AND ${ours("pg_class", "c.oid")}`,
  `SELECT n.nspname AS schema, c.relname AS name, a.attname AS field, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
   a.attnotnull AS filled, a.atthasdef AS standard, a.attidentity AS identity FROM pg_catalog.pg_attribute a
   JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','p','v','m','f') AND ${ours("pg_class", "c.oid")}`,
  `SELECT n.nspname AS schema, c.relname AS name, o.conname AS rule, o.contype AS type, f.relname AS refers, o.convalidated AS valid
   FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_class c ON c.oid = o.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   LEFT JOIN pg_catalog.pg_class f ON f.oid = o.confrelid WHERE o.contype <> 'n' AND ${ours("pg_class", "c.oid")}`,
  `SELECT n.nspname AS schema, c.relname AS name, k.relname AS key, i.indisunique AS one, i.indisvalid AS valid, i.indnatts AS fields
   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ${ours("pg_class", "c.oid")}`,
  `SELECT n.nspname AS schema, c.relname AS name, t.tgname AS trigger, t.tgenabled AS enabled FROM pg_catalog.pg_trigger t
   JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE NOT t.tgisinternal AND ${ours("pg_class", "c.oid")}`,
  `SELECT n.nspname AS schema, p.proname AS routine, pg_catalog.pg_get_function_identity_arguments(p.oid) AS takes
   FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE ${ours("pg_proc", "p.oid")}`,
];

/** Every table that a dump has. */
export function listTables(
  session: PsqlSession,
): Promise<readonly { readonly schema: string; readonly name: string }[]> {
  return session.rows(TABLES);
}

export type PgContent = Pick<Manifest["content"], "schemaSha256" | "tables">;

/** Of the database that the session is in, as its transaction sees it. Throws the server's error. */
export async function readPgContent(session: PsqlSession): Promise<PgContent> {
  // Rows that a policy hides would be missing in the dump, too: the server refuses in its place.
  await session.run("SET search_path = ''; SET row_security = off");
  const tables: [string, number][] = [];
  for (const { schema, name } of await listTables(session)) {
    const table = `${quoteName(schema)}.${quoteName(name)}`;
    // One after the other: it is one session.
    // oxlint-disable-next-line no-await-in-loop
    const [row] = await session.rows<{ count: number }>(`SELECT count(*) FROM ONLY ${table}`);
    tables.push([tableKey(schema, name), row?.count ?? 0]);
  }
  const lines: string[] = [];
  // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
  for (const query of SHAPES) lines.push(...(await session.rows<object>(query)).map((row) => JSON.stringify(row)));
  const schemaSha256 = createHash("sha256").update(lines.toSorted().join("\n")).digest("hex");
  return { schemaSha256, tables: Object.fromEntries(tables.toSorted(([a], [b]) => (a < b ? -1 : 1))) };
}

/** What a table is called where there are others: its own name in the schema public. */
export function tableKey(schema: string, name: string): string {
  return schema === "public" ? name : `${schema}.${name}`;
}

/** Every table's count, and what else differs. Throws when a database does not hold what the manifest says. */
export function comparePgContent(wanted: PgContent, found: PgContent): void {
  const [before, after] = [wanted.tables ?? {}, found.tables ?? {}];
  const wrong = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (table) => before[table] !== after[table],
  );
  if (wrong.length > 0)
    throw new Error(
      wrong
        .map((table) => `table ${table} has ${after[table] ?? "no"} rows instead of ${before[table] ?? "none"}`)
        .join("; "),
    );
  if (wanted.schemaSha256 !== undefined && wanted.schemaSha256 !== found.schemaSha256)
    throw new Error(
      "its tables, columns, indexes, constraints, triggers or functions are not those that were backed up",
    );
}

const COLUMNS = `SELECT n.nspname AS schema, c.relname AS name, a.attname AS field, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r','p','v','m') AND ${ours("pg_class", "c.oid")}`;

/** Type of each column, by column, by table. */
export async function readPgColumns(
  session: PsqlSession,
): Promise<Readonly<Record<string, Readonly<Record<string, string>>>>> {
  const catalogue: Record<string, Record<string, string>> = {};
  type Column = { readonly schema: string; readonly name: string; readonly field: string; readonly type: string };
  for (const { schema, name, field, type } of await session.rows<Column>(COLUMNS))
    (catalogue[tableKey(schema, name)] ??= {})[field] = type;
  return catalogue;
}
