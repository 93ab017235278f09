/**
 * Which stored backup holds what a source has now, so that a run of the schedule need not copy it again. Whatever is in doubt
 * counts as changed: a backup too many costs a disk some room, one too few costs what was written meanwhile.
 */
import { provenLevel, type BackupState, type Manifest } from "./backup-manifest.ts";

interface Stored {
  readonly manifest: Manifest;
  readonly state: BackupState;
}

export interface Sight {
  /** Mark of the source, taken now; `undefined`: nobody can be sure of it. */
  readonly mark: string | undefined;
  /** As the times of a manifest are written. */
  readonly now: string;
  /** The run is to make an incremental backup, where one of either kind will do; a full one is replaced by a full one alone. */
  readonly incremental: boolean;
}

/**
 * The newest of `backups` (oldest first) when it was made of what the source has now; `undefined`: the source has changed, or
 * it may have. Only the newest: an older one would be seen unchanged over the time of those that were made since.
 */
export function backupOfNow<Backup extends Stored>(
  backups: readonly Backup[],
  { mark, now, incremental }: Sight,
): Backup | undefined {
  const own = backups.filter(({ manifest }) => manifest.trigger !== "pre-restore" && manifest.kind !== "base");
  const newest = own.at(-1);
  if (mark === undefined || newest?.manifest.sourceMark !== mark) return undefined;
  const { kind, base, snapshotAt } = newest.manifest;
  // Of before the clock was set back: it cannot be said since when nothing has changed. The texts sort as the times do.
  if (snapshotAt > now) return undefined;
  if (kind !== "full" && !(incremental && kind === "delta")) return undefined;
  const proven = (each: Stored | undefined): boolean => each !== undefined && provenLevel(each.state) !== undefined;
  const based = base === null || proven(own.find(({ manifest }) => manifest.id === base));
  return proven(newest) && based ? newest : undefined;
}
