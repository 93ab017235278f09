/** Refuses a backup before anything is written for which a disk has no room: that of the store, and that on which the source writes meanwhile. */
import { dirname } from "node:path";
import type { BackupJob } from "../../core/backup-job.ts";
import type { BackupKind } from "../../core/backup-manifest.ts";
import { filesOfBackup, neededBytes } from "../../core/backup-room.ts";
import { filesUnpacked } from "../../core/backup-unpacked.ts";
import type { Repository } from "./repository.ts";
import { onOneDisk, refuseLittleRoom, sharersOf, type Written } from "./room.ts";
import type { Room } from "./source.ts";

const STORE_HINT = "make room or name another store";

/** Throws `Failure`. */
export function refuseNoRoom(job: BackupJob, repository: Repository, room: Room): void {
  const { beside } = room;
  const store = needOf(job, repository, room);
  const sharers = sharersIn(job);
  const together = beside !== undefined && onOneDisk(beside.folder, job.folder);
  refuseLittleRoom(job.folder, {
    bytes: store.bytes + (together ? beside.bytes : 0),
    files: store.files + (together ? 1 : 0),
    reserveShare: 1,
    hint: STORE_HINT,
    sharers,
  });
  if (beside === undefined || together) return;
  // What the source writes there takes the place of what it has written before.
  refuseLittleRoom(beside.folder, {
    bytes: beside.bytes,
    files: 1,
    reserveShare: 0.5,
    hint: `make room: that is where ${job.target.name} itself writes its copy`,
  });
}

/** Who writes to the disk of the store, too: a backup that fills it stops them. */
export function sharersIn(job: BackupJob): readonly string[] {
  const { target, record, bots = [] } = job;
  const paths = "paths" in target ? target.paths : "path" in target ? [target.path] : [];
  return sharersOf(job.folder, [
    ...bots.map(({ name, folder }): Written => ({ whose: `the bot ${name}`, path: folder })),
    ...paths.map((path): Written => ({ whose: path, path })),
    { whose: "the supervisor's state folder", path: dirname(record) },
  ]);
}

/** Its copy goes before it is unpacked for its proof, so that both take the same room. */
function needOf(
  { target, verify }: BackupJob,
  repository: Repository,
  { rawBytes, temporaryBytes, files, unpackedBytes = rawBytes }: Room,
): { readonly bytes: number; readonly files: number } {
  const kind: BackupKind = target.kind === "postgres" && target.physical === true ? "base" : "full";
  const last = repository.list().backups.findLast(({ manifest }) => manifest.kind === kind)?.manifest;
  const lastRatio =
    last === undefined || last.raw.bytes === 0
      ? undefined
      : last.parts.reduce((sum, { bytes }) => sum + bytes, 0) / last.raw.bytes;
  const unpacked = verify === "L2" ? unpackedBytes : 0;
  const bytes = neededBytes({ rawBytes, temporaryBytes: Math.max(temporaryBytes, unpacked), lastRatio });
  const unpackedFiles = verify === "L2" ? (files ?? filesUnpacked({ kind, type: target.kind })) : 0;
  return { bytes, files: filesOfBackup(bytes) + unpackedFiles };
}
