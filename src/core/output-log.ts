/**
 * A bot's output as one stream of bytes: segments that were rotated out, then the live file. Offsets count from the first
 * byte ever written, so that they stay true when bytes are taken from the front of the live file (fallocate(2),
 * FALLOC_FL_COLLAPSE_RANGE). This file holds the index of that stream and the decisions; nothing here touches a file.
 */
import * as z from "zod";
import { later } from "./later.ts";

/** Format version of the index; a reader refuses a newer one. */
const INDEX_VERSION = 1;

/** How segments are packed; also the end of their names. */
/** Where the output of a bot goes. */
export const OUTPUT_TARGETS = ["file", "journal", "inherit"] as const;

/** Under which name (SYSLOG_IDENTIFIER) the journal keeps the output of a bot. */
export function journalIdentifier(bot: string): string {
  return `tradingbot-${bot}`;
}

export const COMPRESSIONS = ["zstd", "gzip", "none"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** Bytes that a rotation by size leaves in the live file: the tail kept with an exit is read from there, and by people. */
const LEFT_BYTES = 64 * 1024;

/** Most rotations that `output.keep` may ask for: the index is read whole each time somebody looks at the stream. */
export const MAX_KEEP = 1_000;

const count = later(() => z.int().min(0));

const segmentSchema = later(() =>
  z.object({
    /** File name in the folder of the live file. */
    name: z.string().regex(/^[a-z][a-z0-9-]*\.log\.[0-9TZ.]+(?:-rest|\.zst|\.gz)?$/),
    /** Offset of its first byte in the stream. */
    start: count,
    /** Bytes of output in it, unpacked. */
    bytes: count,
    /** Wall time of its last byte, for people. */
    at: z.string(),
  }),
);
export type Segment = z.output<typeof segmentSchema>;

const pendingSchema = later(() =>
  segmentSchema.pick({ name: true, bytes: true, at: true }).extend({
    /**
     * `copy`: the segment is being written, the live file is whole. `published`: the segment is on the disk under its name,
     * the live file still holds the same bytes. `cut`: they are being taken out; the mark at the head of the live file is
     * there before that and gone after.
     */
    phase: z.enum(["copy", "published", "cut"]),
    method: z.enum(["collapse", "truncate"]),
    /** Random, so that no output of a bot equals the mark. */
    token: z.string(),
  }),
);
export type Pending = z.output<typeof pendingSchema>;

const indexSchema = later(() =>
  z.object({
    version: z.literal(INDEX_VERSION),
    /** Offset in the stream of the live file's first byte, before a pending cut. */
    base: count,
    /** Wall time from which on the live file was written, for `maxAge`. */
    began: z.string(),
    segments: z.array(segmentSchema).max(3 * MAX_KEEP),
    pending: pendingSchema.nullable(),
  }),
);
export type OutputIndex = z.output<typeof indexSchema>;

/** The index of a stream that was never rotated. */
export function emptyIndex(began: string): OutputIndex {
  return { version: INDEX_VERSION, base: 0, began, segments: [], pending: null };
}

/** The index in `text`. Throws when it is none. */
export function parseIndex(text: string): OutputIndex {
  const parsed = indexSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
  return parsed.data;
}

/** Name of a segment of `log` (a file name) cut at `at`: NAME.log.20260102T030405.678Z, with the end that says how it is packed. */
export function segmentName(log: string, at: string, compress: Compression): string {
  const end = { zstd: ".zst", gzip: ".gz", none: "" }[compress];
  return `${log}.${at.replaceAll(/[-:]/g, "")}${end}`;
}

/** Name of what was written while the segment was being packed; only where the file system cannot collapse. */
export function restName(segment: string): string {
  return `${segment.replace(/\.(?:zst|gz)$/, "")}-rest`;
}

/** How the segment `name` is packed. */
export function compressionOf(name: string): Compression {
  return name.endsWith(".zst") ? "zstd" : name.endsWith(".gz") ? "gzip" : "none";
}

/** What stands at the head of the live file, over bytes that a segment holds already, until they are taken out. */
export function markOf({ name, bytes, token }: Pending): string {
  return `\0supervisor: the first ${bytes} bytes of this file are in ${name} ${token}\n`;
}

/** The pending rotation that a mark speaks of, for when the index is lost; `undefined` when `head` is no mark. */
export function pendingOfMark(head: string, at: string): Pending | undefined {
  const match = /^\0supervisor: the first (\d{1,15}) bytes of this file are in (\S+) (\S+)\n/.exec(head);
  const parsed = pendingSchema.safeParse({
    phase: "published",
    method: "truncate",
    name: match?.[2],
    bytes: Number(match?.[1]),
    token: match?.[3],
    at,
  });
  return match !== null && parsed.success ? parsed.data : undefined;
}

/** Upper bound of a mark, bytes: a bot's name has 32 characters, a token 36. */
export const MAX_MARK_BYTES = 256;

export interface CutInput {
  /** Bytes in the live file. */
  readonly size: number;
  readonly maxSize: number;
  /** The file system takes out multiples of this; `undefined` where it cannot take out anything but all. */
  readonly granularity: number | undefined;
  readonly due: "size" | "age";
}

/**
 * Bytes to cut from the front of the live file, 0 when there is nothing to cut. A segment ends at a block, not at a line:
 * what reads the stream joins them. Never the whole file by collapse, which the kernel refuses.
 */
export function cutBytes({ size, maxSize, granularity, due }: CutInput): number {
  if (granularity === undefined) return size > MAX_MARK_BYTES ? size : 0;
  const floor = (bytes: number): number => Math.floor(Math.max(bytes, 0) / granularity) * granularity;
  const most = Math.max(floor(maxSize), granularity);
  const left = due === "size" ? Math.min(LEFT_BYTES, Math.floor(size / 4)) : 1;
  return Math.min(floor(size - Math.max(left, 1)), most);
}

export interface DueInput {
  readonly size: number;
  readonly maxSize: number;
  readonly maxAgeMs: number | undefined;
  /** Wall time since the live file began, ms; negative after a clock was set back. */
  readonly ageMs: number;
}

/** Why the live file is to be rotated now; `undefined` when it is not. */
export function rotationDue({ size, maxSize, maxAgeMs, ageMs }: DueInput): "size" | "age" | undefined {
  if (size >= maxSize) return "size";
  return maxAgeMs !== undefined && size > MAX_MARK_BYTES && ageMs >= maxAgeMs ? "age" : undefined;
}

/** The segments beyond the newest `keep`, oldest first; a rest goes with the segment before it. */
export function surplus(segments: readonly Segment[], keep: number): readonly Segment[] {
  const heads = segments.flatMap(({ name }, at) => (name.endsWith("-rest") ? [] : [at]));
  const first = heads.at(-keep);
  return heads.length <= keep || first === undefined ? [] : segments.slice(0, first);
}
