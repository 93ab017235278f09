/** A stream as a new file, flushed in small pieces while it is written on (fdatasync(2)). */
import { closeSync, constants, fchmodSync, fdatasync, fsyncSync, openSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { Failure } from "./failure.ts";

/** A flush of more than this stalls whoever else writes to the disk. */
const SYNC_BYTES = 16 * 1_024 ** 2;

interface RawFileOptions {
  readonly mode: number;
  /** Off for what is read once and removed. */
  readonly flush: boolean;
  /** Called after each piece of 16 MiB with the bytes so far. */
  readonly onProgress?: (doneBytes: number) => void;
}

/**
 * Writes each piece before it asks for the next, so all may come in one buffer. Throws what the stream throws, and `Failure`
 * when it cannot be written.
 */
export async function writeRawFile(
  stream: AsyncIterable<Uint8Array>,
  file: string,
  { mode, flush, onProgress }: RawFileOptions,
): Promise<void> {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  const flusher = new Flusher(fd);
  let doneBytes = 0;
  let unsynced = 0;
  try {
    fchmodSync(fd, mode);
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.length;) at += writeTo(fd, chunk, at);
      doneBytes += chunk.length;
      unsynced += chunk.length;
      if (unsynced < SYNC_BYTES) continue;
      if (flush) await flusher.begin();
      unsynced = 0;
      onProgress?.(doneBytes);
    }
    await flusher.end();
    if (flush) fsyncSync(fd);
  } finally {
    await flusher.rest();
    closeSync(fd);
  }
}

const flushData = promisify(fdatasync);

/** One flush at a time, beside the writing of the next piece: at most two pieces are not on the disk. */
class Flusher {
  readonly #fd: number;
  #running: Promise<void> = Promise.resolve();

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Waits for the one before, and throws when that has failed: the kernel tells it once (fsync(2)). */
  async begin(): Promise<void> {
    await this.end();
    this.#running = flushData(this.#fd);
    // Thrown by whoever waits for it.
    this.#running.catch(() => undefined);
  }

  async end(): Promise<void> {
    try {
      await this.#running;
    } catch (cause) {
      throw Failure.of("store", cause);
    }
  }

  /** The descriptor must not be closed, and given to another file, under a flush. */
  async rest(): Promise<void> {
    await this.#running.catch(() => undefined);
  }
}

function writeTo(fd: number, chunk: Uint8Array, at: number): number {
  try {
    return writeSync(fd, chunk, at);
  } catch (cause) {
    throw Failure.of("store", cause);
  }
}
