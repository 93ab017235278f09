/** What a restore would do, from the config and the stores alone; nothing is changed and no byte of a backup is read. */
import { statSync } from "node:fs";
import { basename } from "node:path";
import { damagedOf as damagedIn } from "../../actions/backup/kept.ts";
import { knownState, readManifest } from "../../actions/backup/repository.ts";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { untilMs } from "../../core/backup-retention.ts";
import { chooseBackup, type Candidate } from "../../core/backup-choice.ts";
import { guessText } from "../../core/nearest.ts";
import { byStamp, provenLevel, refutation, type BackupType, type Manifest } from "../../core/backup-manifest.ts";
import { formatOf, holdsOf, misfit, namelessText, type RestoreFrom, type RestoreJob } from "../../core/restore-job.ts";
import { placesOf } from "./backup-run.ts";
import { lookInto } from "./stores.ts";
import type { TargetConfig } from "./config/backup-schema.ts";
import type { LoadedConfig } from "./config/load.ts";

export interface RestoreWish {
  readonly target: string;
  /** Instant to go back to; `undefined`: now. */
  readonly at: Date | undefined;
  readonly id: string | undefined;
  readonly file: string | undefined;
  readonly into: RestoreJob["into"];
  /** What there is, where somebody has looked already; default: what lies in the directories. */
  readonly stored?: StoredBackups | undefined;
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
  /** When the source was last seen to hold the same; `null`: not since then. */
  readonly unchangedAt: string | null;
  /** What was written in so many seconds before now is lost; `null` when nobody knows. */
  readonly lossSeconds: number | null;
  readonly into: RestoreJob["into"];
  /** What is replaced, with its bytes now; `null` bytes: a folder, or nothing is there. */
  readonly replaces: readonly { readonly path: string; readonly bytes: number | null }[];
  readonly bots: readonly string[];
  /** Backups that were found damaged and are newer than the one that is taken, or are that one, the newest first. */
  readonly damaged: readonly { readonly id: string; readonly store: string | null; readonly reason: string }[];
}

export type Planned =
  | {
      readonly kind: "planned";
      readonly plan: RestorePlan;
      readonly from: RestoreFrom;
      /** Stores that could not be looked into: the newest backup may be there. */
      readonly faults: readonly string[];
    }
  | { readonly kind: "none"; readonly reason: string; readonly exitCode: number };

type Loaded = Pick<LoadedConfig, "config" | "dirs">;

interface Stored extends Candidate {
  readonly store: string;
  readonly folder: string;
  readonly snapshotAt: string;
  readonly unchangedAt: string | null;
  readonly tables: Tables;
  /** A base of a whole server. */
  readonly physical: boolean;
  /** What a verification found wrong; `null`: nothing, or nobody has looked. */
  readonly refuted: string | null;
}

/** Rows by table; `undefined` when nobody has counted them. */
type Tables = Manifest["content"]["tables"];

export interface StoredBackups {
  readonly all: readonly Stored[];
  /** Why a store could not be looked into, one for each. */
  readonly faults: readonly string[];
}

/** Every backup of the target in every store of its, whole or not, oldest first. */
export function storedBackups(loaded: Loaded, target: string): StoredBackups {
  const { backups } = loaded.config;
  const faults: string[] = [];
  const places = backups === undefined ? [] : placesOf(backups, target);
  const all = places.flatMap(({ store }) => {
    const listing = lookInto(loaded, { target, store });
    const { folder, fault } = listing;
    if (fault !== null) faults.push(fault);
    const reasons = new Map(damagedIn(listing.backups, listing.damaged).map(({ id, reason }) => [id, reason]));
    const whole = listing.backups.map(({ id, manifest, state }) => ({
      id,
      store,
      folder,
      base: manifest.base,
      snapshotAt: manifest.snapshotAt,
      snapshotMs: Date.parse(manifest.snapshotAt),
      ...seenOf(state.unchangedAt),
      verified: provenLevel(state) !== undefined,
      preRestore: manifest.trigger === "pre-restore",
      tables: manifest.content.tables,
      physical: manifest.kind === "base",
      refuted: reasons.get(id) ?? null,
      damage: null,
    }));
    const damaged = listing.damaged.map(({ id, reason }) => ({
      id,
      store,
      folder,
      base: null,
      snapshotAt: "",
      snapshotMs: Number.NEGATIVE_INFINITY,
      ...seenOf(undefined),
      verified: false,
      preRestore: false,
      tables: undefined,
      physical: false,
      refuted: null,
      damage: reason,
    }));
    return [...whole, ...damaged];
  });
  return { all: all.toSorted((a, b) => a.snapshotMs - b.snapshotMs), faults };
}

/** Which backup it would be, and what that means. Throws nothing: that there is none is an answer. */
export function planRestore(loaded: Loaded, wish: RestoreWish, now: Date): Planned {
  const target = loaded.config.backups?.targets[wish.target];
  if (target === undefined) return none(`no target ${wish.target}`);
  if (wish.into.kind === "tables" && target.kind !== "sqlite" && target.kind !== "postgres")
    return none(`it is of kind ${target.kind} and has no tables; leave --table out`, BACKUP_EXIT.usage);
  const elsewhere = wish.into.kind === "folder" || wish.into.kind === "instant";
  const common = {
    target: wish.target,
    kind: target.kind,
    into: wish.into,
    replaces: elsewhere ? [] : pathsOf(target).map(withBytes),
    bots: elsewhere ? [] : (target.bots ?? []),
  };
  if (wish.file !== undefined) return planFile(wish.file, common, now);
  const { all, faults } = wish.stored ?? storedBackups(loaded, wish.target);
  const physical = wish.into.kind === "instant";
  const found = find(
    all.filter((each) => each.physical === physical || each.damage !== null),
    wish,
    now,
  );
  if (typeof found === "string") {
    if (faults.length > 0) return none(faults.join("; "), BACKUP_EXIT.source);
    return wish.id === undefined ? noneInTime(found, all) : noneOfId(wish.id, all);
  }
  const { id, store, folder, snapshotAt } = found;
  const heldMs = untilMs(found, now.getTime());
  const unchangedAt = heldMs > found.snapshotMs ? new Date(heldMs).toISOString() : null;
  const unknown = unknownTables(wish.into, id, found.tables);
  if (unknown !== undefined) return none(unknown, BACKUP_EXIT.usage);
  return {
    kind: "planned",
    plan: {
      ...common,
      backup: id,
      store,
      snapshotAt,
      unchangedAt,
      lossSeconds: lossOf(unchangedAt ?? snapshotAt, now),
      damaged: damagedOf(all, found).filter((each) => each.id === id || wish.id === undefined),
    },
    from: { kind: "backup", folder, id },
    faults,
  };
}

function noneInTime(why: string, all: readonly Stored[]): Planned {
  const [worst] = damagedOf(all, undefined);
  return none(worst === undefined ? why : `${why}; ${worst.id} in ${worst.store} is damaged: ${worst.reason}`);
}

/** A name that is not there is a mistake of whoever gave it. */
function noneOfId(id: string, all: readonly Stored[]): Planned {
  const damaged = damagedOf(all, undefined, [id])[0];
  if (damaged !== undefined)
    return none(`${id} in ${damaged.store} is damaged: ${damaged.reason}`, BACKUP_EXIT.verification);
  const other = all.find((each) => each.id === id);
  if (other !== undefined)
    return none(
      other.physical
        ? `${id} is of a whole server: --at TIME --to FOLDER recovers it`
        : `${id} is no base of a server: leave --at out`,
      BACKUP_EXIT.usage,
    );
  const ids = all.map((each) => each.id);
  return none(`there is no backup ${id}${guessText(id, ids)}`, BACKUP_EXIT.usage);
}

/** Whoever reads a plan learns that the newest is not taken, and why; a list of all of them is that of the backups. */
const MAX_NAMED = 3;

/** Those that are damaged, from `found` on, the newest first; with `ids`, of these. */
function damagedOf(
  all: readonly Stored[],
  found: Stored | undefined,
  ids?: readonly string[],
): { id: string; store: string; reason: string }[] {
  return all
    .filter(({ id }) => ids?.includes(id) ?? true)
    .flatMap((each) => {
      const reason = each.damage ?? each.refuted;
      return reason === null || !concerns(each, found) ? [] : [{ id: each.id, store: each.store, reason }];
    })
    .toSorted((a, b) => byStamp(b, a))
    .slice(0, MAX_NAMED);
}

/** Of one whose manifest cannot be read the name alone tells the time, to the second. */
function concerns(each: Stored, found: Stored | undefined): boolean {
  if (found === undefined || (each.id === found.id && each.store === found.store)) return true;
  return each.damage === null ? each.snapshotMs > found.snapshotMs : byStamp(found, each) <= 0;
}

type Common = Omit<RestorePlan, "damaged" | "backup" | "store" | "snapshotAt" | "unchangedAt" | "lossSeconds">;

/** What the state of a backup says of later looks at its source. */
export function seenOf(unchangedAt: string | undefined): Pick<Stored, "unchangedAt" | "unchangedMs"> {
  return unchangedAt === undefined ? { unchangedAt: null } : { unchangedAt, unchangedMs: Date.parse(unchangedAt) };
}

/** A folder is a backup of ours and says when it was made; a plain file says nothing before it is unpacked. */
function planFile(path: string, common: Common, now: Date): Planned {
  let manifest: Manifest | undefined;
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return none(`there is no file ${path}`, BACKUP_EXIT.source);
    if (stats.isDirectory()) manifest = readManifest(path);
    const reason = fileRefusal(path, manifest?.type, common.kind);
    if (reason !== undefined) return none(reason, BACKUP_EXIT.source);
  } catch (cause) {
    return none(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, BACKUP_EXIT.verification);
  }
  const unknown = unknownTables(common.into, path, manifest?.content.tables);
  if (unknown !== undefined) return none(unknown, BACKUP_EXIT.usage);
  const snapshotAt = manifest?.snapshotAt ?? null;
  const lossSeconds = snapshotAt === null ? null : lossOf(snapshotAt, now);
  const damaged = manifest === undefined ? [] : knownDamage(path, manifest);
  const plan = { ...common, backup: path, store: null, snapshotAt, unchangedAt: null, lossSeconds, damaged };
  return { kind: "planned", plan, from: { kind: "file", path }, faults: [] };
}

/** What a verification of a folder has found wrong, wherever it lies now. */
function knownDamage(path: string, { id }: Manifest): RestorePlan["damaged"] {
  const state = knownState(path);
  const reason = state === undefined ? undefined : refutation(state);
  return reason === undefined ? [] : [{ id, store: null, reason }];
}

/** Why the worker would not take the file: known by its name, or by what its folder says. */
function fileRefusal(path: string, type: BackupType | undefined, kind: BackupType): string | undefined {
  const holds = type === undefined ? formatOf(basename(path))?.holds : holdsOf(type);
  return holds === undefined ? namelessText(path) : misfit({ label: path, holds, type }, kind);
}

function none(reason: string, exitCode: number = BACKUP_EXIT.noBackup): Planned {
  return { kind: "none", reason, exitCode };
}

function lossOf(heldUntil: string, now: Date): number {
  return Math.max(0, Math.round((now.getTime() - Date.parse(heldUntil)) / 1_000));
}

/** What is wrong with the wanted tables: known before anything is touched. */
function unknownTables(into: RestoreJob["into"], backup: string, tables: Tables): string | undefined {
  if (into.kind !== "tables" || tables === undefined) return undefined;
  const there = Object.keys(tables);
  const unknown = into.tables.filter((table) => !there.includes(table));
  return unknown.length === 0
    ? undefined
    : `${backup} has no table ${unknown.join(", ")}; its tables are ${there.length === 0 ? "none" : there.join(", ")}`;
}

/** The backup, or why there is none. */
function find(stored: readonly Stored[], { id, at }: RestoreWish, now: Date): Stored | string {
  if (id !== undefined)
    return stored.find((each) => each.id === id && each.damage === null) ?? `there is no backup ${id}`;
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
    case "postgres":
      return [target.url];
    case "files":
    case "secrets":
      return target.paths;
  }
}

function withBytes(path: string): { path: string; bytes: number | null } {
  const stats = statSync(path, { throwIfNoEntry: false });
  return { path, bytes: stats?.isFile() === true ? stats.size : null };
}
