/** Reads a bot's output as one stream across its segments and the live file, while a rotation may run. */
import { dirname, join } from "node:path";
import type { Segment } from "../core/output-log.ts";
import { readLive, viewOutput, type OutputFiles } from "./output-view.ts";
import { readSegment } from "./segment-file.ts";

/** Bytes read from the live file at a time. */
const CHUNK_BYTES = 64 * 1024;

/** Output from offset `from` until the end that the stream has when it is reached, or until `to`. */
export interface ReadOptions {
  readonly from: number;
  readonly to?: number;
  /** Told for each part that is listed and cannot be read. */
  readonly onLoss: (why: string) => void;
}

/** Chunks of the stream, each with the offset of the byte after it. What was pruned is passed over. */
export async function* readOutput(
  files: OutputFiles,
  options: ReadOptions,
): AsyncGenerator<{ chunk: Buffer; at: number }> {
  const { from, to = Number.MAX_SAFE_INTEGER, onLoss } = options;
  for (let at = from; at < to;) {
    const view = viewOutput(files);
    const segment = view.segments.find(({ start, bytes }) => at < start + bytes);
    if (segment === undefined || at >= view.liveStart) {
      const start = Math.max(at, view.liveStart);
      const chunk = readLive(files, view, start, Math.min(CHUNK_BYTES, to - start));
      if (chunk === undefined) continue;
      if (chunk.length === 0) return;
      at = start + chunk.length;
      yield { chunk, at };
      continue;
    }
    at = Math.max(at, segment.start);
    const end = Math.min(segment.start + segment.bytes, to);
    for await (const chunk of rangeOfSegment(files, segment, at, end, onLoss)) {
      at += chunk.length;
      yield { chunk, at };
    }
    at = end;
  }
}

/** The bytes [from, to) of a segment, by offsets of the stream. */
async function* rangeOfSegment(
  { log }: OutputFiles,
  { name, start }: Segment,
  from: number,
  to: number,
  onLoss: (why: string) => void,
): AsyncGenerator<Buffer> {
  let at = start;
  try {
    for await (const chunk of readSegment(join(dirname(log), name))) {
      const part = chunk.subarray(Math.max(from - at, 0), Math.max(to - at, 0));
      at += chunk.length;
      if (part.length > 0) yield part;
      if (at >= to) return;
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    onLoss(`cannot read the rest of segment ${name}, ${to - Math.max(at, from)} bytes: ${why}`);
  }
}
