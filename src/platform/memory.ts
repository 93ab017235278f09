/**
 * Gives memory back. Most pages of our own program file are touched once, at the start, and the kernel maps those that are
 * used again from its page cache (madvise(2), MADV_DONTNEED on an unwritten private file mapping loses nothing).
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { isWorthCollecting, leftAfter } from "../core/own-memory.ts";
import { findSection } from "./elf.ts";
import { libc } from "./libc.ts";
import { readProc } from "./proc.ts";

const MADV_DONTNEED = 4;
/** The mappings of a process of ours are some hundreds, of 25 lines each. */
const MAX_SMAPS_BYTES = 4 * 1_048_576;

/** The first line of a mapping in /proc/PID/smaps: range, permissions, file. */
const HEAD = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(\/.*)$/;
/** Pages of the mapping that are no longer the file's, because they were written to. */
const WRITTEN = /^Anonymous: +(\d+) kB$/;

/** The section in which a compiled program carries its own code; it is read, and never written to. */
const PAYLOAD = ".bun";
const PAGE_BYTES = 4_096n;
/** What smaps says where pages are that large; some kernels for arm64 have others, and there this is left alone. */
const PAGE_SIZE = /^KernelPageSize: +4 kB$/m;
/** Bytes of an entry of /proc/PID/pagemap, and the bits that say that a page is present, and still the file's (proc_pid_pagemap(5)). */
const ENTRY_BYTES = 8;
const PRESENT_AND_FILE = (1n << 63n) | (1n << 61n);

/** What was left after the looks so far, bytes. */
let leftBytes: number | undefined;

/**
 * Gives back what this process holds and does not need. Garbage only where there is much of it: the runtime collects each second
 * until the heap has kept its size for thirty, and then each half minute, which a collection of ours would put off.
 */
export function giveBackMemory(): void {
  const collects = isWorthCollecting(leftBytes, ownBytes());
  if (collects) {
    Bun.gc(true);
    Bun.shrink();
  }
  leftBytes = leftAfter(leftBytes, collects, ownBytes());
  releaseProgramPages();
}

/** RssAnon of proc_pid_status(5) as bytes; 0 where the kernel does not tell. */
function ownBytes(): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readProc("/proc/self/status") ?? "")?.[1] ?? 0) * 1_024;
}

/** Drops the resident pages of our own program that never were written; returns the bytes of the ranges, 0 without FFI. */
export function releaseProgramPages(program: string = process.execPath): number {
  const c = libc();
  const smaps = c === undefined ? undefined : readProc("/proc/self/smaps", MAX_SMAPS_BYTES);
  if (c === undefined || smaps === undefined) return 0;
  let released = 0n;
  for (const { from, to } of [...untouchedRanges(smaps, program), ...payloadRanges(smaps, program)])
    if (c.madvise(from, to - from, MADV_DONTNEED) === 0) released += to - from;
  return Number(released);
}

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/** Of the program that was asked for last; it does not change under us. */
let payload: { readonly program: string; readonly range: Range } | undefined;

/** What is resident of the program's own code, which the linker puts among what may be written: page by page, since others there were. */
function payloadRanges(smaps: string, program: string): Range[] {
  if (payload?.program !== program)
    payload = { program, range: wholePages(findSection(program, PAYLOAD) ?? { from: 0n, to: 0n }) };
  const { range } = payload;
  return PAGE_SIZE.test(smaps) && isMappedThere(smaps, program, range) ? unwrittenPages(range) : [];
}

/** Whether the program is loaded at the addresses that it was linked for: one that may be loaded anywhere has something else there. */
function isMappedThere(smaps: string, program: string, { from, to }: Range): boolean {
  return smaps.split("\n").some((line) => {
    const head = HEAD.exec(line);
    return head?.[4] === program && BigInt(`0x${head[1]}`) <= from && to <= BigInt(`0x${head[2]}`);
  });
}

/** Pages that hold nothing else. */
function wholePages({ from, to }: Range): Range {
  const first = ((from + PAGE_BYTES - 1n) / PAGE_BYTES) * PAGE_BYTES;
  return { from: first, to: (to / PAGE_BYTES) * PAGE_BYTES };
}

function unwrittenPages({ from, to }: Range): Range[] {
  const ranges: { from: bigint; to: bigint }[] = [];
  const entries = readPagemap(from, to);
  for (let page = 0; page < entries.length; page += 1) {
    if (((entries[page] ?? 0n) & PRESENT_AND_FILE) !== PRESENT_AND_FILE) continue;
    const start = from + BigInt(page) * PAGE_BYTES;
    const last = ranges.at(-1);
    if (last?.to === start) last.to += PAGE_BYTES;
    else ranges.push({ from: start, to: start + PAGE_BYTES });
  }
  return ranges;
}

/** Empty where the kernel does not show it. */
function readPagemap(from: bigint, to: bigint): BigUint64Array {
  const pages = Number((to - from) / PAGE_BYTES);
  const entries = new BigUint64Array(Math.max(0, pages));
  try {
    const fd = openSync("/proc/self/pagemap", constants.O_RDONLY);
    try {
      const offset = Number(from / PAGE_BYTES) * ENTRY_BYTES;
      const read = readSync(fd, new Uint8Array(entries.buffer), 0, entries.byteLength, offset);
      return entries.subarray(0, read / ENTRY_BYTES);
    } finally {
      closeSync(fd);
    }
  } catch {
    return new BigUint64Array(0);
  }
}

/**
 * Read-only ranges of `program` of which no page differs from the file. One that has such pages is left alone as a whole:
 * what the loader relocated and then protected (RELRO) would be lost.
 */
function untouchedRanges(smaps: string, program: string): Range[] {
  const ranges: Range[] = [];
  let range: Range | undefined;
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
