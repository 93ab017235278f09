/** What a backup takes on a disk when it is unpacked, for its proof, a restore or a drill: from what its manifest counts. */
import type { BackupKind, BackupType, Manifest } from "./backup-manifest.ts";
import { keptElsewhere } from "./pgbackrest.ts";

/** Beside what is counted: a folder or two, and what is there for a while. */
const FILES_BESIDE = 16;
/** Of a PostgreSQL server, whose base does not say it: initdb makes a thousand. */
const SERVER_FILES = 1_500;
/** Of a table there: itself, its maps, its overflow, and some indexes. */
const FILES_OF_TABLE = 8;
/** Of a server that holds nothing yet: its templates and its first WAL. */
const SERVER_BYTES = 64 * 1_024 ** 2;
/** Most WAL that it keeps while a dump is played into it (max_wal_size). */
const SERVER_WAL_BYTES = 1_024 ** 3;

/** Files and folders that it takes when it is unpacked, by what its manifest counts: files, with at most a folder for each. */
export function filesUnpacked({
  kind,
  type,
  content,
}: {
  readonly kind?: BackupKind | undefined;
  readonly type?: BackupType | undefined;
  readonly content?: Pick<Manifest["content"], "files" | "tables"> | undefined;
}): number {
  if (kind === "base") return SERVER_FILES;
  if (type === "postgres") return SERVER_FILES + FILES_OF_TABLE * Object.keys(content?.tables ?? {}).length;
  return FILES_BESIDE + 2 * (content?.files ?? 0);
}

/** Bytes that it takes then: a difference is unpacked as the whole, and a dump of PostgreSQL as the database that it was. */
export function bytesUnpacked(manifest: Pick<Manifest, "kind" | "type" | "raw" | "engine">): number {
  const { kind, type, raw, engine } = manifest;
  if (kind === "delta") return Math.max(raw.bytes, (engine.pageSize ?? 0) * (engine.pageCount ?? 0));
  if (type !== "postgres") return raw.bytes;
  if (kind === "base") return keptElsewhere(manifest)?.databaseBytes ?? raw.bytes;
  const { bytes } = engine;
  return bytesOfServer(typeof bytes === "number" ? bytes : raw.bytes);
}

/** Bytes of a new PostgreSQL server into which a dump of a database of this size is played. */
export function bytesOfServer(databaseBytes: number): number {
  return databaseBytes + SERVER_BYTES + Math.min(databaseBytes, SERVER_WAL_BYTES);
}
