/** Packs a range of a file into a segment, and reads segments back; both as streams, so that memory does not grow with the size. */
import { closeSync, constants, createReadStream, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { PassThrough, Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip, createZstdCompress, createZstdDecompress } from "node:zlib";
import { compressionOf, type Compression } from "../core/output-log.ts";

/** Bytes read at a time. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Writes bytes [0, `bytes`) of the open file `from` into the new file `path`, forced to the disk.
 * Throws when the file ends before that, or when the disk refuses; the file `path` may then be left half written.
 */
export async function packRange(
  from: number,
  bytes: number,
  path: string,
  { compress, onProgress }: { readonly compress: Compression; readonly onProgress: () => void },
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const to = openSync(path, flags, 0o640);
  try {
    // Not a write stream: it closes the descriptor at a failure, and what closes it a second time may hit another's.
    await pipeline(
      Readable.from(rangeOf(from, bytes, onProgress), { objectMode: false }),
      packer(compress),
      async (packed) => {
        for await (const chunk of packed) writeWhole(to, Buffer.from(chunk));
      },
    );
    fsyncSync(to);
  } finally {
    closeSync(to);
  }
}

/** Chunks of a segment's output, unpacked. Throws for a segment that is gone or damaged. */
export async function* readSegment(path: string): AsyncGenerator<Buffer> {
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const unpacked = unpacker(compressionOf(path));
  const done = pipeline(source, unpacked);
  // The failure also ends the loop below, which is where it is thrown.
  done.catch(() => undefined);
  try {
    for await (const chunk of unpacked) yield Buffer.from(chunk);
    await done;
  } finally {
    source.destroy();
    unpacked.destroy();
  }
}

function writeWhole(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}

function* rangeOf(fd: number, bytes: number, onProgress: () => void): Generator<Buffer> {
  for (let at = 0; at < bytes;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytes - at));
    const read = readSync(fd, chunk, 0, chunk.length, at);
    if (read === 0) throw new Error(`the file was cut by somebody else: it ends at ${at} of ${bytes} bytes`);
    yield chunk.subarray(0, read);
    at += read;
    onProgress();
  }
}

function packer(compress: Compression): Transform {
  switch (compress) {
    case "zstd":
      return createZstdCompress();
    case "gzip":
      return createGzip();
    case "none":
      return new PassThrough();
  }
}

function unpacker(compress: Compression): Transform {
  switch (compress) {
    case "zstd":
      return createZstdDecompress();
    case "gzip":
      return createGunzip();
    case "none":
      return new PassThrough();
  }
}
