/**
 * Backups in plain folders: `FOLDER/TARGET/ID/` with the stored files, `manifest.json`, `manifest.sha256` and `state.json`.
 *
 * A backup appears by one rename and goes by one rename, so a kill at any line leaves the old state or the new one. What
 * begins with a dot is nobody's backup: `.tmp-ID` is being made, `.del-ID` is being deleted, and whoever next holds the lock
 * of the target removes what is left of them.
 */
import {
  closeSync,
  createReadStream,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  emptyState,
  manifestSchema,
  readBackupId,
  stateSchema,
  type BackupState,
  type Manifest,
  type Part,
} from "../../core/backup-manifest.ts";
import { ensureDir, readTextIfExists, setAside, syncDir, writeFileAtomic } from "../../platform/files.ts";
import { whileFree } from "../../platform/folder-hold.ts";
import { tryLock, type Lock } from "../../platform/lock.ts";
import { removeTree } from "../../platform/remove-tree.ts";
import { Failure } from "./failure.ts";

export const MANIFEST = "manifest.json";
export const MANIFEST_SUM = "manifest.sha256";
export const STATE = "state.json";
/** A manifest lists tables and parts; ten thousand of each are below this. */
export const MAX_JSON_BYTES = 8 * 1_024 ** 2;
const FOLDER_MODE = 0o750;
const FILE_MODE = 0o640;
const CHUNK_BYTES = 1_024 ** 2;

export interface StoredBackup {
  readonly id: string;
  readonly folder: string;
  readonly manifest: Manifest;
  readonly state: BackupState;
}

export interface DamagedBackup {
  readonly id: string;
  readonly folder: string;
  readonly reason: string;
}

export interface Listing {
  /** Oldest first. */
  readonly backups: readonly StoredBackup[];
  readonly damaged: readonly DamagedBackup[];
}

/** The backups of one target in one folder. Reading needs no lock; making and deleting do. */
export class Repository {
  readonly #folder: string;

  constructor(storeFolder: string, target: string) {
    this.#folder = join(storeFolder, target);
  }

  get folder(): string {
    return this.#folder;
  }

  /** False only when the folder is not there. Throws when that cannot be told. */
  isThere(): boolean {
    return this.#names() !== undefined;
  }

  /** Makes the folder. Only for who stores something: one that is made where a disk is not mounted looks like an empty store. */
  make(): void {
    ensureDir(dirname(this.#folder), FOLDER_MODE);
    ensureDir(this.#folder, FOLDER_MODE);
  }

  /**
   * The lock of the target, and everything removed that a killed holder left; `undefined` while another process holds it.
   * Throws when the folder is not there.
   */
  lock(): Lock | undefined {
    const lock = tryLock(join(this.#folder, ".lock"));
    if (lock === undefined) return undefined;
    for (const name of readdirSync(this.#folder)) if (/^\.(tmp|del)-/.test(name)) removeTree(join(this.#folder, name));
    return lock;
  }

  /** Everything that is there. Never throws for one damaged backup: it is listed as such. Throws `Failure` when the folder cannot be read. */
  list(): Listing {
    const backups: StoredBackup[] = [];
    const damaged: DamagedBackup[] = [];
    for (const id of (this.#names() ?? []).toSorted()) {
      if (readBackupId(id) === undefined) continue;
      const folder = join(this.#folder, id);
      try {
        backups.push({ id, folder, manifest: readManifest(folder, id), state: readState(folder) });
      } catch (cause) {
        damaged.push({ id, folder, reason: messageOf(cause) });
      }
    }
    return { backups: backups.toSorted(byTime), damaged };
  }

  /** `undefined` when the folder is not there: what may not be looked into is another matter. */
  #names(): readonly string[] | undefined {
    try {
      return readdirSync(this.#folder);
    } catch (cause) {
      if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
      throw new Failure("source", `cannot read the backups in ${this.#folder}: ${messageOf(cause)}`, { cause });
    }
  }

  /** A folder for a backup that is being made. Call only with the lock. */
  begin(id: string): Draft {
    const folder = join(this.#folder, `.tmp-${id}`);
    mkdirSync(folder, { mode: FOLDER_MODE });
    return new Draft(folder);
  }

  /** Takes a backup away for good; `false` when somebody reads it, and it stays. Call only with the lock. */
  remove(id: string): boolean {
    const [folder, doomed] = [join(this.#folder, id), join(this.#folder, `.del-${id}`)];
    // Removal cuts large files step by step, also for who has them open.
    if (!whileFree(folder, () => renameSync(folder, doomed))) return false;
    syncDir(this.#folder);
    removeTree(doomed);
    return true;
  }

  /** Replaces what is known of a backup beside its manifest. Call only with the lock. */
  writeState(id: string, state: BackupState): void {
    writeState(join(this.#folder, id), state);
  }
}

export class Draft {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** A folder for what must not stay in the backup. */
  get scratch(): string {
    const path = join(this.folder, "scratch");
    ensureDir(path);
    return path;
  }

  /** Removes that folder and what is in it. */
  discardScratch(): void {
    removeTree(join(this.folder, "scratch"));
  }

  /** Stores a file beside the parts, flushed. */
  keep(name: string, bytes: Uint8Array): void {
    const fd = openSync(join(this.folder, name), "wx", FILE_MODE);
    try {
      fchmodSync(fd, FILE_MODE);
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Makes the backup appear under the manifest's name. Everything in it must be on the disk already. */
  publish(manifest: Manifest, state: BackupState): void {
    this.discardScratch();
    const text = `${JSON.stringify(manifest, null, 2)}\n`;
    writeState(this.folder, state);
    writeFileAtomic(join(this.folder, MANIFEST_SUM), manifestSum(text), FILE_MODE);
    // The manifest last: without it the folder is no backup even under its final name.
    writeFileAtomic(join(this.folder, MANIFEST), text, FILE_MODE);
    const parent = dirname(this.folder);
    renameSync(this.folder, join(parent, manifest.id));
    syncDir(parent);
  }

  discard(): void {
    removeTree(this.folder);
  }
}

/** The manifest of a backup as it lies in its folder, to the byte. Throws when it is not there. */
export function manifestText(folder: string): string {
  const text = readTextIfExists(join(folder, MANIFEST), MAX_JSON_BYTES);
  if (text === undefined) throw new Error(`${MANIFEST} is missing`);
  return text;
}

/** Pieces of a stored part in a folder. */
export async function* readPart(folder: string, { name }: Part): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(join(folder, name), { highWaterMark: CHUNK_BYTES });
  } catch (cause) {
    throw missing(folder, name, cause);
  }
}

/** The same, all in one buffer: each piece is gone when the next is asked for. */
export async function* scanPart(folder: string, { name }: Part): AsyncGenerator<Uint8Array> {
  const file = await open(join(folder, name)).catch((cause: unknown) => {
    throw missing(folder, name, cause);
  });
  try {
    const piece = new Uint8Array(CHUNK_BYTES);
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is one file.
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** What was thrown, or, where a part is not there, which of which backup; its folder has the backup's name. */
function missing(folder: string, name: string, cause: unknown): unknown {
  const gone = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
  return gone ? new Error(`the file ${name} of ${basename(folder)} is missing`, { cause }) : cause;
}

/** The manifest of a backup's folder, wherever it lies; with `id`, of this very backup. Throws when it is not whole. */
export function readManifest(folder: string, id?: string): Manifest {
  const text = manifestText(folder);
  if (readTextIfExists(join(folder, MANIFEST_SUM), MAX_JSON_BYTES) !== manifestSum(text))
    throw new Error(`${MANIFEST} is not the one that was written: ${MANIFEST_SUM} differs`);
  const manifest = manifestSchema.parse(JSON.parse(text));
  if (id !== undefined && manifest.id !== id) throw new Error(`it is ${manifest.id} under another name`);
  return manifest;
}

/** What is known of a backup beside its manifest, wherever it lies; `undefined` where nothing is, or it cannot be read. */
export function knownState(folder: string): BackupState | undefined {
  try {
    const text = readTextIfExists(join(folder, STATE), MAX_JSON_BYTES);
    return text === undefined ? undefined : parseState(text);
  } catch {
    // The file stays as it is: the folder may be anybody's.
    return undefined;
  }
}

/** What was learnt about a backup may be learnt again: a damaged file is set aside, and nothing is proven any more. */
function readState(folder: string): BackupState {
  const path = join(folder, STATE);
  try {
    const text = readTextIfExists(path, MAX_JSON_BYTES);
    return text === undefined ? emptyState : parseState(text);
  } catch (cause) {
    try {
      setAside(path, messageOf(cause));
    } catch {
      // A folder that we may only read; what the file says is not believed all the same.
    }
    return emptyState;
  }
}

/** Throws for a file of which a byte has changed: a pin that is lost, or a proof that never was, costs a backup. */
function parseState(text: string): BackupState {
  const parsed: unknown = JSON.parse(text);
  const state = stateSchema.parse(parsed);
  // As it was written: the schema has an order of its own. Files of older versions have no checksum.
  const rest = JSON.stringify(parsed, (key, value: unknown) => (key === "sha256" ? undefined : value));
  if (state.sha256 !== undefined && state.sha256 !== sumOf(rest)) throw new Error("it is not the one that was written");
  return { ...state, sha256: undefined };
}

function writeState(folder: string, state: BackupState): void {
  const text = JSON.stringify({ ...state, sha256: sumOf(JSON.stringify(state)) }, null, 2);
  writeFileAtomic(join(folder, STATE), `${text}\n`, FILE_MODE);
}

/** As `sha256sum` writes it. */
function manifestSum(text: string): string {
  return `${sumOf(text)}  ${MANIFEST}\n`;
}

function byTime(a: StoredBackup, b: StoredBackup): number {
  return Date.parse(a.manifest.snapshotAt) - Date.parse(b.manifest.snapshotAt) || (a.id < b.id ? -1 : 1);
}

export function sumOf(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
