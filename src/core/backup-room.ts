/** Whether a disk has room for a backup, before and while it is written; the numbers are those of the figures in docs/backup.md. */

export interface RoomNeed {
  /** Data before compression, bytes. */
  readonly rawBytes: number;
  /** Bytes of it that are copied to the same disk for a while. */
  readonly temporaryBytes: number;
  /** Stored bytes for each raw byte of the last backup; `undefined` before the first. */
  readonly lastRatio: number | undefined;
}

/** Free bytes of a disk that backups leave alone. */
const MIN_RESERVE_BYTES = 1_024 ** 3;
const RESERVE_SHARE = 0.05;
/** A reserve of 1 GiB would be most of a small disk. */
const MAX_RESERVE_SHARE = 0.2;
/** The next backup may pack worse than the last one. */
const RATIO_MARGIN = 1.3;
const MIN_RATIO = 0.35;

export function reserveBytes(diskBytes: number): number {
  return Math.min(Math.max(MIN_RESERVE_BYTES, diskBytes * RESERVE_SHARE), diskBytes * MAX_RESERVE_SHARE);
}

/** Bytes that a backup may take at most. */
export function neededBytes({ rawBytes, temporaryBytes, lastRatio }: RoomNeed): number {
  const ratio = lastRatio === undefined ? 1 : Math.max(lastRatio * RATIO_MARGIN, MIN_RATIO);
  return Math.ceil(temporaryBytes + rawBytes * Math.min(ratio, 1));
}
