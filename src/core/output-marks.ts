/**
 * Marks in a bot's output: where the stream ended at a time. One is noted at each start, with its number, and one each minute
 * in which the bot has written, as lines of output bear no time. They are read at each start, so the schema is for odd ones only.
 */
import * as z from "zod";
import { later } from "./later.ts";
import type { Segment } from "./output-log.ts";
import { hasOnly, isCount, isRecord, isWhole } from "./plain-check.ts";

const VERSION = 1;
/** Starts kept at most when the marks are thinned; each takes some 80 bytes. */
const MAX_STARTS = 400;

export const timeMarkSchema = later(() =>
  z.strictObject({
    v: z.literal(VERSION),
    /** Wall time by which the stream was that long. */
    at: z.string(),
    /** Where the stream ended. */
    offset: z.int().min(0),
  }),
);
export const runMarkSchema = later(() =>
  z.object({
    v: z.literal(VERSION),
    /** The number of the start that began there. A release that knows no other marks passes over those without it. */
    generation: z.int(),
    /** Wall time, for people. */
    at: z.string(),
    offset: z.int().min(0),
  }),
);
export type RunMark = z.output<typeof runMarkSchema>;
type TimeMark = z.output<typeof timeMarkSchema>;
export type OutputMark = RunMark | TimeMark;

const TIME_KEYS: ReadonlySet<string> = new Set(["v", "at", "offset"]);
const RUN_KEYS: ReadonlySet<string> = new Set([...TIME_KEYS, "generation"]);

function isPlainMark(value: unknown): value is OutputMark {
  if (!isRecord(value)) return false;
  const { v, at, offset } = value;
  if (v !== VERSION || typeof at !== "string" || !isCount(offset)) return false;
  return "generation" in value ? isWhole(value["generation"]) && hasOnly(value, RUN_KEYS) : hasOnly(value, TIME_KEYS);
}

/** One line of the file of marks. */
export function outputMarkLine(mark: Omit<RunMark, "v"> | Omit<TimeMark, "v">): string {
  return `${JSON.stringify({ v: VERSION, ...mark })}\n`;
}

/** The marks in `text`, in the order in which they were noted; a line that is torn or not understood is passed over. */
export function parseOutputMarks(text: string): readonly OutputMark[] {
  return text.split("\n").flatMap((line): OutputMark | readonly never[] => {
    if (line === "") return [];
    try {
      const parsed: unknown = JSON.parse(line);
      if (isPlainMark(parsed)) return parsed;
      return runMarkSchema.safeParse(parsed).data ?? timeMarkSchema.safeParse(parsed).data ?? [];
    } catch {
      return [];
    }
  });
}

/** The marks of starts alone. */
export function parseRunMarks(text: string): readonly RunMark[] {
  return parseOutputMarks(text).filter((mark) => "generation" in mark);
}

/**
 * What is kept of marks that have become too many: of starts the newer half, where there are many; of the times every one of the
 * newer half and every second of the older, so that what is long ago is known less exactly, and never not at all.
 */
export function thinMarks(marks: readonly OutputMark[]): readonly OutputMark[] {
  const starts = marks.filter((mark) => "generation" in mark);
  const times = marks.filter((mark) => !("generation" in mark));
  const half = Math.floor(times.length / 2);
  const kept = new Set<OutputMark>([
    ...(starts.length > MAX_STARTS ? starts.slice(Math.floor(starts.length / 2)) : starts),
    ...times.filter((_, at) => at >= half || at % 2 === 0),
  ]);
  return marks.filter((mark) => kept.has(mark));
}

/** The stream as it is now. */
interface Stream {
  readonly segments: readonly Segment[];
  readonly end: number;
}

/**
 * The part of the stream that start number `generation` wrote; `undefined` when no mark of it is kept, or somebody has emptied the file since it
 * ended. Of a start during which it was emptied, what it wrote since.
 */
export function rangeOfRun(
  marks: readonly OutputMark[],
  generation: number,
  { segments, end }: Stream,
): { readonly from: number; readonly to: number | undefined } | undefined {
  const at = marks.findLastIndex((mark) => "generation" in mark && mark.generation === generation);
  const mark = marks[at];
  if (mark === undefined) return undefined;
  const next = marks.findIndex((each, index) => index > at && "generation" in each);
  const to = marks[next]?.offset;
  const offsets = [...marks.map(({ offset }) => offset), end];
  const over = to === undefined ? offsets.length : next + 1;
  if (to !== undefined && offsets.slice(over).some((offset) => offset < to)) return undefined;
  const fallen = offsets.slice(at, over).filter((offset) => offset < mark.offset);
  if (fallen.length === 0) return { from: mark.offset, to };
  // The file goes on where the last rotation before that ended.
  const least = Math.min(...fallen);
  const ends = segments.map(({ start, bytes }) => start + bytes).filter((each) => each <= least);
  return { from: Math.max(0, ...ends), to };
}

/**
 * Where to begin so that nothing written since `since` (UTC, as every `at` here) is missed: at the last mark, or the end of a segment,
 * that is not later. Shows rather too much than too little: a clock that was set back repeats times, and then the first of them
 * counts; 0 when nothing that old is known.
 */
export function offsetSince(marks: readonly OutputMark[], { segments, end }: Stream, since: string): number {
  // Where the offsets fall, somebody has emptied or removed the file: older marks are of a stream that is gone.
  const offsets = [...marks.map(({ offset }) => offset), end];
  const fell = offsets.findLastIndex((offset, at) => offset < (offsets[at - 1] ?? 0));
  const valid = marks.slice(Math.max(fell, 0));
  const next = valid.findIndex(({ at }) => at > since);
  const before = valid[(next === -1 ? valid.length : next) - 1]?.offset ?? 0;
  const limit = valid[next]?.offset ?? Number.MAX_SAFE_INTEGER;
  // A rest was written after the time that it bears.
  const ends = segments
    .filter(({ name, at }) => at <= since && !name.endsWith("-rest"))
    .map(({ start, bytes }) => start + bytes)
    .filter((each) => each <= limit);
  return Math.max(before, ...ends);
}
