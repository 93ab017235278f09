/** Refuses what a disk has no room for, before it is written and while it is; the rule is that of core/backup-room.ts. */
import { statSync } from "node:fs";
import { lackOf, reserveBytes, reserveFiles } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { diskSpace } from "../../platform/machine.ts";
import { Failure } from "./failure.ts";

/** Whose data an error names at most: the first of many bots say enough. */
const MAX_NAMED = 3;

interface Wanted {
  /** What is to be written there, bytes. */
  readonly bytes: number;
  /** Files and folders that are to be made there. */
  readonly files: number;
  /** Part of the reserve that must be left: what is there for a while only may take half of it. */
  readonly reserveShare: 0.5 | 1;
  /** What a person can do about it. */
  readonly hint: string;
  /** Who else writes to that disk, for people. */
  readonly sharers?: readonly string[];
}

/** A folder or file that others write to. */
export interface Written {
  /** Whose it is, for people. */
  readonly whose: string;
  readonly path: string;
}

/** Throws `Failure` when the disk of the folder cannot hold what is wanted beside its reserve. */
export function refuseLittleRoom(folder: string, { bytes, files, reserveShare, hint, sharers = [] }: Wanted): void {
  const room = diskSpace(folder);
  const lack = lackOf(room, { bytes, files }, reserveShare);
  if (lack === undefined) return;
  const reserve = reserveBytes(room.totalBytes) * reserveShare;
  const why =
    lack === "bytes"
      ? `${formatSize(room.freeBytes)} free, and ${formatSize(bytes)} are needed beside a reserve of ${formatSize(reserve)}`
      : `inodes for ${room.freeFiles ?? 0} more files, and ${files} are needed beside a reserve of ${reserveFiles(room.totalFiles ?? 0) * reserveShare}`;
  throw new Failure("space", `${folder} has ${why}${named(sharers)}; ${hint}`);
}

/** The same while something is written, for which there was room at the start: another program may fill the disk too. */
export function refuseFullDisk(folder: string, sharers: readonly string[] = []): void {
  const room = diskSpace(folder);
  // Half of the reserve: the estimate before the start has kept clear of the whole of it.
  const lack = lackOf(room, { bytes: 0, files: 0 }, 0.5);
  if (lack === undefined) return;
  const left = lack === "bytes" ? formatSize(room.freeBytes) : `inodes for ${room.freeFiles ?? 0} files`;
  throw new Failure("space", `the disk of ${folder} is filling up: ${left} are left${named(sharers)}`);
}

/** Of those, whose path lies on the file system of the folder. What is not there, or may not be looked at, is left out. */
export function sharersOf(folder: string, all: readonly Written[]): readonly string[] {
  const device = deviceOf(folder);
  return all.filter(({ path }) => device !== undefined && deviceOf(path) === device).map(({ whose }) => whose);
}

/** Whether both lie on one file system; false where that cannot be told. */
export function onOneDisk(a: string, b: string): boolean {
  const device = deviceOf(a);
  return device !== undefined && device === deviceOf(b);
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined;
  }
}

function named(sharers: readonly string[]): string {
  if (sharers.length === 0) return "";
  const more = sharers.length - MAX_NAMED;
  const who = more > 0 ? [...sharers.slice(0, MAX_NAMED), `${more} more`] : sharers;
  return `, on a disk that is also that of ${who.join(", ")}`;
}
