/**
 * Backups whose data another program keeps, and alone deletes: what it has deleted by its own retention leaves the list. A
 * repository that knows not one of them is another one, or an empty one in the place of the old: then nothing is taken for deleted.
 */
import type { BackupLine } from "../../core/backup-job.ts";
import type { Repository, StoredBackup } from "./repository.ts";
import type { Source } from "./source.ts";

/** Pins what is not in the repository that the other program has now. */
export const ORPHANED =
  "pgBackRest's repository does not know it, nor any made before it: it is another repository; backup prune --force takes it out of the list";

type Write = (line: BackupLine) => void;

/** Before another backup is made: marks what the repository cannot have deleted, since it never had it. Returns what to tell; `undefined`: all is well. */
export async function markOrphans(source: Source, repository: Repository): Promise<string | undefined> {
  if (source.keptElsewhere === undefined) return undefined;
  const { backups } = repository.list();
  const found = await source.keptElsewhere(backups.map(({ manifest }) => manifest));
  const byId = new Map(backups.map((each) => [each.id, each]));
  let orphans = 0;
  for (const group of Map.groupBy(found, ({ place }) => place).values()) {
    const own = group.filter(({ id }) => !isOrphaned(byId.get(id)));
    const known = own.some(({ is }) => is === "there");
    for (const { id, is } of group) {
      const backup = byId.get(id);
      if (backup === undefined) continue;
      if (isOrphaned(backup) && is === "there") pin(repository, backup, null);
      if (isOrphaned(backup) || is === "there" || (known && is === "gone")) continue;
      pin(repository, backup, ORPHANED);
      orphans += 1;
    }
  }
  return orphans === 0
    ? undefined
    : `pgBackRest's repository knows none of the ${orphans} backups that were made before: is it another one, or a new one in the place of the old? They stay in the list, pinned; supervisor backup prune --force takes them out`;
}

/** After it: takes out what the other program has deleted; with `force`, also what it never had. */
export async function removeGone(source: Source, repository: Repository, write: Write, force = false): Promise<void> {
  if (source.keptElsewhere === undefined) return;
  const { backups } = repository.list();
  const found = await source.keptElsewhere(backups.map(({ manifest }) => manifest));
  const byId = new Map(backups.map((each) => [each.id, each]));
  const gone = found.filter(({ id, is }) => is !== "there" && (force || (is === "gone" && !isOrphaned(byId.get(id)))));
  for (const { id } of gone) repository.remove(id);
  if (gone.length > 0) write({ kind: "pruned", ids: gone.map(({ id }) => id) });
}

function isOrphaned(backup: StoredBackup | undefined): boolean {
  return backup?.state.pinned === ORPHANED;
}

function pin(repository: Repository, { id, state }: StoredBackup, pinned: string | null): void {
  repository.writeState(id, { ...state, pinned });
}
