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

/**
 * Those that cannot be restored, the oldest first: found so by a verification, or by the look at what is there, unless they are whole
 * by now; and those that need one of them.
 */
export function damagedOf(
  whole: readonly Provable[],
  damaged: readonly { readonly id: string; readonly reason: string }[],
): { id: string; reason: string }[] {
  const ids = new Set(whole.map(({ id }) => id));
  const found = new Map(damaged.filter(({ id }) => !ids.has(id)).map(({ id, reason }) => [id, reason]));
  for (const { id, state } of whole) {
    const reason = refutation(state);
    if (reason !== undefined) found.set(id, reason);
  }
  const dependent = whole.filter(({ id, manifest: { base } }) => base !== null && found.has(base) && !found.has(id));
  return [
    ...[...found].map(([id, reason]) => ({ id, reason })),
    ...dependent.map(({ id, manifest: { base } }) => ({ id, reason: `it needs ${base}, which is damaged` })),
  ].toSorted(byStamp);
}
