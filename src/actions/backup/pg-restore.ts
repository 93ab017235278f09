/**
 * Restores a PostgreSQL database: into one beside it on the same server, proven there; then the bots are stopped and the two change
 * names. The old one stays under another name for a while. The same scratch database gives single tables.
 */
import type { RestoreJob } from "../../core/restore-job.ts";
import { databaseNames, type Databases, type RestoreJournal } from "../../core/restore-journal.ts";
import { feedProgram } from "../../platform/program-pipe.ts";
import { connectionEnv, majorOf, postgresProgram } from "../../platform/postgres-tools.ts";
import { quoteName, quoteText, type PsqlSession } from "../../platform/psql.ts";
import { Failure } from "./failure.ts";
import {
  clientsOf,
  dressDatabase,
  dropDatabase,
  exchangeBack,
  exchangeDatabases,
  findDatabase,
  lackingRight,
  openMaintenance,
  unendableClientsOf,
  type LiveDatabase,
} from "./pg-databases.ts";
import { plainScript, startsOf } from "./pg-file.ts";
import { comparePgContent, readPgContent } from "./postgres-content.ts";
import { openSession, placeOf, type PostgresTarget } from "./postgres.ts";
import type { Reading } from "./reading.ts";

export type PgJob = RestoreJob & { readonly target: Extract<RestoreJob["target"], { kind: "postgres" }> };

export function isPgJob(job: RestoreJob): job is PgJob {
  return job.target.kind === "postgres";
}

export interface PgRestore {
  readonly target: PostgresTarget;
  readonly reading: Reading;
  readonly databases: Databases;
  readonly live: LiveDatabase | undefined;
  /** Version of the server. */
  readonly major: number;
}

/** What is there; nothing is changed. Throws `Failure` when this user may not do it, or others than bots use the database. */
export async function planPgRestore(job: PgJob, reading: Reading, id: string): Promise<PgRestore> {
  const { target } = job;
  const session = await reaching(() => openMaintenance(target));
  try {
    const { database } = placeOf(target);
    const live = await findDatabase(session, database);
    const tables = job.into.kind === "tables";
    if (tables && live === undefined)
      throw new Failure("source", `there is no database ${database} to put tables into; leave --table out`);
    const lacking = await lackingRight(session, live);
    if (lacking !== undefined) throw new Failure("source", lacking);
    if (!tables && job.disconnect) await refuseUnendable(session, database);
    else if (job.bots.length === 0 && !tables) await refuseClients(session, database);
    const [row] = await session.rows<{ version: string }>(
      "SELECT pg_catalog.current_setting('server_version') AS version",
    );
    const { scratch, aside } = databaseNames(id);
    const databases = { url: target.url, live: database, scratch, aside: live === undefined || tables ? null : aside };
    return { target, reading, databases, live, major: majorOf(row?.version ?? "") ?? 0 };
  } catch (cause) {
    throw cause instanceof Failure ? cause : Failure.of("source", cause);
  } finally {
    await session.close();
  }
}

async function reaching<Value>(deed: () => Promise<Value>): Promise<Value> {
  try {
    return await deed();
  } catch (cause) {
    throw Failure.of("source", cause);
  }
}

/** Throws `Failure` while somebody is connected. */
async function refuseClients(session: PsqlSession, database: string): Promise<void> {
  const clients = await clientsOf(session, database);
  if (clients.length > 0)
    throw new Failure(
      "bots",
      `${clients.join(", ")} is connected to ${database}; end it, name its bot under the target's bots, or end such sessions with --disconnect`,
    );
}

/** Throws `Failure` while somebody is connected whose session cannot be ended. */
async function refuseUnendable(session: PsqlSession, database: string): Promise<void> {
  const clients = await unendableClientsOf(session, database);
  if (clients.length === 0) return;
  const [row] = await session.rows<{ name: string }>("SELECT current_user AS name");
  throw new Failure(
    "bots",
    `${clients.join(", ")} is connected to ${database}, and the user ${row?.name ?? "?"} may not end that session; end it, or give the right to (GRANT pg_signal_backend TO ${quoteName(row?.name ?? "?")}), which sessions of superusers are exempt from`,
  );
}

/** The restored database beside the living one, proven. Throws `Failure`. */
export async function unpackPgDatabase({ target, reading, databases, live, major }: PgRestore): Promise<void> {
  const { scratch } = databases;
  const session = await reaching(() => openMaintenance(target));
  try {
    const engine: Readonly<Record<string, unknown>> = reading.engine ?? {};
    const text = (key: string, standard: string): string => {
      const value = engine[key];
      return typeof value === "string" ? value : standard;
    };
    const locale = live === undefined ? { collate: text("collate", "C"), ctype: text("ctype", "C") } : live;
    const encoding = text("encoding", "UTF8");
    // Named, it asks for a right to it, which nobody but a superuser has by default, even where it goes without saying.
    const space = live?.tablespace ?? null;
    await session.run(
      `CREATE DATABASE ${quoteName(scratch)} TEMPLATE template0 ENCODING ${quoteText(encoding)} LC_COLLATE ${quoteText(locale.collate)} LC_CTYPE ${quoteText(locale.ctype)}${space === null ? "" : ` TABLESPACE ${quoteName(space)}`}`,
    );
    if (live !== undefined) await dressDatabase(session, scratch, live);
  } catch (cause) {
    throw Failure.of("store", cause);
  } finally {
    await session.close();
  }
  await fillDatabase(target, reading, scratch, major);
  const filled = await openSession(target, scratch);
  try {
    if (reading.content !== undefined) comparePgContent(reading.content, await readPgContent(filled));
    // Without it the first queries of the bot would be planned blindly.
    await filled.run("ANALYZE");
  } catch (cause) {
    throw new Failure("verify", `${reading.label} is not what was backed up: ${messageOf(cause)}`, { cause });
  } finally {
    await filled.close();
  }
}

async function fillDatabase(
  target: PostgresTarget,
  { label, open }: Reading,
  scratch: string,
  major: number,
): Promise<void> {
  try {
    const { holds, stream } = await startsOf(open());
    if (holds === "script") {
      const session = await openSession(target, scratch);
      try {
        await session.script(plainScript(stream));
      } finally {
        await session.close();
      }
      return;
    }
    const command = [postgresProgram("pg_restore", major), "--exit-on-error", "--no-password", "-d", scratch] as const;
    const env = connectionEnv({ ...placeOf(target), database: scratch }, target.password);
    await feedProgram({ command, env }, stream);
  } catch (cause) {
    throw Failure.of("verify", new Error(`cannot restore ${label}: ${messageOf(cause)}`, { cause }));
  }
}

/** Throws `Failure` while anybody is connected, unless such sessions shall be ended. */
export async function refusePgClients({ target, databases }: PgRestore, disconnect: boolean): Promise<void> {
  if (disconnect) return;
  const session = await reaching(() => openMaintenance(target));
  try {
    await refuseClients(session, databases.live);
  } finally {
    await session.close();
  }
}

/** The exchange and its proof. Throws when it failed; whether the names have changed, the server knows. */
export async function swapPgDatabases(
  { target, databases, reading }: PgRestore,
  { disconnect, onSwapped }: { readonly disconnect: boolean; readonly onSwapped: () => void },
): Promise<void> {
  await exchangeDatabases(target, databases, disconnect);
  onSwapped();
  const session = await openSession(target, databases.live);
  try {
    const found = await readPgContent(session);
    if (reading.content !== undefined) comparePgContent(reading.content, found);
  } finally {
    await session.close();
  }
}

/** Takes the exchange back as far as it was done, and deletes what was restored. May run twice. Throws when it fails. */
export async function undoPgRestore(
  target: PostgresTarget,
  databases: Databases,
  phase: RestoreJournal["phase"],
): Promise<void> {
  if (phase !== "prepared" && (await isSwapped(target, databases))) await exchangeBack(target, databases);
  await dropDatabase(target, databases.scratch);
}

/** Both names changed in one transaction: the server has one of two states. */
async function isSwapped(target: PostgresTarget, { live, scratch, aside }: Databases): Promise<boolean> {
  const session = await openMaintenance(target);
  try {
    if (aside !== null) return (await findDatabase(session, aside)) !== undefined;
    const [old, restored] = [await findDatabase(session, live), await findDatabase(session, scratch)];
    return old !== undefined && restored === undefined;
  } finally {
    await session.close();
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
