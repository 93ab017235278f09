/** What a restore would do, from the config and the stores alone; nothing is changed and no byte of a backup is read. */
import { statSync } from "node:fs";
import { Repository } from "../../actions/backup/repository.ts";
import { chooseBackup, type Candidate } from "../../core/backup-choice.ts";
import { provenLevel } from "../../core/backup-manifest.ts";
import { REDIS_BY_HAND, type RestoreFrom, type RestoreJob } from "../../core/restore-job.ts";
import { placesOf } from "./backup-run.ts";
import type { BackupsInput, TargetConfig } from "./config/backup-schema.ts";
import type { LoadedConfig } from "./config/load.ts";

export interface RestoreWish {
  readonly target: string;
  /** Instant to go back to; `undefined`: now. */
  readonly at: Date | undefined;
  readonly id: string | undefined;
  readonly file: string | undefined;
  readonly into: RestoreJob["into"];
}

export interface RestorePlan {
  readonly target: string;
  readonly kind: TargetConfig["kind"];
  /** The backup's id, or the file. */
  readonly backup: string;
  /** `null`: a file that somebody gave. */
  readonly store: string | null;
  /** Instant whose data comes back; `null` when the file does not say. */
  readonly snapshotAt: string | null;
  /** What was written in so many seconds before now is lost; `null` when nobody knows. */
  readonly lossSeconds: number | null;
  readonly into: RestoreJob["into"];
  /** What is replaced, with its bytes now; `null` bytes: a folder, or nothing is there. */
  readonly replaces: readonly { readonly path: string; readonly bytes: number | null }[];
  readonly bots: readonly string[];
}

export type Planned =
  | { readonly kind: "planned"; readonly plan: RestorePlan; readonly from: RestoreFrom }
  | { readonly kind: "none"; readonly reason: string };

interface Stored extends Candidate {
  readonly store: string;
  readonly folder: string;
  readonly snapshotAt: string;
}

/** Every backup of the target in every store of its, whole or not, oldest first. */
export function storedBackups(backups: BackupsInput, target: string): readonly Stored[] {
  const all = placesOf(backups, target).flatMap(({ store }) => {
    const folder = backups.stores[store]?.path ?? "";
    const listing = new Repository(folder, target).list();
    const whole = listing.backups.map(({ id, manifest, state }) => ({
      id,
      store,
      folder,
      base: manifest.base,
      snapshotAt: manifest.snapshotAt,
      snapshotMs: Date.parse(manifest.snapshotAt),
      verified: provenLevel(state) !== undefined,
      damage: null,
    }));
    const damaged = listing.damaged.map(({ id, reason }) => ({
      id,
      store,
      folder,
      base: null,
      snapshotAt: "",
      snapshotMs: Number.NEGATIVE_INFINITY,
      verified: false,
      damage: reason,
    }));
    return [...whole, ...damaged];
  });
  return all.toSorted((a, b) => a.snapshotMs - b.snapshotMs);
}

/** Which backup it would be, and what that means. Throws nothing: that there is none is an answer. */
export function planRestore(config: LoadedConfig["config"], wish: RestoreWish, now: Date): Planned {
  const { backups } = config;
  const target = backups?.targets[wish.target];
  if (backups === undefined || target === undefined) return { kind: "none", reason: `no target ${wish.target}` };
  if (target.kind === "redis") return { kind: "none", reason: REDIS_BY_HAND };
  const common = {
    target: wish.target,
    kind: target.kind,
    into: wish.into,
    replaces: wish.into.kind === "folder" ? [] : pathsOf(target).map(withBytes),
    bots: wish.into.kind === "folder" ? [] : (target.bots ?? []),
  };
  if (wish.file !== undefined) {
    const plan = { ...common, backup: wish.file, store: null, snapshotAt: null, lossSeconds: null };
    return { kind: "planned", plan, from: { kind: "file", path: wish.file } };
  }
  const found = find(storedBackups(backups, wish.target), wish, now);
  if (typeof found === "string") return { kind: "none", reason: found };
  const { id, store, folder, snapshotAt, snapshotMs } = found;
  const lossSeconds = Math.max(0, Math.round((now.getTime() - snapshotMs) / 1_000));
  return {
    kind: "planned",
    plan: { ...common, backup: id, store, snapshotAt, lossSeconds },
    from: { kind: "backup", folder, id },
  };
}

/** The backup, or why there is none. */
function find(stored: readonly Stored[], { id, at }: RestoreWish, now: Date): Stored | string {
  if (id !== undefined) {
    const found = stored.find((each) => each.id === id && each.damage === null);
    return found ?? stored.find((each) => each.id === id)?.damage ?? `there is no backup ${id}`;
  }
  const choice = chooseBackup(stored, (at ?? now).getTime());
  if (choice.kind === "none")
    return choice.nearest === undefined
      ? choice.reason
      : `${choice.reason}; the oldest that can be used is ${choice.nearest}`;
  return stored.find((each) => each.id === choice.id && each.verified) ?? `there is no backup ${choice.id}`;
}

function pathsOf(target: TargetConfig): readonly string[] {
  switch (target.kind) {
    case "sqlite":
      return [target.path];
    case "redis":
      return [];
    case "files":
    case "secrets":
      return target.paths;
  }
}

function withBytes(path: string): { path: string; bytes: number | null } {
  const stats = statSync(path, { throwIfNoEntry: false });
  return { path, bytes: stats?.isFile() === true ? stats.size : null };
}
