/** Refuses what a disk has no room for, before it is written and while it is; the rule is that of core/backup-room.ts. */
import { lackOf, reserveBytes, reserveFiles } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { diskSpace } from "../../platform/machine.ts";
import { Failure } from "./failure.ts";

interface Wanted {
  /** What is to be written there, bytes. */
  readonly bytes: number;
  /** Files and folders that are to be made there. */
  readonly files: number;
  /** Part of the reserve that must be left: what is there for a while only may take half of it. */
  readonly reserveShare: 0.5 | 1;
  /** What a person can do about it. */
  readonly hint: string;
}

/** Throws `Failure` when the disk of the folder cannot hold what is wanted beside its reserve. */
export function refuseLittleRoom(folder: string, { bytes, files, reserveShare, hint }: Wanted): void {
  const room = diskSpace(folder);
  const lack = lackOf(room, { bytes, files }, reserveShare);
  if (lack === undefined) return;
  const reserve = reserveBytes(room.totalBytes) * reserveShare;
  const why =
    lack === "bytes"
      ? `${formatSize(room.freeBytes)} free, and ${formatSize(bytes)} are needed beside a reserve of ${formatSize(reserve)}`
      : `inodes for ${room.freeFiles ?? 0} more files, and ${files} are needed beside a reserve of ${reserveFiles(room.totalFiles ?? 0) * reserveShare}`;
  throw new Failure("space", `${folder} has ${why}; ${hint}`);
}

/** The same while something is written, for which there was room at the start: another program may fill the disk too. */
export function refuseFullDisk(folder: string): void {
  const room = diskSpace(folder);
  // Half of the reserve: the estimate before the start has kept clear of the whole of it.
  const lack = lackOf(room, { bytes: 0, files: 0 }, 0.5);
  if (lack === undefined) return;
  const left = lack === "bytes" ? formatSize(room.freeBytes) : `inodes for ${room.freeFiles ?? 0} files`;
  throw new Failure("space", `the disk of ${folder} is filling up: ${left} are left`);
}
