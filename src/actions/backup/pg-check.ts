/** Whether a PostgreSQL target can be backed up, asked of its server before the night in which it matters. */
import type { PgBackRestPlace } from "../../platform/pgbackrest.ts";
import { majorOf, postgresProgram } from "../../platform/postgres-tools.ts";
import { pgBackRestObstacle } from "./pgbackrest.ts";
import { openSession, type PostgresTarget } from "./postgres.ts";

interface Answer {
  readonly version: string;
  readonly level: string;
  readonly replicates: boolean;
  readonly spaces: number;
}

/** Why it cannot; `undefined` when it can. Throws what psql says when there is no connection. */
export async function pgObstacle(
  target: PostgresTarget,
  { pitr, pgbackrest }: { readonly pitr: boolean; readonly pgbackrest?: PgBackRestPlace | undefined },
): Promise<string | undefined> {
  const session = await openSession(target);
  try {
    const [answer] = await session.rows<Answer>(
      `SELECT pg_catalog.current_setting('server_version') AS version, pg_catalog.current_setting('wal_level') AS level,
       (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user) AS replicates,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_tablespace) - 2 AS spaces`,
    );
    if (answer === undefined) return "the server tells nothing of itself";
    for (const program of [
      "pg_dump",
      "pg_restore",
      ...(pitr && pgbackrest === undefined ? ["pg_basebackup", "pg_receivewal"] : []),
    ])
      try {
        postgresProgram(program, majorOf(answer.version) ?? 0);
      } catch (cause) {
        return `the server is PostgreSQL ${answer.version}, and ${cause instanceof Error ? cause.message : String(cause)}`;
      }
    if (pgbackrest === undefined) return pitr ? pitrObstacle(answer) : undefined;
    return answer.spaces > 0 ? SPACES : await pgBackRestObstacle(session, pgbackrest);
  } finally {
    await session.close();
  }
}

const SPACES = "pitr does not copy tablespaces, and the server has some; leave pitr out";

function pitrObstacle({ level, replicates, spaces }: Answer): string | undefined {
  if (!replicates) return "pitr needs a user with REPLICATION: ALTER ROLE … REPLICATION";
  if (level === "minimal") return "pitr needs wal_level = replica at the server, which has minimal";
  return spaces > 0 ? SPACES : undefined;
}
