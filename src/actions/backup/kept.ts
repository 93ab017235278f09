/** Stored backups, wherever they lie, as the retention and the counts judge them. */
import { byStamp, isRefuted, provenLevel, refutation } from "../../core/backup-manifest.ts";
import type { Kept } from "../../core/backup-retention.ts";
import { keptElsewhere } from "../../core/pgbackrest.ts";
import type { StoredBackup } from "./repository.ts";

/** A backup wherever it is stored. */
export type Provable = Pick<StoredBackup, "id" | "manifest" | "state">;

export function isPreRestore({ trigger }: Provable["manifest"]): boolean {
  return trigger === "pre-restore";
}

/** A stored backup as the retention judges it. */
export function asKept({ id, manifest, state }: Provable): Kept {
  return {
    id,
    kind: manifest.kind,
    base: manifest.base,
    snapshotMs: Date.parse(manifest.snapshotAt),
    ...(state.unchangedAt === undefined ? {} : { unchangedMs: Date.parse(state.unchangedAt) }),
    createdMs: Date.parse(manifest.createdAt),
    verified: provenLevel(state) !== undefined,
    refuted: isRefuted(state),
    preRestore: isPreRestore(manifest),
    pinned: state.pinned ?? (keptElsewhere(manifest) === undefined ? null : "pgBackRest's own retention decides"),
    inUse: false,
  };
}

/** Those that cannot be restored, the oldest first: found so by a verification, or by the look at what is there, unless they are whole by now. */
export function damagedOf(
  whole: readonly Pick<Provable, "id" | "state">[],
  damaged: readonly { readonly id: string; readonly reason: string }[],
): { id: string; reason: string }[] {
  const refuted = whole.flatMap(({ id, state }) => {
    const reason = refutation(state);
    return reason === undefined ? [] : [{ id, reason }];
  });
  const ids = new Set(whole.map(({ id }) => id));
  const broken = damaged.filter(({ id }) => !ids.has(id)).map(({ id, reason }) => ({ id, reason }));
  return [...refuted, ...broken].toSorted(byStamp);
}
