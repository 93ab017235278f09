/** Shows the end of a bot's output and follows it, as tail -F does, across the segments that it is rotated into. */
import { sleep, type Clock } from "../../platform/clock.ts";
import { readOutput } from "../../platform/output-stream.ts";
import { readLive, viewOutput, type OutputFiles, type OutputView } from "../../platform/output-view.ts";

/** Bytes read at a time when looking back. */
const CHUNK_BYTES = 64 * 1024;
/** Time between two looks for new output, ms. */
const FOLLOW_MS = 200;
/** Looks back that a rotation may spoil before we give up; each rotation spoils one. */
const MAX_TRIES = 100;
const NEWLINE = 10;
/** A line whose beginning was pruned is passed over, unless it is longer. */
const MAX_TORN_BYTES = 1_048_576;

/** A part of the stream, by offsets. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Where the last `lines` lines of the range begin. */
export async function lastLines(files: OutputFiles, { from, to }: Range, lines: number): Promise<number> {
  if (lines === 0) return to;
  let needed = lines;
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const view = viewOutput(files);
    const found = newlinesOfLive(files, view, { from: Math.max(from, view.liveStart), to }, needed);
    if (found === undefined) continue;
    const first = found.at(-needed);
    if (found.length >= needed && first !== undefined) return first + 1;
    needed -= found.length;
    for (const { start, bytes } of view.segments.toReversed()) {
      const part = { from: Math.max(from, start), to: Math.min(to, start + bytes) };
      // Newest first, and no further back than needed.
      // oxlint-disable-next-line no-await-in-loop
      const older = part.from < part.to ? await newlinesOf(files, part, to, needed) : [];
      const cut = older.at(-needed);
      if (older.length >= needed && cut !== undefined) return cut + 1;
      needed -= older.length;
    }
    return from;
  }
  throw new Error(`cannot read ${files.log}: it is rotated again and again`);
}

/** Where the first whole line of a range begins whose front was pruned, as segments end at a block; `from` when there is none. */
export async function skipTornLine(files: OutputFiles, { from, to }: Range): Promise<number> {
  for await (const { chunk, at } of readOutput(files, { from, to, onLoss: () => undefined })) {
    const newline = chunk.indexOf(NEWLINE);
    const next = at - chunk.length + newline + 1;
    if (newline !== -1) return next < to ? next : from;
    if (at - from > MAX_TORN_BYTES) break;
  }
  return from;
}

/** Where the line begins that goes on at offset `to`; `to` itself when a line begins there. */
export async function beginOfLine(files: OutputFiles, { from, to }: Range): Promise<number> {
  if (to <= from) return to;
  let ended = false;
  for await (const { chunk } of readOutput(files, { from: to - 1, to, onLoss: () => undefined }))
    ended = chunk.at(-1) === NEWLINE;
  return ended ? to : lastLines(files, { from, to }, 1);
}

/** Offsets of the newest newlines in the live file, ascending, the final one left out; `undefined` when a rotation came between. */
function newlinesOfLive(
  files: OutputFiles,
  view: OutputView,
  { from, to }: Range,
  needed: number,
): readonly number[] | undefined {
  const parts: number[][] = [];
  let count = 0;
  for (let at = to; at > from && count < needed;) {
    const start = Math.max(from, at - CHUNK_BYTES);
    const chunk = readLive(files, view, start, at - start);
    if (chunk === undefined) return undefined;
    const part = newlines(chunk, start, to);
    parts.push(part);
    count += part.length;
    at = start;
  }
  return parts.toReversed().flat();
}

async function newlinesOf(files: OutputFiles, range: Range, end: number, needed: number): Promise<readonly number[]> {
  let found: number[] = [];
  for await (const { chunk, at } of readOutput(files, { ...range, onLoss: () => undefined })) {
    for (const offset of newlines(chunk, at - chunk.length, end)) found.push(offset);
    if (found.length > 2 * needed) found = found.slice(-needed);
  }
  return found;
}

function newlines(chunk: Buffer, start: number, end: number): number[] {
  const found: number[] = [];
  for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1))
    if (start + at < end - 1) found.push(start + at);
  return found;
}

export interface FollowOptions {
  /** Offset to begin at. */
  readonly from: number;
  readonly clock: Clock;
  readonly onChunk: (chunk: Buffer) => Promise<void>;
  readonly onLoss: (why: string) => void;
}

/** Hands on what is appended; a file that somebody else replaced or cut is read from its start. */
export async function follow(files: OutputFiles, { from, clock, onChunk, onLoss }: FollowOptions): Promise<never> {
  let next = from;
  let { inode } = viewOutput(files);
  for (;;) {
    const view = viewOutput(files);
    if (view.inode !== undefined) {
      if ((inode !== undefined && view.inode !== inode) || view.end < next) next = view.liveStart;
      inode = view.inode;
      for await (const { chunk, at } of readOutput(files, { from: next, onLoss })) {
        next = at;
        await onChunk(chunk);
      }
    }
    await sleep(clock, FOLLOW_MS);
  }
}
