/**
 * PostgreSQL as a source of backups: `pg_dump` of one database in a snapshot whose rows we have counted, uncompressed, since the
 * repository packs it with a fifth of the processor time; proven by `pg_restore` and by a server on scratch.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BackupCheck, CheckResult } from "../../core/backup-checks.ts";
import type { Manifest } from "../../core/backup-manifest.ts";
import { bytesOfServer } from "../../core/backup-unpacked.ts";
import { parsePostgresUrl, type PostgresPlace } from "../../core/postgres-url.ts";
import { ScratchServer } from "../../platform/postgres-scratch.ts";
import { connectionEnv, majorOf, newestProgram, postgresProgram } from "../../platform/postgres-tools.ts";
import { bulkOutputOf } from "../../platform/program-bulk.ts";
import { feedProgram } from "../../platform/program-pipe.ts";
import { PsqlSession, quoteName, quoteText } from "../../platform/psql.ts";
import { askChecks } from "./checks.ts";
import { FRAME_BYTES } from "./encode.ts";
import { Failure } from "./failure.ts";
import { comparePgContent, readPgColumns, readPgContent } from "./postgres-content.ts";
import type { Captured, CaptureContext, Prover, Source } from "./source.ts";

/** Somebody who holds a table for longer than this is not waited for. */
const LOCK_WAIT_MS = 300_000;
/** The dump as `pg_restore` takes it. */
const DUMP_NAME = "database.dump";
/** Name of the database in a server on scratch. */
const RESTORED = "restored";

export interface PostgresTarget {
  readonly url: string;
  readonly password?: string | undefined;
}

/** Where the target is. Throws for what is no address. */
export function placeOf({ url }: PostgresTarget): PostgresPlace {
  const place = parsePostgresUrl(url);
  if (place === undefined) throw new Error(`${url} is not the address of a PostgreSQL database`);
  return place;
}

/** A session in the target's database, or in another of its server. Throws what psql says. */
export function openSession(target: PostgresTarget, database = placeOf(target).database): Promise<PsqlSession> {
  const env = connectionEnv({ ...placeOf(target), database }, target.password);
  return PsqlSession.open({ program: newestProgram("psql"), env });
}

/** The size of a source by a query that answers `bytes`. */
export async function sizeOf(session: PsqlSession, query: string): Promise<Awaited<ReturnType<Source["measure"]>>> {
  const [row] = await session.rows<{ bytes: number }>(query);
  return { rawBytes: row?.bytes ?? 0, temporaryBytes: 0 };
}

export function postgresSource(target: PostgresTarget): Source {
  return {
    origin: target.url,
    measure: () =>
      withSession(openSession(target), async (session) => {
        await dumpProgram(session);
        const size = await sizeOf(
          session,
          "SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes",
        );
        return { ...size, unpackedBytes: bytesOfServer(size.rawBytes) };
      }),
    facts: () => withSession(openSession(target), readFacts),
    capture: (context) => capture(target, context),
  };
}

interface ChangeFacts {
  readonly systemId: string;
  /** Begins with the timeline. */
  readonly segment: string;
  readonly lsn: string;
  readonly sequences: string | null;
  /** Which transactions have ended, for whoever asks now. */
  readonly snapshot: string;
  readonly startedAt: string;
  /** As the server has written it last. */
  readonly checkpoint: string;
  /** Tables whose rows are written without WAL. */
  readonly unlogged: boolean;
}

/**
 * Any WAL since, of whatever database, counts as a change. A sequence logs each 32nd of its values only, and somebody may have
 * used those between in an order. A commit is in the WAL before anybody sees its rows, for as long as it waits for a disk or a
 * standby: so it counts who has ended, too. And a server that was put back from a copy, or has lost its last commits in a crash,
 * writes other rows up to the same place: so it counts that it was begun again, and its last checkpoint. A standby, whose end of
 * WAL is another's, throws, and so does what the role may not ask.
 */
const CHANGES = `SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS "systemId",
  pg_catalog.pg_walfile_name(w.lsn) AS segment, w.lsn::text AS lsn,
  (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.format('%I.%I=%s', schemaname, sequencename, last_value), ',' ORDER BY schemaname, sequencename))
    FROM pg_catalog.pg_sequences) AS sequences,
  pg_catalog.txid_current_snapshot()::text AS snapshot, pg_catalog.pg_postmaster_start_time()::text AS "startedAt",
  (SELECT pg_catalog.row_to_json(c)::text FROM pg_catalog.pg_control_checkpoint() c) AS checkpoint,
  EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relpersistence = 'u') AS unlogged
  FROM (SELECT pg_catalog.pg_current_wal_insert_lsn() AS lsn) w`;

async function readFacts(session: PsqlSession): Promise<object | undefined> {
  const { program, major } = await dumpProgram(session);
  const [found] = await session.rows<ChangeFacts>(CHANGES);
  return found === undefined || found.unlogged ? undefined : { program, major, ...found };
}

interface ServerFacts {
  readonly version: string;
  readonly database: string;
  readonly encoding: string;
  readonly collate: string;
  readonly ctype: string;
  readonly bytes: number;
}

/** Also what a restore needs to make the database again. */
const FACTS = `SELECT pg_catalog.current_setting('server_version') AS version, d.datname AS database,
  pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
  pg_catalog.pg_database_size(d.oid) AS bytes FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`;

async function capture(target: PostgresTarget, { now, scratch, signal }: CaptureContext): Promise<Captured> {
  const session = await openSession(target);
  try {
    const { program, major: dumpedBy } = await dumpProgram(session);
    await session.run(
      `SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = ${LOCK_WAIT_MS}`,
    );
    await session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const snapshotAt = now();
    const [exported] = await session.rows<{ id: string }>("SELECT pg_catalog.pg_export_snapshot() AS id");
    const content = await readPgContent(session);
    const [facts] = await session.rows<ServerFacts>(FACTS);
    if (exported === undefined || facts === undefined) throw new Error("the server tells nothing of its database");
    const options = ["-Fc", "-Z0", "--no-password", `--lock-wait-timeout=${LOCK_WAIT_MS}`];
    const { version, ...rest } = facts;
    const dump = bulkOutputOf({
      command: [program, ...options, `--snapshot=${exported.id}`],
      env: connectionEnv(placeOf(target), target.password),
      folder: scratch,
      signal,
      blockBytes: FRAME_BYTES,
    });
    return {
      kind: "full",
      base: null,
      snapshotAt,
      rawName: DUMP_NAME,
      raw: { frames: heldBy(session, dump) },
      facts: async () => ({ content, engine: { name: "PostgreSQL", version, dumpedBy, ...rest } }),
    };
  } catch (cause) {
    await session.close();
    throw cause;
  }
}

/** The snapshot lives as long as the session that exported it. */
async function* heldBy(
  session: PsqlSession,
  dump: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    yield* dump;
  } catch (cause) {
    throw Failure.of("source", cause);
  } finally {
    await session.close();
  }
}

/** The program that dumps this server. Throws what to install: an older one than the server refuses, after it has connected. */
async function dumpProgram(session: PsqlSession): Promise<{ readonly program: string; readonly major: number }> {
  const [row] = await session.rows<{ version: string }>(
    "SELECT pg_catalog.current_setting('server_version') AS version",
  );
  const major = majorOf(row?.version ?? "");
  if (major === undefined) throw new Error(`the server has version ${row?.version ?? "?"}, which is none that we know`);
  try {
    return { program: postgresProgram("pg_dump", major), major };
  } catch (cause) {
    throw new Error(
      `the server is PostgreSQL ${row?.version}, and ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** The version that restores this dump, and the server's. */
function versionsOf({ engine }: Pick<Manifest, "engine">): { readonly dump: number; readonly server: number } {
  const server = majorOf(engine.version) ?? 0;
  return { dump: typeof engine["dumpedBy"] === "number" ? engine["dumpedBy"] : server, server };
}

/** What makes an empty database for a dump, with its encoding; the order of texts is C's unless it is given. */
function createDatabase(
  name: string,
  { engine }: Pick<Manifest, "engine">,
  more: { readonly collate?: string; readonly ctype?: string } = {},
): string {
  const encoding = typeof engine["encoding"] === "string" ? engine["encoding"] : "UTF8";
  const { collate = "C", ctype = "C" } = more;
  return `CREATE DATABASE ${quoteName(name)} TEMPLATE template0 ENCODING ${quoteText(encoding)} LC_COLLATE ${quoteText(collate)} LC_CTYPE ${quoteText(ctype)}`;
}

export const postgresProver: Prover = {
  parse: async (raw, manifest) => {
    const { dump } = versionsOf(manifest);
    await feedProgram({ command: [postgresProgram("pg_restore", dump), "-f", "/dev/null"], env: { LC_ALL: "C" } }, raw);
  },
  prove: async (raw, manifest, scratch, _base, checks) => {
    const { dump, server: major } = versionsOf(manifest);
    const restore = postgresProgram("pg_restore", Math.max(dump, major));
    const folder = join(scratch, "data");
    mkdirSync(folder, { mode: 0o700 });
    const server = await ScratchServer.make(folder, major);
    try {
      await withSession(server.psql("postgres"), (session) => session.run(createDatabase(RESTORED, manifest)));
      await feedProgram(server.reaching(RESTORED, [restore, ...SCRATCH_OPTIONS, "-d", RESTORED]), raw);
      comparePgContent(manifest.content, await withSession(server.psql(RESTORED), readPgContent));
      return checks === undefined ? [] : await checkPgData(server, RESTORED, checks, Date.parse(manifest.snapshotAt));
    } finally {
      await server.stop();
    }
  },
};

/** Roles, tablespaces and other servers are not there. */
const SCRATCH_OPTIONS = [
  "--exit-on-error",
  "--no-owner",
  "--no-privileges",
  "--no-tablespaces",
  "--no-publications",
  "--no-subscriptions",
];

/** What `ask` answers of a session, which is closed after it. */
export async function withSession<Value>(
  opening: Promise<PsqlSession>,
  ask: (session: PsqlSession) => Promise<Value>,
): Promise<Value> {
  const session = await opening;
  try {
    return await ask(session);
  } finally {
    await session.close();
  }
}

/** What the restored database answers to the checks of its target. */
export async function checkPgData(
  server: ScratchServer,
  database: string,
  checks: readonly BackupCheck[],
  snapshotMs: number,
): Promise<readonly CheckResult[]> {
  const catalogue = await withSession(server.psql(database), readPgColumns);
  // An error ends a session, and the next question is another's.
  return askChecks({ dialect: "postgres", catalogue, checks, snapshotMs }, (sql) =>
    withSession(server.psql(database), async (session) => {
      await session.run("SET default_transaction_read_only = on");
      const [row] = await session.rows<object>(sql.replace(/;\s*$/, ""));
      return row === undefined ? [] : Object.values(row);
    }),
  );
}
