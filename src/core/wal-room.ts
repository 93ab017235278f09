/**
 * Whether received WAL may still be written to the disk of its store. WAL is the last minutes before a disaster, so it may take
 * what backups leave alone, but never the last bytes: a bot or a server on that disk would stop.
 */
import { reserveBytes, reserveFiles, type DiskRoom } from "./backup-room.ts";

/** low: it is received on, and somebody must make room; full: it stays at the server. */
export type WalRoom = "enough" | "low" | "full";

/** Free bytes that WAL leaves alone at most, however large the disk: a bot can go on for a while with them. */
const MAX_FLOOR_BYTES = 512 * 1_024 ** 2;
/** The segment that is received, and the one that is packed meanwhile. */
const SEGMENTS_AHEAD = 2;
/** Segments for which there must be room again, so that it does not begin and end with each one. */
const SEGMENTS_BACK = 4;
/** A folder, its data and its manifest. */
const FILES_OF_SEGMENT = 3;

/** `before` is what it was until now. */
export function judgeWalRoom(room: DiskRoom, segmentBytes: number, before: WalRoom): WalRoom {
  const reserve = { bytes: reserveBytes(room.totalBytes), files: reserveFiles(room.totalFiles ?? 0) };
  const floor = { bytes: walFloorBytes(room.totalBytes), files: reserve.files / 2 };
  const isBelow = (least: { readonly bytes: number; readonly files: number }, was: boolean): boolean => {
    const segments = was ? SEGMENTS_BACK : SEGMENTS_AHEAD;
    const bytes = room.totalBytes > 0 && room.freeBytes < least.bytes + segments * segmentBytes;
    return bytes || (room.freeFiles !== undefined && room.freeFiles < least.files + segments * FILES_OF_SEGMENT);
  };
  if (isBelow(floor, before === "full")) return "full";
  return isBelow(reserve, before !== "enough") ? "low" : "enough";
}

/**
 * Segments that have room before the disk is full, at least one: a receiver that catches up fills a disk within a fraction of a
 * second, in which nobody looks. `undefined`: nobody counts its bytes.
 */
export function segmentsUntilFull(room: DiskRoom, segmentBytes: number): number | undefined {
  if (room.totalBytes <= 0) return undefined;
  const bytes = Math.floor((room.freeBytes - walFloorBytes(room.totalBytes)) / segmentBytes);
  const spareFiles = (room.freeFiles ?? Number.POSITIVE_INFINITY) - reserveFiles(room.totalFiles ?? 0) / 2;
  return Math.max(1, Math.min(bytes, Math.floor(spareFiles / FILES_OF_SEGMENT)) - SEGMENTS_AHEAD);
}

/** Free bytes below which no WAL is received. */
export function walFloorBytes(diskBytes: number): number {
  return Math.min(reserveBytes(diskBytes) / 2, MAX_FLOOR_BYTES);
}
