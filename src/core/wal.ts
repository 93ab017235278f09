/** Names of WAL segments: 8 hex digits of the timeline, then the segment's number in two halves (xlog_internal.h); and whose they are. */

const SEGMENT = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/;
/** The lower half counts up to 4 GiB. */
const HALF_BYTES = 2 ** 32;

/** Name of the replication slot that keeps the WAL of a target at its server until it is archived. */
export function slotName(target: string): string {
  return `supervisor_${target.replaceAll("-", "_")}`;
}

export interface WalSegment {
  readonly name: string;
  readonly timeline: number;
  /** Counts on without a gap whatever the timeline. */
  readonly number: number;
}

/** `undefined` when it is no name of a segment. `segmentBytes` is the server's wal_segment_size. */
export function readSegment(name: string, segmentBytes: number): WalSegment | undefined {
  const [, timeline, high, low] = SEGMENT.exec(name) ?? [];
  if (timeline === undefined || high === undefined || low === undefined) return undefined;
  const perHalf = HALF_BYTES / segmentBytes;
  const lower = Number.parseInt(low, 16);
  if (lower >= perHalf) return undefined;
  return { name, timeline: Number.parseInt(timeline, 16), number: Number.parseInt(high, 16) * perHalf + lower };
}

/** Where the segment of this number ends, as pg_receivewal takes it: it stops behind that byte. */
export function endOfSegment(number: number, segmentBytes: number): string {
  const last = (BigInt(number) + 1n) * BigInt(segmentBytes) - 1n;
  return `${(last >> 32n).toString(16)}/${(last & 0xffff_ffffn).toString(16)}`.toUpperCase();
}

/**
 * Those that a recovery can play from the segment number `from` on, in order, and the number of the first that is missing. Of
 * several timelines each segment is taken: the history file decides.
 */
export function contiguousFrom(
  segments: readonly WalSegment[],
  from: number,
): { readonly usable: readonly WalSegment[]; readonly missing: number } {
  const byNumber = Map.groupBy(segments, ({ number }) => number);
  const usable: WalSegment[] = [];
  let at = from;
  for (let found = byNumber.get(at); found !== undefined; found = byNumber.get(at)) {
    usable.push(...found);
    at += 1;
  }
  return { usable, missing: at };
}

/** Those of the names that are segments before this number, oldest first. */
export function segmentsBefore(names: Iterable<string>, number: number, segmentBytes: number): readonly string[] {
  return [...names]
    .flatMap((name) => readSegment(name, segmentBytes) ?? [])
    .filter((each) => each.number < number)
    .toSorted((a, b) => a.number - b.number)
    .map(({ name }) => name);
}

/** Numbers behind which at least one is missing, with the next one that is there. */
export function gapsIn(segments: readonly WalSegment[]): readonly (readonly [before: WalSegment, after: WalSegment])[] {
  const sorted = segments.toSorted((a, b) => a.number - b.number || a.timeline - b.timeline);
  return sorted.flatMap((each, index) => {
    const next = sorted[index + 1];
    return next !== undefined && next.number > each.number + 1 ? [[each, next] as const] : [];
  });
}

/** How often segments are missing, once or many in a row, between the segment number `from` and the newest one that is there. */
export function countGaps(segments: readonly WalSegment[], from: number): number {
  const numbers = new Set(segments.map(({ number }) => number).filter((number) => number >= from));
  return [...numbers].filter((number) => number !== from && !numbers.has(number - 1)).length;
}

/** Of the first page's header: XLogLongPageHeaderData of xlog_internal.h, in the byte order of the machine. */
export const LONG_HEADER_BYTES = 40;
const [INFO_AT, SYSTEM_AT] = [2, 24];
const LONG_HEADER = 0x00_02;

/**
 * The identifier that initdb gave the server whose WAL begins with these bytes; `undefined` when they do not say it: too few of
 * them, or a segment whose first page was not received yet.
 */
export function systemOfSegment(first: Uint8Array): string | undefined {
  if (first.length < LONG_HEADER_BYTES) return undefined;
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  return (view.getUint16(INFO_AT, true) & LONG_HEADER) === 0 ? undefined : identifierAt(view, SYSTEM_AT);
}

/** The same of `global/pg_control`, whose first field it is (pg_control.h). */
export function systemOfControl(first: Uint8Array): string | undefined {
  return first.length < 8 ? undefined : identifierAt(new DataView(first.buffer, first.byteOffset, first.byteLength), 0);
}

function identifierAt(view: DataView, at: number): string | undefined {
  const identifier = view.getBigUint64(at, true);
  return identifier === 0n ? undefined : String(identifier);
}
