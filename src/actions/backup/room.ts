/** Refuses what a disk has no room for, before it is written and while it is; the rule is that of core/backup-room.ts. */
import { reserveBytes } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { diskSpace } from "../../platform/machine.ts";
import { Failure } from "./failure.ts";

interface Wanted {
  /** What is to be written there, bytes. */
  readonly bytes: number;
  /** Part of the reserve that must be left: what is there for a while only may take half of it. */
  readonly reserveShare: 0.5 | 1;
  /** What a person can do about it. */
  readonly hint: string;
}

/** Throws `Failure` when the disk of the folder cannot hold what is wanted beside its reserve. */
export function refuseLittleRoom(folder: string, { bytes, reserveShare, hint }: Wanted): void {
  const { freeBytes, totalBytes } = diskSpace(folder);
  const reserve = reserveBytes(totalBytes) * reserveShare;
  if (freeBytes - bytes < reserve)
    throw new Failure(
      "space",
      `${folder} has ${formatSize(freeBytes)} free, and ${formatSize(bytes)} are needed beside a reserve of ${formatSize(reserve)}; ${hint}`,
    );
}

/** The same while something is written, for which there was room at the start: another program may fill the disk too. */
export function refuseFullDisk(folder: string): void {
  const { freeBytes, totalBytes } = diskSpace(folder);
  // Half of the reserve: the estimate before the start has kept clear of the whole of it.
  if (freeBytes < reserveBytes(totalBytes) / 2)
    throw new Failure("space", `the disk of ${folder} is filling up: ${formatSize(freeBytes)} are left`);
}
