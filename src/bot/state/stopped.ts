/** Changes the state of a bot that does not run, for a person: the same writer as the bot's, and nobody else beside it. */
import { existsSync } from "node:fs";
import { checkPages, openPlain, readMeta, type Database } from "./database.ts";
import { giveToOwner, stateFiles, type StateFiles } from "./files.ts";
import type { Ask } from "./protocol.ts";
import { SecondCopy } from "./second-copy.ts";
import type { KeyRing } from "./secrets.ts";
import { StateWriter } from "./writer.ts";

export interface StoppedState {
  readonly files: StateFiles;
  readonly database: Database;
  readonly uuid: string;
  readonly second: SecondCopy;
  /** Does it, durable in both copies when this returns, or throws and has changed nothing. */
  readonly ask: (ask: Ask) => unknown;
}

export interface Change {
  /** What is done, for errors: `set the level`. */
  readonly what: string;
  readonly keys?: KeyRing | undefined;
}

/**
 * Throws while anybody has the state open: what a running bot has in memory would be written over the change. The bot's epoch
 * stays as it is, since this is no writer that goes on.
 */
export async function changeStopped<Value>(
  folder: string,
  { what, keys }: Change,
  change: (state: StoppedState) => Value | Promise<Value>,
): Promise<Value> {
  const files = stateFiles(folder);
  if (!existsSync(files.database)) throw new Error(`cannot ${what}: there is no state in ${folder}`);
  const database = await openPlain(files.database);
  try {
    const uuid = takeAlone(database, files, what);
    const epoch = Number(readMeta(database, "writer_epoch") ?? 0);
    const second = new SecondCopy(files);
    try {
      giveToOwner(files.second, files);
      const writer = new StateWriter({ database, second, uuid, epoch, keys });
      const ask = (one: Ask): unknown => {
        const [reply] = writer.apply([{ id: 0, ask: one }]);
        if (reply?.ok === true) return reply.value;
        throw new Error(reply?.error ?? `cannot ${what}`);
      };
      return await change({ files, database, uuid, second, ask });
    } finally {
      second.close();
    }
  } finally {
    database.close();
  }
}

/** Locks out everybody else, and answers which state it is. */
function takeAlone(database: Database, files: StateFiles, what: string): string {
  database.pragma("busy_timeout = 0");
  database.pragma("synchronous = FULL");
  database.pragma("locking_mode = EXCLUSIVE");
  try {
    database.exec("BEGIN EXCLUSIVE");
    // The lock stays until the database is closed.
    database.exec("COMMIT");
  } catch (cause) {
    const busy = cause instanceof Error && "code" in cause && String(cause.code).startsWith("SQLITE_BUSY");
    const why = busy ? "the state is in use; stop the bot first" : String(cause);
    throw new Error(`cannot ${what}: ${why}`, { cause });
  }
  const [flaw] = checkPages(database, true);
  if (flaw !== undefined)
    throw new Error(`cannot ${what}: the state is damaged (${flaw}); the bot recovers it at its next start`);
  const uuid = readMeta(database, "db_uuid");
  if (uuid === undefined) throw new Error(`cannot ${what}: ${files.database} is no state`);
  return uuid;
}
