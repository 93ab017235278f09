/** What is stored of a target in a store, and why that cannot be told: a store that is gone must never look like an empty one. */
import { Repository, type Listing } from "../../actions/backup/repository.ts";
import { readRecord, type Place } from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";

export interface StoreLook extends Listing {
  /** Folder of the store. */
  readonly folder: string;
  /** Why nothing can be said of what is stored there; `null` when it can. */
  readonly fault: string | null;
}

/** Throws nothing: that a store is gone or may not be read is an answer. */
export function lookInto({ config, dirs }: Pick<LoadedConfig, "config" | "dirs">, place: Place): StoreLook {
  const store = config.backups?.stores[place.store];
  const folder = store?.kind === "directory" ? store.path : "";
  const repository = new Repository(folder, place.target);
  const nothing = { folder, backups: [], damaged: [] };
  try {
    if (repository.isThere()) return { folder, ...repository.list(), fault: null };
  } catch (cause) {
    return { ...nothing, fault: cause instanceof Error ? cause.message : String(cause) };
  }
  const success = readRecord(dirs.stateDir, place)?.lastSuccess ?? null;
  if (success === null) return { ...nothing, fault: null };
  const fault = `the store folder ${repository.folder} is not there, and ${success.id} was stored in it at ${success.at}: mount its disk, or bring the folder back`;
  return { ...nothing, fault };
}
