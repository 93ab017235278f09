/** `supervisor restore --store`: what lies in one store, and a copy fetched from a bucket for as long as the restore takes. */
import { openScratch } from "../../actions/backup/scratch.ts";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import type { RestoreFrom } from "../../core/restore-job.ts";
import { systemClock } from "../../platform/clock.ts";
import { keyOf, type Place } from "../runtime/backup-run.ts";
import { fetchJob, lookAtCopies, runRemote, scratchOf } from "../runtime/copies.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { seenOf, storedBackups, type StoredBackups } from "../runtime/restore-plan.ts";
import { BackupRefusal } from "./backup-refusal.ts";
import type { CliIo } from "./verb.ts";

/** What lies in the store; `undefined` when none is named. Throws when the config does not know it. */
export async function storedIn(
  loaded: LoadedConfig,
  target: string,
  store: string | undefined,
): Promise<StoredBackups | undefined> {
  if (store === undefined) return undefined;
  const { stores = {}, targets = {} } = loaded.config.backups ?? {};
  const wanted = targets[target]?.stores ?? Object.keys(stores);
  if (!wanted.includes(store))
    throw new BackupRefusal(
      `cannot restore ${target} from the store ${store}: it is not one of its stores`,
      EXIT.usage,
      `its stores are ${wanted.join(", ")}`,
    );
  if (stores[store]?.kind === "s3") return copiesAsStored(loaded, { target, store });
  const { all, faults } = storedBackups(loaded, target);
  return { all: all.filter((each) => each.store === store), faults: faults.filter((fault) => fault.includes(store)) };
}

async function copiesAsStored(loaded: LoadedConfig, place: Place): Promise<StoredBackups> {
  const { found, fault } = await lookAtCopies(loaded, place, systemClock);
  const all = found.map(({ id, damage, backup }) => ({
    id,
    store: place.store,
    // It lies in no folder before it is fetched.
    folder: "/",
    base: backup?.base ?? null,
    snapshotAt: backup?.snapshotAt ?? "",
    snapshotMs: backup === null ? Number.NEGATIVE_INFINITY : Date.parse(backup.snapshotAt),
    ...seenOf(backup?.unchangedAt),
    verified: (backup?.proven ?? null) !== null,
    preRestore: backup?.trigger === "pre-restore",
    tables: backup?.tables ?? undefined,
    physical: backup?.physical === true,
    refuted: backup?.damage ?? null,
    damage,
  }));
  return { all, faults: fault === null ? [] : [fault] };
}

interface FetchWish {
  readonly place: Place;
  readonly from: RestoreFrom;
  readonly json?: boolean | undefined;
  /** Instant that the WAL is played up to. */
  readonly until?: string | undefined;
}

/** Calls `deed` with where the backup lies now: of a bucket, fetched into scratch, which goes afterwards. */
export async function withFetched(
  loaded: LoadedConfig,
  { place, from, json, until }: FetchWish,
  io: CliIo,
  deed: (from: RestoreFrom) => Promise<void>,
): Promise<void> {
  if (from.kind !== "backup" || loaded.config.backups?.stores[place.store]?.kind !== "s3") return deed(from);
  const scratch = openScratch(scratchOf(loaded));
  try {
    if (json !== true) io.out(`fetching ${from.id} from ${place.store} …`);
    const onLine = (line: BackupLine): void => {
      if (line.kind === "fetched" && json !== true) io.out(`fetched ${line.id}`);
    };
    const job = fetchJob(loaded, place, { id: from.id, into: scratch.folder, until });
    const { code, failure } = await runRemote(job, {
      clock: systemClock,
      work: `the fetch for a restore of ${keyOf(place)}`,
      stateDir: loaded.dirs.stateDir,
      onLine,
    });
    if (failure !== undefined)
      throw new BackupRefusal(
        `cannot fetch ${from.id} from ${place.store}: ${failure}`,
        code,
        code === BACKUP_EXIT.verification ? "take an older one with --id" : "nothing was changed; try again",
      );
    await deed({ ...from, folder: scratch.folder });
  } finally {
    scratch.release();
  }
}
