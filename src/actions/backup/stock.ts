/** Remembers in the record of a target what its store has after a run or prune, and says when the disk has less than its reserve. */
import type { BackupLine } from "../../core/backup-job.ts";
import type { BackupTrigger, Manifest } from "../../core/backup-manifest.ts";
import { keptElsewhere } from "../../core/pgbackrest.ts";
import type { Retention } from "../../core/backup-retention.ts";
import { reserveBytes } from "../../core/backup-room.ts";
import { isLow, spanOf, stockOf, type Span, type Stock } from "../../core/backup-stock.ts";
import { formatSize } from "../../core/size.ts";
import type { Clock } from "../../platform/clock.ts";
import { diskFree } from "../../platform/machine.ts";
import { archivedBytes } from "./wal-archive.ts";
import { asKept, damagedOf, type Provable } from "./kept.ts";
import { writeStock } from "./record.ts";
import type { Repository } from "./repository.ts";

interface StockOf {
  /** The daemon looks at the disk itself, and says so. */
  readonly trigger?: BackupTrigger;
  /** File of the record. */
  readonly record: string;
  readonly retention: Retention;
}

interface StockIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

/** Of a directory; never throws, since nothing of a backup depends on it. */
export function noteStock(
  { record, retention, trigger }: StockOf,
  repository: Repository,
  { write, clock }: StockIo,
): void {
  try {
    const room = diskFree(repository.folder);
    const disk = room && { freeBytes: room.freeBytes, reserveBytes: reserveBytes(room.totalBytes) };
    const walBytes = archivedBytes(repository.folder);
    const { backups, damaged } = repository.list();
    const stock = {
      ...countOf(backups, retention, clock),
      ...(walBytes === 0 ? {} : { walBytes }),
      ...(disk && { disk }),
    };
    const before = writeStock(record, stock, damagedOf(backups, damaged));
    const low = isLow(stock);
    // The same is said once, and not again by each incremental backup.
    if (trigger === "schedule" || disk === undefined || low === (before !== undefined && isLow(before))) return;
    const free = `${repository.folder} has ${formatSize(disk.freeBytes)} free`;
    if (low)
      write({
        kind: "alarm",
        text: `${free}, less than the reserve of ${formatSize(disk.reserveBytes)}: make room before a backup is refused`,
      });
    else write({ kind: "note", text: `${free} again, enough for its reserve of ${formatSize(disk.reserveBytes)}` });
  } catch {
    // The store went away meanwhile: what the run said of it counts.
  }
}

/** Of what lies in a bucket, which has no end. */
export function noteCopies(
  { record, retention }: StockOf,
  { there, damaged }: { readonly there: readonly Provable[]; readonly damaged: Parameters<typeof damagedOf>[1] },
  clock: Clock,
): void {
  writeStock(record, countOf(there, retention, clock), damagedOf(there, damaged));
}

/** Between which instants there is a recovery, after somebody has proven or refuted one of these. */
export function spanNow(backups: readonly Provable[], clock: Clock): Span {
  return spanOf(backups.map(datedOf), clock.wallTime().getTime());
}

function datedOf(each: Provable): Parameters<typeof spanOf>[0][number] {
  return { ...asKept(each), snapshotAt: each.manifest.snapshotAt, unchangedAt: each.state.unchangedAt };
}

function countOf(backups: readonly Provable[], retention: Retention, clock: Clock): Stock {
  const stocked = backups.map((each) => {
    const { parts, pageTable } = each.manifest;
    const here = parts.reduce((sum, { bytes }) => sum + bytes, pageTable?.bytes ?? 0);
    const storedBytes = here + addedElsewhere(each.manifest);
    return { ...datedOf(each), storedBytes };
  });
  return stockOf(stocked, retention, clock.wallTime().getTime());
}

/** What is there once for all that refer to it counts with the backup that brought it. */
function addedElsewhere(manifest: Manifest): number {
  const elsewhere = keptElsewhere(manifest);
  if (elsewhere === undefined) return 0;
  return elsewhere.addedBytes ?? (elsewhere.type === "full" ? elsewhere.repositoryBytes : 0);
}
