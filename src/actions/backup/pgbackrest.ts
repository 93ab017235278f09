/**
 * A PostgreSQL server as pgBackRest backs it up, in the place of pg_basebackup: it makes, keeps and alone deletes the data in its
 * repository; what lies in our store is its description, which makes it one of the catalogue that is proven and restored like others.
 */
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import {
  keptElsewhere,
  nextBackRestKind,
  readBackRestInfo,
  readBackRestVerify,
  type BackRestInfo,
  type KeptElsewhere,
  type PgBackRestBackup,
  type PgBackRestSettings,
} from "../../core/pgbackrest.ts";
import { archiveGetCommand, runPgBackRest, type PgBackRestPlace } from "../../platform/pgbackrest.ts";
import { giveAway, scratchUser } from "../../platform/postgres-scratch.ts";
import type { Manifest } from "../../core/backup-manifest.ts";
import type { PsqlSession } from "../../platform/psql.ts";
import { drain } from "./encode.ts";
import { Failure } from "./failure.ts";
import { readDatabases, readServer, startOn, type BaseTarget } from "./pg-base.ts";
import { openSession } from "./postgres.ts";
import type { Captured, CaptureContext, Elsewhere, Prover, Source } from "./source.ts";

/** Of the description, which is a page of JSON. */
const RAW_BYTES = 65_536;
const RAW_NAME = "pgbackrest.json";
const FD_FOLDER = "/proc/self/fd/3";

export interface PgBackRestTarget extends BaseTarget {
  readonly pgbackrest: PgBackRestSettings;
}

export function pgBackRestSource(target: PgBackRestTarget): Source {
  return {
    origin: target.url,
    measure: async () => ({ rawBytes: RAW_BYTES, temporaryBytes: 0 }),
    capture: (context) => capture(target, context),
    keptElsewhere: (manifests) => foundElsewhere(manifests, target.pgbackrest),
  };
}

/** Each is looked for by the configuration that it was made with, or by the present one where that file is no more. */
async function foundElsewhere(manifests: readonly Manifest[], present: PgBackRestPlace): Promise<readonly Elsewhere[]> {
  const described = manifests.flatMap((manifest) => {
    const elsewhere = keptElsewhere(manifest);
    if (elsewhere?.stanza !== present.stanza) return [];
    return [{ manifest, elsewhere, place: placeNow(elsewhere, present) }];
  });
  const found: Elsewhere[] = [];
  for (const [config, group] of Map.groupBy(described, ({ place }) => place.config ?? "")) {
    const [first] = group;
    // One after the other: each asks the repository.
    // oxlint-disable-next-line no-await-in-loop
    const known = first === undefined ? undefined : await infoOf(first.place).catch(() => undefined);
    // A repository that cannot be asked says nothing of what it has.
    if (known === undefined) continue;
    const labels = new Set(known.backups.map(({ label }) => label));
    for (const { manifest, elsewhere } of group) {
      const { systemId } = manifest.engine;
      const other = typeof systemId === "string" && known.systems.length > 0 && !known.systems.includes(systemId);
      const is = labels.has(elsewhere.label) ? "there" : other ? "other" : "gone";
      found.push({ id: manifest.id, place: config, is });
    }
  }
  return found;
}

/** Where what was described is now: its configuration may have moved since. */
export function placeNow<Place extends PgBackRestPlace>(made: Place, present: PgBackRestPlace | undefined): Place {
  const moved = made.config !== undefined && !existsSync(made.config) && present?.stanza === made.stanza;
  return moved ? { ...made, config: present.config } : made;
}

async function infoOf(place: PgBackRestPlace): Promise<BackRestInfo> {
  return readBackRestInfo(await runPgBackRest(place, ["--output=json", "info"]), place.stanza);
}

async function backupsOf(place: PgBackRestPlace): Promise<readonly PgBackRestBackup[]> {
  return (await infoOf(place)).backups;
}

async function capture(target: PgBackRestTarget, { now }: CaptureContext): Promise<Captured> {
  const { stanza, config } = target.pgbackrest;
  const session = await openSession(target);
  try {
    const facts = await readServer(session);
    const obstacle = await archiveObstacle(session, target.pgbackrest);
    if (obstacle !== undefined) throw new Error(obstacle);
    const before = await backupsOf(target.pgbackrest);
    const type = nextBackRestKind(before, target.pgbackrest, now().getTime());
    await runPgBackRest(target.pgbackrest, [`--type=${type}`, "backup"]);
    const known = new Set(before.map(({ label }) => label));
    const made = (await backupsOf(target.pgbackrest)).findLast(({ label }) => !known.has(label));
    if (made === undefined) throw new Error("pgbackrest backup has ended well, and its info knows no new backup");
    if (made.error === true)
      throw new Error(`${made.label} has pages with wrong checksums: pgbackrest info --set names them`);
    const text = Buffer.from(`${JSON.stringify(made, null, 2)}\n`);
    const { version, segmentBytes, superuser, systemId } = facts;
    const elsewhere: KeptElsewhere = {
      stanza,
      ...(config === undefined ? {} : { config }),
      label: made.label,
      type: made.type,
      databaseBytes: made.info.size,
      // Newer releases do not say the size of what is stored in blocks.
      repositoryBytes: made.info.repository.size ?? made.info.repository.delta ?? 0,
      addedBytes: made.info.repository.delta ?? 0,
    };
    return {
      kind: "base",
      base: null,
      // It says whole seconds, of an end that lies within the last of them.
      snapshotAt: new Date((made.timestamp.stop + 1) * 1_000),
      rawName: RAW_NAME,
      raw: once(text),
      facts: async () => ({
        content: {},
        engine: {
          name: "PostgreSQL",
          version,
          superuser,
          systemId,
          walSegmentBytes: segmentBytes,
          walStart: made.archive.start,
          walStop: made.archive.stop,
          lsnStart: made.lsn?.start,
          lsnStop: made.lsn?.stop,
          pgbackrest: elsewhere,
        },
      }),
    };
  } finally {
    await session.close();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Why the server's WAL does not come to the stanza; `undefined`: by its settings it does. */
async function archiveObstacle(session: PsqlSession, { stanza }: PgBackRestPlace): Promise<string | undefined> {
  const [row] = await session.rows<{ mode: string; command: string }>(
    "SELECT pg_catalog.current_setting('archive_mode') AS mode, pg_catalog.current_setting('archive_command') AS command",
  );
  const wanted = `archive_command = 'pgbackrest --stanza=${stanza} archive-push %p'`;
  if (row === undefined || row.mode === "off") return `pgbackrest needs archive_mode = on at the server, and ${wanted}`;
  const { command } = row;
  if (!command.includes("archive-push")) return `pgbackrest needs ${wanted} at the server, which has '${command}'`;
  return command.includes(stanza)
    ? undefined
    : `the server's archive_command is of another stanza than ${stanza}: ${command}`;
}

/** Why a target cannot be backed up so; `undefined`: it can. Lets pgBackRest archive a segment for a trial. */
export async function pgBackRestObstacle(session: PsqlSession, place: PgBackRestPlace): Promise<string | undefined> {
  try {
    await backupsOf(place);
    const obstacle = await archiveObstacle(session, place);
    if (obstacle !== undefined) return obstacle;
    await runPgBackRest(place, ["check"]);
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

export function pgBackRestProver(elsewhere: KeptElsewhere): Pick<Prover, "parse" | "prove"> {
  return {
    parse: async (raw) => {
      await drain(raw);
      await refuseGone(elsewhere);
      const text = await runPgBackRest(elsewhere, ["--output=text", "--verbose", "verify"]);
      const fault = readBackRestVerify(text, elsewhere.label);
      if (fault !== undefined) throw new Error(fault);
    },
    prove: async (raw, manifest, scratch) => {
      await drain(raw);
      await refuseGone(elsewhere);
      const folder = join(scratch, "data");
      mkdirSync(folder, { mode: 0o700 });
      await restoreElsewhere(elsewhere, folder);
      const server = await startOn(folder, manifest, {
        fsync: "off",
        wal_level: "replica",
        recovery_target: "immediate",
        recovery_target_action: "promote",
        restore_command: archiveGetCommand(elsewhere, FD_FOLDER),
      });
      try {
        await readDatabases(server, manifest);
      } finally {
        await server.stop();
      }
    },
  };
}

/** Its own retention has taken it, or somebody else: our description of it is then worth nothing. */
async function refuseGone(elsewhere: KeptElsewhere): Promise<void> {
  const found = (await backupsOf(elsewhere)).find(({ label }) => label === elsewhere.label);
  if (found === undefined)
    throw new Error(
      `pgBackRest has no backup ${elsewhere.label} in ${elsewhere.stanza} any more: its retention has taken it`,
    );
}

/** Restores the files into a folder that is there and empty, for `scratchUser()`; a server finds the WAL by `restore_command`. */
export async function restoreElsewhere(elsewhere: KeptElsewhere, folder: string): Promise<void> {
  giveAway(folder, scratchUser());
  const fd = openSync(folder, "r");
  try {
    await runPgBackRest(
      elsewhere,
      [`--set=${elsewhere.label}`, `--pg1-path=${FD_FOLDER}`, "--type=none", "restore"],
      [fd],
    );
  } catch (cause) {
    throw cause instanceof Error && /No space left/.test(cause.message) ? Failure.of("space", cause) : cause;
  } finally {
    closeSync(fd);
  }
}
