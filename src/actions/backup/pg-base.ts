/**
 * The whole PostgreSQL server as a source of backups: `pg_basebackup` as one tar stream with the WAL that makes it whole, from which
 * a server starts by itself, and from which archived WAL leads to any later instant (pg-recover.ts).
 */
import { existsSync, mkdirSync, openSync, closeSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Manifest } from "../../core/backup-manifest.ts";
import { slotName } from "../../core/wal.ts";
import { giveAway, ScratchServer, scratchUser } from "../../platform/postgres-scratch.ts";
import { connectionEnv, majorOf, postgresProgram } from "../../platform/postgres-tools.ts";
import { bulkOutputOf } from "../../platform/program-bulk.ts";
import { feedProgram } from "../../platform/program-pipe.ts";
import type { PsqlSession } from "../../platform/psql.ts";
import { quoteText } from "../../platform/psql.ts";
import { FRAME_BYTES } from "./encode.ts";
import { Failure } from "./failure.ts";
import { readPgContent } from "./postgres-content.ts";
import { openSession, placeOf, sizeOf, withSession, type PostgresTarget } from "./postgres.ts";
import type { Captured, CaptureContext, Prover, Source } from "./source.ts";

const BASE_NAME = "base.tar";

export interface BaseTarget extends PostgresTarget {
  readonly name: string;
}

export function baseSource(target: BaseTarget): Source {
  return {
    origin: target.url,
    measure: () =>
      withSession(openSession(target), (session) =>
        sizeOf(
          session,
          "SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::int8 AS bytes FROM pg_catalog.pg_database",
        ),
      ),
    capture: (context) => capture(target, context),
  };
}

interface ServerFacts {
  readonly version: string;
  readonly segmentBytes: number;
  readonly spaces: number;
  readonly superuser: string;
  readonly systemId: string;
}

const FACTS = `SELECT pg_catalog.current_setting('server_version') AS version,
  (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS "segmentBytes",
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_tablespace) - 2 AS spaces,
  (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10) AS superuser,
  (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS "systemId"`;
const WAL_NOW =
  "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) AS name, pg_catalog.pg_current_wal_lsn()::text AS lsn";

/** Throws for a server with tablespaces: they lie where the living server's do, and a restore beside it must not touch those. */
export async function readServer(session: PsqlSession): Promise<ServerFacts> {
  const [facts] = await session.rows<ServerFacts>(FACTS);
  if (facts === undefined) throw new Error("the server tells nothing of itself");
  if (facts.spaces > 0)
    throw new Error(
      "the server has tablespaces of its own, which are not restored beside it; pg_basebackup alone can copy them",
    );
  return facts;
}

async function capture(target: BaseTarget, { now, scratch, signal }: CaptureContext): Promise<Captured> {
  const session = await openSession(target);
  try {
    const facts = await readServer(session);
    const program = postgresProgram("pg_basebackup", majorOf(facts.version) ?? 0);
    await keepWal(session, target.name);
    const [start] = await session.rows<{ name: string; lsn: string }>(WAL_NOW);
    let stop: { readonly name: string; readonly lsn: string } | undefined;
    let stoppedAt = now();
    const options = [
      "-D",
      "-",
      "-Ft",
      "-X",
      "fetch",
      "--checkpoint=fast",
      "--no-password",
      "--manifest-checksums=SHA256",
    ];
    const stream = bulkOutputOf({
      command: [program, ...options],
      env: connectionEnv(placeOf(target), target.password),
      folder: scratch,
      blockBytes: FRAME_BYTES,
      signal,
    });
    async function* whole(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      try {
        yield* stream;
        stoppedAt = now();
        [stop] = await session.rows<{ name: string; lsn: string }>(WAL_NOW);
      } catch (cause) {
        throw Failure.of("source", cause);
      } finally {
        await session.close();
      }
    }
    const { version, segmentBytes, superuser, systemId } = facts;
    return {
      kind: "base",
      base: null,
      // A server on it is whole from its end on, not from its beginning.
      get snapshotAt() {
        return stoppedAt;
      },
      rawName: BASE_NAME,
      raw: { frames: whole() },
      facts: async () => ({
        content: {},
        engine: {
          name: "PostgreSQL",
          version,
          superuser,
          systemId,
          walSegmentBytes: segmentBytes,
          walStart: start?.name,
          walStop: stop?.name,
          lsnStart: start?.lsn,
          lsnStop: stop?.lsn,
        },
      }),
    };
  } catch (cause) {
    await session.close();
    throw cause;
  }
}

/**
 * Makes the slot where there is none: the WAL since a base must not be thrown away before it is archived. One that the server has
 * given up (max_slot_wal_keep_size) is made anew; says whether it was so: only another base closes that gap.
 */
export async function keepWal(session: PsqlSession, target: string): Promise<"kept" | "lost"> {
  const slot = quoteText(slotName(target));
  const [found] = await session.rows<{ status: string | null }>(
    `SELECT wal_status AS status FROM pg_catalog.pg_replication_slots WHERE slot_name = ${slot}`,
  );
  if (found !== undefined && found.status !== "lost") return "kept";
  if (found !== undefined) await session.rows(`SELECT pg_catalog.pg_drop_replication_slot(${slot})::text AS dropped`);
  await session.rows(`SELECT pg_catalog.pg_create_physical_replication_slot(${slot}, true)::text AS made`);
  return found === undefined ? "kept" : "lost";
}

export const baseProver: Pick<Prover, "parse" | "prove"> = {
  parse: async (raw) => {
    await feedProgram({ command: ["/usr/bin/env", "tar", "-tf", "-"], env: TAR_ENV }, raw);
  },
  prove: async (raw, manifest, scratch) => {
    const folder = join(scratch, "data");
    mkdirSync(folder, { mode: 0o700 });
    await unpackBase(raw, folder, manifest);
    const server = await startOn(folder, manifest, { fsync: "off" });
    try {
      await readDatabases(server, manifest);
    } finally {
      await server.stop();
    }
  },
};

const TAR_ENV = { PATH: "/usr/bin:/bin", LC_ALL: "C" };
const FD_FOLDER = "/proc/self/fd/3";

/** Unpacks the base into a folder that is there and empty, as the user who will run the server, and compares each file with pg_basebackup's own manifest. */
export async function unpackBase(raw: AsyncIterable<Uint8Array>, folder: string, manifest: Manifest): Promise<void> {
  const user = scratchUser();
  giveAway(folder, user);
  const fd = openSync(folder, "r");
  try {
    const own = { env: TAR_ENV, fds: [fd], user };
    await feedProgram(
      { ...own, command: ["/usr/bin/env", "tar", "-xpf", "-", "--no-same-owner", "-C", FD_FOLDER] },
      raw,
    );
    if (!existsSync(join(folder, "backup_manifest"))) return;
    const program = postgresProgram("pg_verifybackup", majorOf(manifest.engine.version) ?? 0);
    // The WAL is played in any case.
    await feedProgram({ ...own, command: [program, "-q", "-n", FD_FOLDER] });
  } finally {
    closeSync(fd);
  }
}

const OWN_CONFIG = ["supervisor-scratch.conf", "supervisor-scratch-hba.conf"] as const;

/** A server on the unpacked folder, with settings of ours alone: a packaged server has its own elsewhere. */
export function startOn(
  folder: string,
  { engine }: Pick<Manifest, "engine">,
  settings: Readonly<Record<string, string>>,
): Promise<ScratchServer> {
  const [config, hba] = OWN_CONFIG;
  writeFileSync(join(folder, config), "", { mode: 0o644 });
  writeFileSync(join(folder, hba), "local all all trust\n", { mode: 0o644 });
  const superuser = typeof engine["superuser"] === "string" ? engine["superuser"] : undefined;
  return ScratchServer.on(folder, {
    major: majorOf(engine.version) ?? 0,
    ...(superuser === undefined ? {} : { superuser }),
    settings: {
      config_file: `${FD_FOLDER}/${config}`,
      hba_file: `${FD_FOLDER}/${hba}`,
      hot_standby: "off",
      ...settings,
    },
  });
}

/** What a server of ours has in its folder and another must not. */
export const OWN_FILES: readonly string[] = OWN_CONFIG;

/** Reads every row of every database: a page that cannot be read shows. Returns the rows by table, by database. */
export async function readDatabases(
  server: ScratchServer,
  { engine }: Pick<Manifest, "engine">,
): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>> {
  const first = await server.psql("template1");
  let names: readonly { readonly name: string }[] = [];
  try {
    names = await first.rows<{ name: string }>(
      "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate",
    );
  } finally {
    await first.close();
  }
  if (names.length === 0) throw new Error(`the server of version ${engine.version} has no database`);
  const found: [string, Readonly<Record<string, number>>][] = [];
  for (const { name } of names) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, they share a disk.
    const session = await server.psql(name);
    try {
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      found.push([name, (await readPgContent(session)).tables ?? {}]);
    } finally {
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await session.close();
    }
  }
  return Object.fromEntries(found);
}
