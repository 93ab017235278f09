/**
 * What is restored or exported, as one stream: a backup of ours, in a store or copied elsewhere, or a plain file of whoever
 * made it. Every stream throws at its end, or before, when it is damaged as far as its format tells.
 */
import { createReadStream, statSync } from "node:fs";
import { basename, join } from "node:path";
import { provenLevel, type BackupType, type Manifest } from "../../core/backup-manifest.ts";
import { formatOf, holdsOf, misfit, namelessText, passwordlessText, type RestoreFrom } from "../../core/restore-job.ts";
import { holdFolder } from "../../platform/folder-hold.ts";
import { baseOf, type StoredBase } from "./basis.ts";
import { decodeStream, decompressed } from "./encode.ts";
import { Failure } from "./failure.ts";
import { opensslDecrypted } from "./openssl.ts";
import { rebuiltDatabase } from "./sqlite.ts";
import { readManifest, readPart, Repository } from "./repository.ts";

const CHUNK_BYTES = 1_024 ** 2;
/** A packed file may be this much larger when it is unpacked; for the room that it needs. */
const GUESSED_RATIO = 4;

export interface Reading {
  /** What it is, for people and journals. */
  readonly label: string;
  readonly holds: "sqlite" | "tar" | "postgres" | "redis";
  readonly type: BackupType | undefined;
  /** File name of the unpacked stream. */
  readonly rawName: string;
  /** Of the unpacked stream; a guess for a plain file that is packed. */
  readonly rawBytes: number;
  readonly snapshotAt: string | null;
  /** What it must hold; `undefined` for a plain file. */
  readonly content: Manifest["content"] | undefined;
  /** What it was made of; `undefined` for a plain file. */
  readonly engine?: Manifest["engine"];
  /** These very bytes stood L2 before: what their database holds was looked up in every index, and need not be again. */
  readonly stood: boolean;
  readonly open: () => AsyncIterable<Uint8Array>;
}

interface Keys {
  readonly identity?: string | undefined;
  readonly password?: string | undefined;
}

/** Throws `Failure` when it is not there, or is nothing that can be read. */
export function openReading(from: RestoreFrom, target: string, keys: Keys): Reading {
  if (from.kind === "backup") {
    const found = new Repository(from.folder, target).list().backups.find(({ id }) => id === from.id);
    if (found === undefined) throw new Failure("source", `there is no whole backup ${from.id} in ${from.folder}`);
    keepWhileRead(found);
    const level = provenLevel(found.state);
    return { ...ofBackup(found.folder, found.manifest, keys), stood: level !== undefined && level >= "L2" };
  }
  const stats = statSync(from.path, { throwIfNoEntry: false });
  if (stats === undefined) throw new Failure("source", `there is no file ${from.path}`);
  if (!stats.isDirectory()) return ofFile(from.path, stats.size, keys);
  return ofBackup(from.path, manifestIn(from.path), keys);
}

/** Until this worker ends, no prune takes it away. */
function keepWhileRead({ folder, manifest: { id } }: Pick<StoredBase, "folder" | "manifest">): void {
  if (holdFolder(folder) === undefined) throw new Failure("source", `the backup ${id} is being deleted`);
}

function manifestIn(folder: string): Manifest {
  try {
    return readManifest(folder);
  } catch (cause) {
    throw Failure.of("verify", cause);
  }
}

function ofBackup(folder: string, manifest: Manifest, { identity }: Keys): Reading {
  const { id, kind, type, raw, snapshotAt, content, engine } = manifest;
  const common = { label: id, holds: holdsOf(type), type, snapshotAt, content, engine, stood: false };
  const streamOf = (place: string, of: Manifest): AsyncGenerator<Uint8Array> =>
    decodeStream(of, { read: readPart.bind(undefined, place), identity });
  if (kind === "full")
    return { ...common, rawName: raw.name, rawBytes: raw.bytes, open: () => streamOf(folder, manifest) };
  const base = kind === "delta" ? wholeBase(folder, manifest) : undefined;
  if (base !== undefined) keepWhileRead(base);
  if (base === undefined) throw new Failure("source", `${id} is a ${kind} backup, which is nothing by itself`);
  const { pageSize = 0, pageCount = 0 } = manifest.engine;
  return {
    ...common,
    rawName: base.manifest.raw.name,
    rawBytes: pageSize * pageCount,
    open: () =>
      rebuiltDatabase(
        { manifest, raw: streamOf(folder, manifest) },
        { manifest: base.manifest, raw: streamOf(base.folder, base.manifest) },
      ),
  };
}

function wholeBase(folder: string, manifest: Manifest): StoredBase | undefined {
  try {
    return baseOf(folder, manifest);
  } catch (cause) {
    throw Failure.of("verify", cause);
  }
}

function ofFile(path: string, bytes: number, { password }: Keys): Reading {
  const name = basename(path);
  const format = formatOf(name);
  if (format === undefined) throw new Failure("source", namelessText(path));
  const { holds, compress, openssl } = format;
  return {
    label: path,
    holds,
    type: undefined,
    rawName: holds === "tar" ? "files.tar" : rawNameOf(name),
    rawBytes: compress === "none" ? bytes : bytes * GUESSED_RATIO,
    snapshotAt: null,
    content: undefined,
    stood: false,
    open: () => decompressed(plainOf(path, openssl, password), compress),
  };
}

function plainOf(path: string, openssl: boolean, password: string | undefined): AsyncIterable<Uint8Array> {
  const bytes = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  if (!openssl) return bytes;
  if (password === undefined) throw new Failure("source", passwordlessText(path));
  return opensslDecrypted(bytes, password);
}

function rawNameOf(name: string): string {
  return name.replace(/\.enc$/, "").replace(/\.(gz|zst)$/, "");
}

/** Throws unless what is read fits a target of this kind. */
export function refuseOtherKind(reading: Reading, kind: BackupType): void {
  const reason = misfit(reading, kind);
  if (reason !== undefined) throw new Failure("source", reason);
}

/** Where a plain copy of the stream goes in a folder. */
export function rawPath(folder: string, { rawName }: Reading): string {
  return join(folder, basename(rawName));
}
