/** The copies of a bot's lockout as files: what they say, and the slot whose room is taken before it is needed. */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { readLockout, type Lockout, type LockoutReading } from "../../core/lockout.ts";
import { readTextIfExists } from "../../platform/files.ts";

/** Largest lockout file read, bytes; ours are below 2 KiB. */
const MAX_BYTES = 64 * 1024;
/** Size of the slot, bytes: one block, which a disk writes whole or not at all. */
export const SLOT_BYTES = 4_096;
const EMPTY_SLOT = "\0".repeat(SLOT_BYTES);

/** What stands in one of the places where a lockout may be. */
export interface LockoutCopy {
  readonly path: string;
  readonly reading: LockoutReading;
}

/** The slot in a bot's state folder. */
export function lockoutSlot(botDir: string): string {
  return join(botDir, "lock.slot");
}

/** For people and scripts. */
export function lockoutText(lockout: Lockout): string {
  return `${JSON.stringify(lockout, undefined, 2)}\n`;
}

/** What a lockout file or slot says. A file that is there and cannot be read counts as damaged: the bot may be locked. */
export function readLockoutFile(path: string): LockoutReading {
  try {
    // Nothing is there of almost every bot, and this costs less than an exception.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return readLockout(undefined);
    const raw = readTextIfExists(path, MAX_BYTES);
    // A slot that holds nothing is all zeros, as long as it was made: a shorter one was cut, with what it held.
    if (path.endsWith(".slot") && raw === EMPTY_SLOT) return { kind: "absent" };
    if (raw === undefined && lstatSync(path, { throwIfNoEntry: false }) !== undefined)
      return { kind: "damaged", reason: "it is a link to nothing" };
    return readLockout(raw?.replace(/\0+$/, ""));
  } catch (error) {
    return { kind: "damaged", reason: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
