/** The action `prune-backups`: deletes what no rule of the retention keeps, and says of each backup why it stays or goes. */
import { BACKUP_EXIT, pruneJobSchema, type BackupLine, type PruneJob } from "../../core/backup-job.ts";
import { MAX_SHARE, planRetention, type Kept } from "../../core/backup-retention.ts";
import type { Clock } from "../../platform/clock.ts";
import { isHeld } from "../../platform/folder-hold.ts";
import { defineAction } from "../contract.ts";
import { failed, Failure } from "./failure.ts";
import { asKept, isPreRestore, type Provable } from "./kept.ts";
import { Repository } from "./repository.ts";
import { noteStock } from "./stock.ts";

interface PruneIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

/** Fewer verified backups than this are not a share worth guarding. */
const MIN_GUARDED = 4;

export const pruneAction = defineAction({ jobSchema: pruneJobSchema, run: pruneBackups });

/** Returns the exit code; never throws. A dry run needs no lock and changes nothing. */
export async function pruneBackups(job: PruneJob, io: PruneIo): Promise<number> {
  const repository = new Repository(job.folder, job.target.name);
  try {
    if (!repository.isThere())
      io.write({ kind: "note", text: `nothing is stored: there is no folder ${repository.folder}` });
    else if (job.dryRun) pruneLocked(repository, job, io);
    else {
      const lock = repository.lock();
      if (lock === undefined)
        throw new Failure("lock", `another deed on the backups of ${job.target.name} is under way`);
      try {
        if (job.force) await removeForced(job, repository, io);
        pruneLocked(repository, job, io);
        const { record } = job;
        if (record !== undefined) noteStock({ ...job, record }, repository, io);
      } finally {
        lock.release();
      }
    }
    return BACKUP_EXIT.done;
  } catch (error) {
    return failed(error, io.write);
  }
}

/** Descriptions of what another program keeps, and has no more; nobody else has any. */
async function removeForced({ target }: PruneJob, repository: Repository, { write }: PruneIo): Promise<void> {
  if (target.kind !== "postgres" || target.pgbackrest === undefined) return;
  // Only here: the sources are larger than all of the rest.
  const [{ openSource }, { removeGone }] = await Promise.all([import("./sources.ts"), import("./elsewhere.ts")]);
  await removeGone(openSource({ ...target, physical: true }), repository, write, true);
}

/** The same for who holds the lock already. Throws. */
export function pruneLocked(
  repository: Repository,
  { retention, dryRun, force }: Pick<PruneJob, "retention" | "dryRun" | "force">,
  io: PruneIo,
): void {
  const { backups } = repository.list();
  const reads = new Map(backups.map(({ id, folder }) => [id, () => isHeld(folder)]));
  const doomed = doomedOf(backups, { retention, dryRun, force, isRead: (id) => reads.get(id)?.() === true }, io);
  const gone = doomed.filter((id) => repository.remove(id));
  if (gone.length > 0) io.write({ kind: "pruned", ids: gone });
}

interface Doom extends Pick<PruneJob, "retention" | "dryRun" | "force"> {
  /** Whether somebody restores or exports the backup just now; left out, nobody does. */
  readonly isRead?: (id: string) => boolean;
}

/** What is to be deleted, in this order; nothing in a dry run, which tells the verdicts instead. Throws when it is too much at once. */
export function doomedOf(
  backups: readonly Provable[],
  { retention, dryRun, force, isRead = () => false }: Doom,
  io: PruneIo,
): readonly string[] {
  const nowMs = io.clock.wallTime().getTime();
  const kept = backups.map(asKept);
  const first = planRetention(kept, retention, nowMs);
  // Only of those that would go: looking at each of some thousand takes longer than all the rest.
  const read = new Set(first.filter(({ keep, id }) => !keep && isRead(id)).map(({ id }) => id));
  const inUse = (each: Kept): Kept => ({ ...each, inUse: read.has(each.id) });
  const verdicts = read.size === 0 ? first : planRetention(kept.map(inUse), retention, nowMs);
  if (dryRun) for (const verdict of verdicts) io.write({ kind: "verdict", ...verdict });
  const doomed = verdicts.filter(({ keep }) => !keep).map(({ id }) => id);
  if (dryRun || doomed.length === 0) return [];
  // Those of before a restore go by their age; many of them must not hide how many of the others would go.
  const guarded = backups.filter(({ manifest }) => !isPreRestore(manifest));
  const lost = guarded.filter(({ id }) => doomed.includes(id)).length;
  if (!force && guarded.length >= MIN_GUARDED && lost > guarded.length * MAX_SHARE)
    throw new Failure(
      "prune",
      `${lost} of ${guarded.length} backups would be deleted at once; look at them with --dry-run, and use --force when that is right`,
    );
  // Deltas before their bases: a kill between the two leaves no delta without its base.
  const bases = new Set(backups.map(({ manifest }) => manifest.base));
  return doomed.toSorted((a, b) => Number(bases.has(a)) - Number(bases.has(b)));
}
