/** Copies the database while it is written, and puts the copy in place only once it was read back and proven. */
import { renameSync } from "node:fs";
import { checkPages, checkRows, openPlain, readMeta, type Database } from "./database.ts";
import { giveToOwner, syncFile, syncFolder, type StateFiles } from "./files.ts";
import { removeScratch } from "./recover.ts";

/** Pages copied in one go: half a megabyte, so that groups are not kept waiting. */
const STEP_PAGES = 128;

/** Throws when the copy cannot be made or does not stand; the one before it is then still there. */
export async function backUp(database: Database, files: StateFiles, uuid: string): Promise<void> {
  const fresh = `${files.backup}.new`;
  removeScratch(fresh);
  await database.backup(fresh, { progress: () => STEP_PAGES });
  const copy = await openPlain(fresh);
  try {
    // One file by itself, to be carried anywhere.
    copy.pragma("journal_mode = DELETE");
    const flaws = [...checkPages(copy, false), ...checkRows(copy)];
    if (readMeta(copy, "db_uuid") !== uuid) flaws.push("it does not say that it is this state");
    if (flaws.length > 0) throw new Error(`cannot back up the state: ${flaws.join("; ")}`);
  } finally {
    copy.close();
  }
  giveToOwner(fresh, files);
  syncFile(fresh);
  renameSync(fresh, files.backup);
  syncFolder(files.folder);
}
