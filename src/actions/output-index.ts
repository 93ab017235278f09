/** The index of a bot's output as the rotation needs it: read, or made anew from the segments when it is lost or damaged. */
import { fstatSync, readdirSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  emptyIndex,
  MAX_MARK_BYTES,
  parseIndex,
  pendingOfMark,
  type OutputIndex,
  type Segment,
} from "../core/output-log.ts";
import type { Clock } from "../platform/clock.ts";
import { collapseUnit } from "../platform/collapse.ts";
import { readTextIfExists, setAside, writeFileAtomic } from "../platform/files.ts";
import { readSegment } from "../platform/segment-file.ts";

/** As large as no index gets. */
const MAX_INDEX_BYTES = 1_048_576;

/** Whoever may read the live file may know where the rest of the stream is. */
export const INDEX_MODE = 0o644;

interface IndexIo {
  readonly write: (line: { readonly kind: "note"; readonly text: string }) => void;
  readonly clock: Clock;
}

/** Throws for an index of a newer version, which is left as it is. */
export async function loadIndex(
  { log, index: path }: { readonly log: string; readonly index: string },
  fd: number,
  io: IndexIo,
): Promise<OutputIndex> {
  const text = readTextIfExists(path, MAX_INDEX_BYTES);
  if (text !== undefined) {
    try {
      return parseIndex(text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (versionOf(text) > 1) throw new Error(`cannot read ${path}: it is of a newer version`, { cause: error });
      const aside = setAside(path, why, io.clock);
      io.write({ kind: "note", text: `${path} was damaged and is now ${aside}; it is made anew from the segments` });
    }
  }
  const index = await rebuild(log, fd, io);
  writeFileAtomic(path, `${JSON.stringify(index)}\n`, INDEX_MODE);
  return index;
}

function versionOf(text: string): number {
  return Number(/"version":\s*(\d{1,9})/.exec(text)?.[1] ?? 0);
}

/** Unpacks each segment once, to learn its length; a segment that cannot be read counts as far as it could. */
async function rebuild(log: string, fd: number, { clock }: IndexIo): Promise<OutputIndex> {
  const folder = dirname(log);
  const at = clock.wallTime().toISOString();
  const segments: Segment[] = [];
  let base = 0;
  for (const name of segmentNames(folder, basename(log))) {
    // Safe: segments are read one after the other, as they are large.
    // oxlint-disable-next-line no-await-in-loop
    const bytes = await lengthOf(join(folder, name));
    segments.push({ name, start: base, bytes, at });
    base += bytes;
  }
  const pending = pendingAt(fd, at, log);
  if (pending === null) return { ...emptyIndex(segments.length > 0 ? at : birthOf(fd, at)), base, segments };
  const others = segments.filter(({ name }) => !name.startsWith(pending.name.replace(/\.(?:zst|gz)$/, "")));
  return { ...emptyIndex(at), base: others.reduce((sum, { bytes }) => sum + bytes, 0), segments: others, pending };
}

/** When the live file was made, where the file system knows. */
function birthOf(fd: number, now: string): string {
  const born = fstatSync(fd).birthtime.toISOString();
  return born < now ? born : now;
}

/** The mark at the head of the live file tells of a rotation that was not ended. */
function pendingAt(fd: number, at: string, log: string): OutputIndex["pending"] {
  const head = Buffer.alloc(MAX_MARK_BYTES);
  const read = readSync(fd, head, 0, head.length, 0);
  const pending = pendingOfMark(head.toString("latin1", 0, read), at);
  if (pending === undefined) return null;
  const unit = collapseUnit(log);
  const collapsible = unit !== undefined && pending.bytes % unit === 0 && pending.bytes < fstatSync(fd).size;
  return { ...pending, method: collapsible ? "collapse" : "truncate" };
}

/** Oldest first: the time in the name sorts, and a rest comes after its segment. */
function segmentNames(folder: string, log: string): readonly string[] {
  const ends = /^\.[0-9TZ.]+(?:-rest|\.zst|\.gz)?$/;
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${log}.`) && ends.test(name.slice(log.length)))
    .map((name) => ({ name, key: name.replace("-rest", "~") }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ name }) => name);
}

async function lengthOf(path: string): Promise<number> {
  let bytes = 0;
  try {
    for await (const chunk of readSegment(path)) bytes += chunk.length;
  } catch {
    // Damaged from here on; readers are told when they come to it.
  }
  return bytes;
}
