/**
 * Gives the pages of our own program file back after start-up: most were touched once, and the kernel maps those that
 * are used again from its page cache (madvise(2), MADV_DONTNEED on an unwritten private file mapping loses nothing).
 */
import { libc } from "./libc.ts";
import { readProc } from "./proc.ts";

const MADV_DONTNEED = 4;
/** The mappings of a process of ours are some hundreds, of 25 lines each. */
const MAX_SMAPS_BYTES = 4 * 1_048_576;

/** The first line of a mapping in /proc/PID/smaps: range, permissions, file. */
const HEAD = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(\/.*)$/;
/** Pages of the mapping that are no longer the file's, because they were written to. */
const WRITTEN = /^Anonymous: +(\d+) kB$/;

/** Drops the resident pages of our own program that never were written; returns the bytes of the ranges, 0 without FFI. */
export function releaseProgramPages(program: string = process.execPath): number {
  const c = libc();
  const smaps = c === undefined ? undefined : readProc("/proc/self/smaps", MAX_SMAPS_BYTES);
  if (c === undefined || smaps === undefined) return 0;
  let released = 0n;
  for (const { from, to } of untouchedRanges(smaps, program))
    if (c.madvise(from, to - from, MADV_DONTNEED) === 0) released += to - from;
  return Number(released);
}

/**
 * Read-only ranges of `program` of which no page differs from the file. One that has such pages is left alone as a whole:
 * what the loader relocated and then protected (RELRO) would be lost.
 */
function untouchedRanges(smaps: string, program: string): { from: bigint; to: bigint }[] {
  const ranges: { from: bigint; to: bigint }[] = [];
  let range: { from: bigint; to: bigint } | undefined;
  for (const line of smaps.split("\n")) {
    const head = HEAD.exec(line);
    if (head !== null) {
      const [, from, to, permissions = "", file] = head;
      const ours = file === program && permissions.startsWith("r") && !permissions.includes("w");
      range = ours ? { from: BigInt(`0x${from}`), to: BigInt(`0x${to}`) } : undefined;
    } else if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) range = undefined;
    else if (range !== undefined && WRITTEN.exec(line)?.[1] === "0") ranges.push(range);
  }
  return ranges;
}
