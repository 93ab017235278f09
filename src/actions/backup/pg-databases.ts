/**
 * Whole databases of a PostgreSQL server, as a restore handles them: one is made beside the living one, and the two change names
 * in one transaction, so that a kill at any moment leaves the old names or the new ones.
 */
import type { Databases } from "../../core/restore-journal.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { quoteName, quoteText, type PsqlSession } from "../../platform/psql.ts";
import { openSession, placeOf, type PostgresTarget } from "./postgres.ts";

/** Databases that every server has, to be connected to while others are renamed. */
const MAINTENANCE = ["postgres", "template1"];
/** A session whose client has just ended is noticed within this, ms. */
const LEAVE_MS = 10_000;
const POLL_MS = 100;
/** Clients that are named. */
const MAX_NAMED = 5;

/** A session beside the databases that are renamed. Throws what psql says. */
export async function openMaintenance(target: PostgresTarget): Promise<PsqlSession> {
  const { database } = placeOf(target);
  let last: unknown;
  for (const name of MAINTENANCE.filter((each) => each !== database))
    try {
      // oxlint-disable-next-line no-await-in-loop -- Safe: the second only where the first is refused.
      return await openSession(target, name);
    } catch (cause) {
      last = cause;
    }
  throw last;
}

export interface LiveDatabase {
  readonly oid: number;
  readonly owner: string;
  readonly collate: string;
  readonly ctype: string;
  /** `null`: where databases are made unless told otherwise, which takes no right of its own. */
  readonly tablespace: string | null;
  readonly limit: number;
  readonly bytes: number;
}

/** `undefined` when there is none of this name. */
export async function findDatabase(session: PsqlSession, name: string): Promise<LiveDatabase | undefined> {
  const [found] = await session.rows<LiveDatabase>(
    `SELECT d.oid::int8 AS oid, pg_catalog.pg_get_userbyid(d.datdba) AS owner, d.datcollate AS collate, d.datctype AS ctype,
     CASE WHEN d.dattablespace <> template.dattablespace THEN t.spcname END AS tablespace, d.datconnlimit AS limit, pg_catalog.pg_database_size(d.oid) AS bytes
     FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
     JOIN pg_catalog.pg_database template ON template.datname = 'template0' WHERE d.datname = ${quoteText(name)}`,
  );
  return found;
}

/** Why this user cannot exchange the database; `undefined` when it can. */
export async function lackingRight(session: PsqlSession, live: LiveDatabase | undefined): Promise<string | undefined> {
  const owns = live === undefined ? "true" : `pg_catalog.pg_has_role(${quoteText(live.owner)}, 'USAGE')`;
  const space = live?.tablespace ?? null;
  const places = space === null ? "true" : `pg_catalog.has_tablespace_privilege(${quoteText(space)}, 'CREATE')`;
  const [row] = await session.rows<{ name: string; may: boolean; owns: boolean; places: boolean }>(
    `SELECT rolname AS name, rolsuper OR rolcreatedb AS may, rolsuper OR ${owns} AS owns, ${places} AS places FROM pg_catalog.pg_roles WHERE rolname = current_user`,
  );
  if (row?.may !== true)
    return `the user ${row?.name ?? "?"} may make no database; give it that right: ALTER ROLE ${quoteName(row?.name ?? "?")} CREATEDB`;
  if (!row.owns) return `the database belongs to ${live?.owner}, and only its owner or a superuser may restore it`;
  return row.places || space === null
    ? undefined
    : `the user ${row.name} may make no database in the tablespace ${space}; give it that right: GRANT CREATE ON TABLESPACE ${quoteName(space)} TO ${quoteName(row.name)}`;
}

/** Gives the new database what the dump of one does not hold: owner, settings, rights and the limit of connections. */
export async function dressDatabase(session: PsqlSession, name: string, like: LiveDatabase): Promise<void> {
  const to = quoteText(name);
  const of = `d.oid = ${like.oid}`;
  const statements = await session.rows<{ sql: string }>(
    `SELECT pg_catalog.format('ALTER DATABASE %I CONNECTION LIMIT %s', ${to}, datconnlimit) AS sql FROM pg_catalog.pg_database d WHERE ${of}
     UNION ALL SELECT pg_catalog.format('ALTER DATABASE %I OWNER TO %I', ${to}, pg_catalog.pg_get_userbyid(datdba)) FROM pg_catalog.pg_database d WHERE ${of}
     UNION ALL SELECT pg_catalog.format(CASE WHEN s.setrole = 0 THEN 'ALTER DATABASE %1$I SET %3$s TO %4$s' ELSE 'ALTER ROLE %2$I IN DATABASE %1$I SET %3$s TO %4$s' END,
       ${to}, CASE WHEN s.setrole = 0 THEN '-' ELSE pg_catalog.pg_get_userbyid(s.setrole) END, pg_catalog.split_part(c, '=', 1),
       CASE WHEN pg_catalog.split_part(c, '=', 1) IN ('search_path', 'DateStyle', 'temp_tablespaces') THEN pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
       ELSE pg_catalog.quote_literal(pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)) END)
       FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c WHERE s.setdatabase = ${like.oid}
     UNION ALL SELECT pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', ${to}) FROM pg_catalog.pg_database d WHERE ${of} AND datacl IS NOT NULL
     UNION ALL SELECT pg_catalog.format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, ${to},
       CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
       FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a WHERE ${of}`,
  );
  // oxlint-disable-next-line no-await-in-loop -- Safe: the order matters.
  for (const { sql } of statements) await session.run(sql);
}

interface Client {
  readonly pid: number;
  readonly user: string;
  readonly application: string;
  readonly address: string | null;
}

/**
 * Sessions in databases, for whom not all is visible: of those of others, a user without further rights sees neither the kind nor
 * the address. What the server runs for itself has no user, and it ends that by itself before a name changes or a database goes.
 */
const CLIENTS = `SELECT a.pid, coalesce(a.usename, a.usesysid::text) AS user, coalesce(a.application_name, '') AS application, a.client_addr::text AS address
  FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
  WHERE a.usesysid IS NOT NULL AND coalesce(a.backend_type, 'client backend') = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()`;

/** Whom this user may not end (pg_terminate_backend). */
const FOREIGN = `NOT (SELECT m.rolsuper OR (NOT r.rolsuper AND (pg_catalog.pg_has_role(r.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))
  FROM pg_catalog.pg_roles m WHERE m.rolname = current_user)`;

function isIn(names: readonly string[]): string {
  return `a.datname IN (${names.map(quoteText).join(", ")})`;
}

/** Who is connected to the database, in words; empty when nobody is. Waits a moment for those who are just leaving. */
export function clientsOf(session: PsqlSession, database: string): Promise<readonly string[]> {
  return lasting(session, `${CLIENTS} AND ${isIn([database])}`);
}

/** As `clientsOf`, of those whom this user has not the right to end. */
export function unendableClientsOf(session: PsqlSession, database: string): Promise<readonly string[]> {
  return lasting(session, `${CLIENTS} AND ${isIn([database])} AND ${FOREIGN}`);
}

async function lasting(session: PsqlSession, query: string): Promise<readonly string[]> {
  const untilMs = systemClock.monotonicMs() + LEAVE_MS;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: each round is a wait.
    const clients = await session.rows<Client>(query);
    if (clients.length === 0) return [];
    if (systemClock.monotonicMs() >= untilMs) {
      const named = clients
        .slice(0, MAX_NAMED)
        .map(
          ({ user, application, address, pid }) =>
            `${application === "" ? "a client" : application} of ${user}${address === null ? "" : ` from ${address}`} (backend ${pid})`,
        );
      return clients.length > MAX_NAMED ? [...named, `${clients.length - MAX_NAMED} more`] : named;
    }
    // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
    await sleep(systemClock, POLL_MS);
  }
}

/** Ends the sessions in the databases that this user may end. Throws when the server cannot be asked. */
async function endSessions(session: PsqlSession, names: readonly string[]): Promise<void> {
  await session.rows(
    `SELECT pg_catalog.pg_terminate_backend(c.pid) AS ended FROM (${CLIENTS} AND ${isIn(names)} AND NOT ${FOREIGN}) c`,
  );
}

/** The restored database takes the name of the living one, which takes that of `aside`. Throws when somebody uses one of them. */
export function exchangeDatabases(
  target: PostgresTarget,
  { live, scratch, aside }: Databases,
  disconnect: boolean,
): Promise<void> {
  return rename(target, [...(aside === null ? [] : [[live, aside] as const]), [scratch, live]], disconnect);
}

/** The same back. */
export function exchangeBack(target: PostgresTarget, { live, scratch, aside }: Databases): Promise<void> {
  return rename(target, [[live, scratch], ...(aside === null ? [] : [[aside, live] as const])], true);
}

type Rename = readonly [from: string, to: string];

/**
 * All of the renames or none. The server takes a lock on each database, under which nobody can connect any more, and waits 5 s for
 * those who are there; with `disconnect` they are ended meanwhile.
 */
async function rename(target: PostgresTarget, renames: readonly Rename[], disconnect: boolean): Promise<void> {
  const session = await openMaintenance(target);
  const other = disconnect ? await openMaintenance(target) : undefined;
  const over = new AbortController();
  const ending = other === undefined ? undefined : keepEnding(other, renames.flat(), over.signal);
  try {
    const statements = renames.map(([from, to]) => `ALTER DATABASE ${quoteName(from)} RENAME TO ${quoteName(to)}`);
    await session.run(["BEGIN", ...statements, "COMMIT"].join("; "));
  } finally {
    over.abort();
    await ending;
    await session.close();
    await other?.close();
  }
}

/** Ends sessions until it is told to stop; what it cannot end shows in the renames. Never throws. */
async function keepEnding(session: PsqlSession, names: readonly string[], over: AbortSignal): Promise<void> {
  try {
    while (!over.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: each round is a wait.
      await endSessions(session, names);
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await sleep(systemClock, POLL_MS, over);
    }
  } catch {
    // The renames wait 5 s for who is left, and then say so.
  }
}

/** Deletes a database that a restore has made; none of that name is as well. */
export async function dropDatabase(target: PostgresTarget, name: string): Promise<void> {
  const session = await openMaintenance(target);
  try {
    if ((await findDatabase(session, name)) === undefined) return;
    await endSessions(session, [name]);
    await session.run(`DROP DATABASE ${quoteName(name)}`);
  } finally {
    await session.close();
  }
}
