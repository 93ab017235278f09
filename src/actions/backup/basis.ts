/** The full backup that an incremental one is made against, and the one that it is restored with. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isRefuted, provenLevel, type Manifest } from "../../core/backup-manifest.ts";
import { PAGE_TABLE, type PageTable } from "./pages.ts";
import { readManifest, type Repository } from "./repository.ts";

export interface Basis {
  readonly id: string;
  readonly table: PageTable;
}

/** The newest full backup of the repository with its hashes; says why not when it cannot be used. */
export function findBasis(repository: Repository): Basis | string {
  const { backups } = repository.list();
  // One of before a restore is soon deleted, and nobody restores from it.
  const newest = backups.findLast(({ manifest }) => manifest.kind === "full" && manifest.trigger !== "pre-restore");
  if (newest === undefined) return "there is no full backup yet";
  const { id, folder, manifest, state } = newest;
  if (provenLevel(state) === undefined) return `the newest full backup ${id} is not proven`;
  const broken = manifest.parts.find(({ name, bytes }) => sizeOf(join(folder, name)) !== bytes);
  if (broken !== undefined) return `${broken.name} of the full backup ${id} is damaged`;
  // It may be the base that is damaged.
  const refuted = backups.find((each) => each.manifest.base === id && isRefuted(each.state));
  if (refuted !== undefined) return `${refuted.id}, which was made against ${id}, does not stand its verification`;
  const { pageSize, pageCount } = manifest.engine;
  if (manifest.pageTable === undefined || pageSize === undefined || pageCount === undefined)
    return `the full backup ${id} was stored without the hashes of its pages`;
  const path = join(folder, PAGE_TABLE);
  if (!existsSync(path)) return `${path} is not there`;
  const fault = tableFault(folder, manifest);
  if (fault !== null) return `in ${id}, ${fault}`;
  return { id, table: { pageSize, pageCount, hashes: readFileSync(path) } };
}

/** What is wrong with the hashes beside a full backup: nothing that a restore needs. `null` when nothing is, or none are. */
export function tableFault(folder: string, { pageTable }: Manifest): string | null {
  if (pageTable === undefined) return null;
  const path = join(folder, pageTable.name);
  const size = sizeOf(path);
  // A copy of the backup elsewhere may well have been made without it.
  if (size === undefined) return null;
  const sum = size === pageTable.bytes ? createHash("sha256").update(readFileSync(path)).digest("hex") : undefined;
  return sum === pageTable.sha256 ? null : `${pageTable.name} is damaged: no incremental backup can be made against it`;
}

function sizeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.size;
}

/** A stored backup with its folder. */
export interface StoredBase {
  readonly folder: string;
  readonly manifest: Manifest;
}

/** The full backup beside the folder of an incremental one, which is nothing without it. Throws when it is not whole. */
export function baseOf(folder: string, { base }: Pick<Manifest, "base">): StoredBase | undefined {
  if (base === null) return undefined;
  const place = join(dirname(folder), base);
  try {
    return { folder: place, manifest: readManifest(place, base) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the full backup ${base} that it needs cannot be read: ${why}`, { cause });
  }
}
