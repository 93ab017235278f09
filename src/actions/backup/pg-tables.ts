/** Restores single tables of a PostgreSQL database: from the proven scratch database into the living one, by one transaction. */
import { connectionEnv, postgresProgram } from "../../platform/postgres-tools.ts";
import { outputOf } from "../../platform/program-pipe.ts";
import { quoteName, quoteText, type PsqlSession } from "../../platform/psql.ts";
import { Failure } from "./failure.ts";
import type { PgRestore } from "./pg-restore.ts";
import { listTables, tableKey } from "./postgres-content.ts";
import { openSession, placeOf } from "./postgres.ts";

/** Somebody who holds a table for longer is named in the server's error. */
const LOCK_TIMEOUT_MS = 30_000;

interface Table {
  readonly schema: string;
  readonly name: string;
}

/** The wanted tables as the scratch database has them. Throws `Failure` for one that it has not. */
export async function findPgTables(
  { target, databases, reading }: PgRestore,
  wanted: readonly string[],
): Promise<readonly Table[]> {
  const session = await openSession(target, databases.scratch);
  try {
    const there = await listTables(session);
    const keys = there.map(({ schema, name }) => tableKey(schema, name));
    const missing = wanted.filter((table) => !keys.includes(table));
    if (missing.length > 0)
      throw new Failure(
        "source",
        `${reading.label} has no table ${missing.join(", ")}; it has ${keys.length === 0 ? "none" : keys.toSorted().join(", ")}`,
      );
    return there.filter(({ schema, name }) => wanted.includes(tableKey(schema, name)));
  } finally {
    await session.close();
  }
}

/**
 * Replaces the tables with their indexes, constraints, triggers, rights and sequences; what refers to them is checked anew. All of
 * it or nothing. `beforeCommit` runs when it is proven. Throws.
 */
export async function replacePgTables(
  { target, databases, major }: PgRestore,
  tables: readonly Table[],
  beforeCommit: () => void,
): Promise<void> {
  const session = await openSession(target, databases.live);
  try {
    await session.run(`BEGIN; SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}; SET LOCAL search_path = ''`);
    const present = await presentOf(session, tables);
    for (const table of present)
      // oxlint-disable-next-line no-await-in-loop -- Safe: one session.
      await session.run(`LOCK TABLE ${named(table)} IN ACCESS EXCLUSIVE MODE`);
    const references = await referencesTo(session, present);
    for (const { table, name } of references)
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await session.run(`ALTER TABLE ${table} DROP CONSTRAINT ${quoteName(name)}`);
    // Without CASCADE: a view that needs one of them is the operator's to drop.
    if (present.length > 0) await session.run(`DROP TABLE ${present.map(named).join(", ")}`);
    await session.script(dumpOf({ target, databases, major }, tables));
    await session.run("SET LOCAL search_path = ''");
    for (const { table, name, definition } of references)
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await session.run(`ALTER TABLE ${table} ADD CONSTRAINT ${quoteName(name)} ${definition}`);
    await compareRows(session, { target, databases }, tables);
    beforeCommit();
    await session.run("COMMIT");
  } finally {
    await session.close();
  }
}

async function presentOf(session: PsqlSession, tables: readonly Table[]): Promise<readonly Table[]> {
  const there = await listTables(session);
  return tables.filter(({ schema, name }) => there.some((each) => each.schema === schema && each.name === name));
}

interface Reference {
  readonly table: string;
  readonly name: string;
  readonly definition: string;
}

/** Foreign keys of the other tables. */
async function referencesTo(session: PsqlSession, tables: readonly Table[]): Promise<readonly Reference[]> {
  if (tables.length === 0) return [];
  const oids = tables.map((table) => `${quoteText(named(table))}::pg_catalog.regclass`).join(", ");
  return session.rows<Reference>(
    `SELECT o.conrelid::pg_catalog.regclass::text AS table, o.conname AS name, pg_catalog.pg_get_constraintdef(o.oid) AS definition
     FROM pg_catalog.pg_constraint o WHERE o.contype = 'f' AND o.conparentid = 0 AND o.confrelid IN (${oids}) AND o.conrelid NOT IN (${oids})`,
  );
}

function dumpOf(
  { target, databases, major }: Pick<PgRestore, "target" | "databases" | "major">,
  tables: readonly Table[],
) {
  const patterns = tables.map((table) => `--table=${named(table)}`);
  return outputOf({
    command: [postgresProgram("pg_dump", major), "--no-password", ...patterns],
    env: connectionEnv({ ...placeOf(target), database: databases.scratch }, target.password),
  });
}

/** The rows of each table as the scratch database has them, which was compared with the manifest. */
async function compareRows(
  session: PsqlSession,
  { target, databases }: Pick<PgRestore, "target" | "databases">,
  tables: readonly Table[],
): Promise<void> {
  const scratch = await openSession(target, databases.scratch);
  try {
    for (const table of tables) {
      const count = `SELECT count(*) FROM ONLY ${named(table)}`;
      // oxlint-disable-next-line no-await-in-loop -- Safe: one session each.
      const [[wanted], [found]] = [
        await scratch.rows<{ count: number }>(count),
        await session.rows<{ count: number }>(count),
      ];
      if (wanted?.count !== found?.count)
        throw new Error(`table ${named(table)} has ${found?.count ?? 0} rows instead of ${wanted?.count ?? 0}`);
    }
  } finally {
    await scratch.close();
  }
}

function named({ schema, name }: Table): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}
