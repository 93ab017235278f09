/**
 * Gives the pages of our own program code back after start-up: most were touched once, and the kernel maps those that
 * are used again from its page cache (madvise(2), MADV_DONTNEED on an unwritten private file mapping loses nothing).
 */
import { libc } from "./libc.ts";
import { readProc } from "./proc.ts";

const MADV_DONTNEED = 4;
/** The maps of a process of ours have some hundreds of lines. */
const MAX_MAPS_BYTES = 1_048_576;

/** A mapping of /proc/PID/maps: range, permissions, file. */
const LINE = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s+(\/.*)$/;

/** Drops the resident pages of our own program's code; returns the bytes of the ranges, 0 without FFI. */
export function releaseProgramPages(program: string = process.execPath): number {
  const c = libc();
  const maps = c === undefined ? undefined : readProc("/proc/self/maps", MAX_MAPS_BYTES);
  if (c === undefined || maps === undefined) return 0;
  let released = 0n;
  for (const { from, to } of codeRanges(maps, program))
    if (c.madvise(from, to - from, MADV_DONTNEED) === 0) released += to - from;
  return Number(released);
}

/**
 * Ranges of `program` that are mapped for execution and never were writable. Other read-only ranges are left alone: what
 * the loader relocated and then protected (RELRO) differs from the file and would be lost.
 */
function codeRanges(maps: string, program: string): { from: bigint; to: bigint }[] {
  const ranges: { from: bigint; to: bigint }[] = [];
  for (const line of maps.split("\n")) {
    const [, from, to, permissions, file] = LINE.exec(line) ?? [];
    if (from === undefined || to === undefined || file !== program) continue;
    if (permissions !== "r-xp") continue;
    ranges.push({ from: BigInt(`0x${from}`), to: BigInt(`0x${to}`) });
  }
  return ranges;
}
