/** Shows the end of a growing file and follows it, as tail -F does: by name, across rotation. */
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { sleep, type Clock } from "../../platform/clock.ts";

/** Bytes read at a time, and the farthest look back for the last lines. */
const CHUNK_BYTES = 64 * 1024;
const MAX_LOOK_BACK_BYTES = 16 * 1024 ** 2;
/** Time between two looks for new output, ms. */
const FOLLOW_MS = 200;

/** The last `lines` lines of the file, without a final newline; at most 16 MiB of it. */
export function lastLines(path: string, lines: number): string {
  if (lines === 0) return "";
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    let from = size;
    let found = Buffer.alloc(0);
    while (from > 0 && size - from < MAX_LOOK_BACK_BYTES && countLines(found) <= lines) {
      const length = Math.min(CHUNK_BYTES, from);
      from -= length;
      const chunk = Buffer.alloc(length);
      const read = readSync(fd, chunk, 0, length, from);
      found = Buffer.concat([chunk.subarray(0, read), found]);
    }
    const text = found.toString("utf8").replace(/\n$/, "");
    return text.split("\n").slice(-lines).join("\n");
  } finally {
    closeSync(fd);
  }
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) count += 1;
  return count;
}

/** Calls `onText` with what is appended from now on; a file that was replaced or cut is read from its start. */
export async function follow(path: string, clock: Clock, onText: (text: string) => void): Promise<never> {
  const decoder = new TextDecoder();
  let at = sizeOf(path)?.size ?? 0;
  let inode = sizeOf(path)?.inode;
  for (;;) {
    await sleep(clock, FOLLOW_MS);
    const now = sizeOf(path);
    if (now === undefined) continue;
    if (now.inode !== inode || now.size < at) at = 0;
    inode = now.inode;
    if (now.size > at) at = readFrom(path, at, (bytes) => onText(decoder.decode(bytes, { stream: true })));
  }
}

function sizeOf(path: string): { size: number; inode: number } | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : { size: stat.size, inode: stat.ino };
}

function readFrom(path: string, from: number, onBytes: (bytes: Buffer) => void): number {
  const fd = openSync(path, "r");
  try {
    let at = from;
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const read = readSync(fd, chunk, 0, CHUNK_BYTES, at);
      if (read === 0) return at;
      onBytes(chunk.subarray(0, read));
      at += read;
    }
  } finally {
    closeSync(fd);
  }
}
