/** Sets the level that a bot begins its next start with: how a person ends a latched emergency. */
import { existsSync } from "node:fs";
import type { SavedLevel } from "../../core/degradation.ts";
import type { Level } from "../../core/gate.ts";
import { openPlain, readMeta, writeRow } from "./database.ts";
import { stateFiles } from "./files.ts";

/**
 * Throws while the bot runs: what it has in memory would be written over this. The bot's epoch stays as it is, since this is no
 * writer that goes on.
 */
export async function setSavedLevel(folder: string, level: Level, reason: string, now: number): Promise<void> {
  const { database: path } = stateFiles(folder);
  if (!existsSync(path)) throw new Error(`cannot set the level: there is no state in ${folder}`);
  const database = await openPlain(path);
  try {
    database.pragma("busy_timeout = 0");
    database.pragma("synchronous = FULL");
    // Nobody else may have it open, not even to read.
    database.pragma("locking_mode = EXCLUSIVE");
    try {
      database.exec("BEGIN EXCLUSIVE");
    } catch (cause) {
      throw new Error("cannot set the level: the state is in use; stop the bot first", { cause });
    }
    if (readMeta(database, "db_uuid") === undefined) throw new Error(`cannot set the level: ${path} is no state`);
    const known = database.prepare("SELECT version FROM degradation WHERE id = 'bot'").raw(true).get();
    const saved: SavedLevel = {
      level,
      reason,
      source: "set",
      since: now,
      latched: level === "emergency",
      holdUntil: 0,
    };
    const version = Array.isArray(known) ? Number(known[0]) + 1 : 1;
    writeRow(database, "degradation", ["bot", level, JSON.stringify(saved), now], version);
    database.exec("COMMIT");
  } finally {
    database.close();
  }
}
