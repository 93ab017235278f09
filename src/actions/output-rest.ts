/** Copies what a bot wrote while its segment was packed; only for file systems that cannot take bytes out of the front of a file. */
import { closeSync, constants, fdatasyncSync, openSync, readSync, writeSync } from "node:fs";

const CHUNK_BYTES = 1_048_576;
/** A bot that writes faster than we copy would keep us for ever. */
const MAX_REST_BYTES = 1024 ** 3;

/**
 * Writes the bytes of `from` beyond `start` into `path`, until the end of the file is reached twice: what comes after that and
 * before the caller's ftruncate(2), microseconds later, is lost. Throws when the disk refuses or the bot outruns us.
 */
export function copyRest(from: number, start: number, path: string, onProgress: () => void): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const to = openSync(path, flags, 0o640);
  try {
    const synced = copyToEnd(from, to, start, onProgress);
    fdatasyncSync(to);
    copyToEnd(from, to, synced, onProgress);
  } finally {
    closeSync(to);
  }
}

function copyToEnd(from: number, to: number, start: number, onProgress: () => void): number {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = start; at - start < MAX_REST_BYTES;) {
    const read = readSync(from, chunk, 0, chunk.length, at);
    if (read === 0) return at;
    for (let done = 0; done < read;) done += writeSync(to, chunk, done, read - done);
    at += read;
    onProgress();
  }
  throw new Error(`the bot writes faster than its output can be copied: more than ${MAX_REST_BYTES} bytes meanwhile`);
}
