/** Whether a disk has room for a backup, before and while it is written; the numbers are those of the figures in docs/backup.md. */
/** What a file system has, as statfs(2) tells it. */
export interface DiskRoom {
  readonly totalBytes: number;
  /** What a process without privileges may still write. */
  readonly freeBytes: number;
  /** Inodes, and those that are left; `undefined` where the file system does not count them, as btrfs. */
  readonly totalFiles: number | undefined;
  readonly freeFiles: number | undefined;
}

/** Largest stored file of a backup: one upload of a remote store, tried again as a whole when it fails. */
export const PART_BYTES = 64 * 1_024 ** 2;

export interface RoomNeed {
  /** Data before compression, bytes. */
  readonly rawBytes: number;
  /** Bytes that lie on the same disk beside it for a while: a copy of the data, or what is unpacked of it for its proof. */
  readonly temporaryBytes: number;
  /** Stored bytes for each raw byte of the last backup; `undefined` before the first. */
  readonly lastRatio: number | undefined;
}

/** Free bytes of a disk that backups leave alone. */
const MIN_RESERVE_BYTES = 1_024 ** 3;
const RESERVE_SHARE = 0.05;
/** A reserve of 1 GiB would be most of a small disk. */
const MAX_RESERVE_SHARE = 0.2;
/** Inodes that backups leave alone: a bot that cannot make its journal is as dead as one whose disk is full. */
const RESERVE_FILES = 1_000;
const MAX_RESERVE_FILES_SHARE = 0.05;
/** Of a backup beside its parts: the folder, its descriptions, the hashes of its pages, and what is there for a while. */
const FILES_BESIDE_PARTS = 16;
/** Of the reserve, that must be free beside it before a disk counts as roomy again. */
const SHORT_MARGIN = 0.1;
/** The next backup may pack worse than the last one. */
const RATIO_MARGIN = 1.3;
const MIN_RATIO = 0.35;

export function reserveBytes(diskBytes: number): number {
  const wanted = Math.max(MIN_RESERVE_BYTES, diskBytes * RESERVE_SHARE);
  return Math.floor(Math.min(wanted, diskBytes * MAX_RESERVE_SHARE));
}

/** Inodes of a file system that backups leave alone. */
export function reserveFiles(totalFiles: number): number {
  return Math.floor(Math.min(RESERVE_FILES, totalFiles * MAX_RESERVE_FILES_SHARE));
}

/** What a disk lacks for so many bytes and files beside this share of its reserve, 0 to 1; `undefined`: nothing, as far as it tells. */
export function lackOf(
  { totalBytes, freeBytes, totalFiles, freeFiles }: DiskRoom,
  wanted: { readonly bytes: number; readonly files: number },
  reserveShare: number,
): "bytes" | "files" | undefined {
  // A file system of FUSE or the kernel's own may count nothing: who writes there finds out.
  if (totalBytes > 0 && freeBytes - wanted.bytes < reserveBytes(totalBytes) * reserveShare) return "bytes";
  if (totalFiles === undefined || freeFiles === undefined) return undefined;
  return freeFiles - wanted.files < reserveFiles(totalFiles) * reserveShare ? "files" : undefined;
}

/** Whether a disk has less than backups leave alone. What `was` short is so until it has a tenth of that more, so that it is not said over and over. */
export function isShort(room: DiskRoom, was: boolean): boolean {
  const bytes = reserveBytes(room.totalBytes) * SHORT_MARGIN;
  const files = reserveFiles(room.totalFiles ?? 0) * SHORT_MARGIN;
  return lackOf(room, was ? { bytes, files } : { bytes: 0, files: 0 }, 1) !== undefined;
}

/** Files, folders among them, that a stored backup of so many bytes takes at most. */
export function filesOfBackup(storedBytes: number): number {
  return FILES_BESIDE_PARTS + Math.ceil(storedBytes / PART_BYTES);
}

/** Bytes that a backup may take at most. */
export function neededBytes({ rawBytes, temporaryBytes, lastRatio }: RoomNeed): number {
  const ratio = lastRatio === undefined ? 1 : Math.max(lastRatio * RATIO_MARGIN, MIN_RATIO);
  return Math.ceil(temporaryBytes + rawBytes * Math.min(ratio, 1));
}
