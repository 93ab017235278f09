/**
 * The level that the Python client keeps beside or instead of a state: `level.json`, with `level.lock` held in common by all that
 * would write it (clients/python).
 */
import {
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Level } from "../../core/gate.ts";
import { syncDir } from "../../platform/files.ts";
import { tryLock } from "../../platform/lock.ts";

/** Whether a bot keeps its level there. */
export function keepsLevelFile(folder: string): boolean {
  // It is written with the first change of the level; the lock is there from the first start on.
  return existsSync(join(folder, "level.json")) || existsSync(join(folder, "level.lock"));
}

/** Does `deed` while no bot can write the level. Throws while one holds it: what it has in memory would be written over a change. */
export async function withLevelFile(folder: string, deed: () => Promise<void>): Promise<void> {
  const path = join(folder, "level.lock");
  // A client of an earlier release has none, and one that we made it could not open.
  const lock = existsSync(path) ? tryLock(path) : "none";
  if (lock === undefined) throw new Error("cannot set the level: the bot that keeps it runs; stop it first");
  try {
    await deed();
  } finally {
    if (lock !== "none") lock.release();
  }
}

/** Replaces it, for whoever owns the folder. The folder is the bot's: no link in it is followed. */
export function writeLevelFile(folder: string, level: Level, reason: string): void {
  const temporary = join(folder, `.level.${process.pid}.tmp`);
  const saved = { level, reason, source: "set", latched: level === "emergency", holdUntil: 0 };
  rmSync(temporary, { force: true });
  const fd = openSync(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    const { uid, gid } = statSync(folder);
    if (process.getuid?.() === 0) fchownSync(fd, uid, gid);
    writeSync(fd, JSON.stringify(saved));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, join(folder, "level.json"));
  syncDir(folder);
}
