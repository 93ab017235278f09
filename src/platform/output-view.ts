/**
 * Where the bytes of a bot's output are while a rotation may run: no lock is taken, what was read is thrown away when the
 * index has changed meanwhile (as a seqlock does), so a reader never holds a rotation up. Unpacks nothing, for the daemon.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  emptyIndex,
  markOf,
  MAX_MARK_BYTES,
  parseIndex,
  restName,
  type OutputIndex,
  type Segment,
} from "../core/output-log.ts";
import { readTextIfExists } from "./files.ts";

/** An index of the most segments that the config allows takes a third of this. */
const MAX_INDEX_BYTES = 1_048_576;
/** Looks until two in a row agree; a rotation changes the index four times in some milliseconds. */
const MAX_LOOKS = 1_000;

export interface OutputFiles {
  /** The live file, which the bot appends to; its segments are beside it. */
  readonly log: string;
  readonly index: string;
}

/** Where everything stands; offsets are those of the stream. */
export interface OutputView {
  readonly segments: readonly Segment[];
  /** First byte that is to be read from the live file. */
  readonly liveStart: number;
  /** Offset minus position in the live file. */
  readonly shift: number;
  readonly end: number;
  /** `undefined` while there is no live file. */
  readonly inode: number | undefined;
  /** Differs whenever the same offset may be at another place. */
  readonly stamp: string;
}

/** The index in the file; an empty one where there is none. Throws for one that is damaged or of a newer version. */
export function readIndex(path: string): OutputIndex {
  // Absent until the first rotation; the check costs less than an exception.
  const text = existsSync(path) ? readTextIfExists(path, MAX_INDEX_BYTES) : undefined;
  try {
    return text === undefined ? emptyIndex(new Date(0).toISOString()) : parseIndex(text);
  } catch (cause) {
    throw new Error(`cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** The index once its pending rotation is through: the segment is one of the stream's, and the live file begins after it. */
export function completed(index: OutputIndex, folder: string, began: string): OutputIndex {
  const { base, segments, pending } = index;
  if (pending === null) return index;
  const { name, bytes, at } = pending;
  const rest = restName(name);
  const restBytes = pending.method === "truncate" ? sizeOf(join(folder, rest)) : 0;
  const added = [
    { name, start: base, bytes, at },
    ...(restBytes > 0 ? [{ name: rest, start: base + bytes, bytes: restBytes, at }] : []),
  ];
  return { ...index, base: base + bytes + restBytes, began, segments: [...segments, ...added], pending: null };
}

/** Whether the mark of the pending rotation stands at the head of the live file. */
export function isMarked(fd: number, { pending }: OutputIndex): boolean {
  if (pending === null) return false;
  const mark = Buffer.from(markOf(pending));
  const head = Buffer.alloc(MAX_MARK_BYTES);
  const read = readSync(fd, head, 0, mark.length, 0);
  return head.subarray(0, read).equals(mark);
}

/** Where the stream ends now, as `viewOutput` has it. Throws when the files cannot be read. */
export function endOfOutput(files: OutputFiles): number {
  // Before the first rotation the file is the stream; a rotation writes its index before it cuts the file.
  const bytes = sizeOf(files.log);
  return existsSync(files.index) ? viewOutput(files).end : bytes;
}

/** A consistent view of the stream. Throws when the files cannot be read. */
export function viewOutput(files: OutputFiles): OutputView {
  let last = look(files);
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    const next = look(files);
    // The size of the first look was read between two equal states.
    if (next.stamp === last.stamp) return last;
    last = next;
  }
  throw new Error(`cannot read ${files.log}: it is rotated again and again`);
}

function look({ log, index: path }: OutputFiles): OutputView {
  const index = readIndex(path);
  const folder = dirname(log);
  const fd = openLive(log);
  try {
    const marked = fd !== undefined && isMarked(fd, index);
    const { pending } = index;
    const cut = pending?.phase === "cut" && !marked;
    const settled = pending === null || pending.phase === "copy" ? index : completed(index, folder, index.began);
    const shift = cut ? settled.base : index.base;
    const stat = fd === undefined ? undefined : fstatSync(fd);
    // Until the cut only what the segment holds is out of the live file; a rest is not there yet.
    const held = pending === null || pending.phase === "copy" ? 0 : pending.bytes;
    return {
      segments: cut ? settled.segments : settled.segments.filter(({ start }) => start < index.base + Math.max(held, 1)),
      liveStart: cut ? settled.base : index.base + held,
      shift,
      end: Math.max(shift + (stat?.size ?? 0), cut ? settled.base : index.base + held),
      inode: stat?.ino,
      stamp: `${shift} ${held} ${stat?.ino} ${pending?.phase} ${settled.segments[0]?.name}`,
    };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Bytes of the live file at `offset`; `undefined` when a rotation has moved them meanwhile. */
export function readLive(files: OutputFiles, view: OutputView, offset: number, length: number): Buffer | undefined {
  const fd = openLive(files.log);
  if (fd === undefined) return Buffer.alloc(0);
  try {
    const bytes = Buffer.allocUnsafe(length);
    const read = readSync(fd, bytes, 0, length, offset - view.shift);
    return look(files).stamp === view.stamp ? bytes.subarray(0, read) : undefined;
  } finally {
    closeSync(fd);
  }
}

function openLive(path: string): number | undefined {
  try {
    // Without O_NONBLOCK a FIFO in the file's place would block us for ever.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
