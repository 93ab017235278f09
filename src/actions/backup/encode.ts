/**
 * How a stream is stored: frames that are compressed each by itself, encrypted as one stream, cut into files.
 * `cat data.* | age -d -i KEY | zstd -d` reads it back without this program.
 */
import { NotJudgedError } from "../../core/not-judged.ts";
import { createHash } from "node:crypto";
import { closeSync, constants, fchmodSync, fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32, createGunzip, createZstdDecompress, gzip, type ZlibOptions } from "node:zlib";
import { Readable, type Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import type { Manifest, Part } from "../../core/backup-manifest.ts";
import { PART_BYTES } from "../../core/backup-room.ts";
import { collectAfter, release } from "./collect.ts";
import { openWideSum, type WideSum } from "./wide-sum.ts";
import { FrameReader, wholeFrames } from "./zstd-frames.ts";

/** Raw bytes of one compressed frame: larger gains nothing, and memory holds a few of them. */
export const FRAME_BYTES = 2 * 1_024 ** 2;
/** A flush of more than this stalls whoever else writes to the disk. */
const SYNC_BYTES = 16 * 1_024 ** 2;
/** Level of zstd: 3 packs 2 % better and takes twice as long. */
const ZSTD_LEVEL = 1;
const GZIP_LEVEL = 6;
/** Stored files are for the owner and a group of operators. */
const PART_MODE = 0o640;

/** Pieces in which a stream is unpacked: the usual 16 KiB cost one more second for each GiB. */
const CHUNK_BYTES = 1_024 ** 2;

/** Buffers for each compressed frame: the one that is written, and what it was made in. */
const PACKED_COPIES = 2;
/** Buffers of age for each piece: what it gathers, the nonce's text and its cipher, what it queues. */
const CIPHER_COPIES = 4;

const gzipped = promisify<Uint8Array, ZlibOptions, Buffer>(gzip);

type Codec = Manifest["codec"];

/**
 * What is stored. Pieces of any size may all be in one buffer, gone when the next is asked for. `frames`: of `FRAME_BYTES`, the last
 * one shorter, each of which stays as it is until the one after the next is asked for: they are compressed where they are.
 */
export type Raw = AsyncIterable<Uint8Array> | { readonly frames: AsyncIterable<Uint8Array<ArrayBuffer>> };

export interface Stored {
  readonly bytes: number;
  readonly crc32: number;
  /** `undefined`: not wanted, or it cannot be had here. */
  readonly xxh64: string | undefined;
  readonly parts: readonly Part[];
}

export interface StoreOptions {
  readonly folder: string;
  readonly compress: Codec["compress"];
  /** Public keys of age; empty: not encrypted. */
  readonly recipients: readonly string[];
  readonly signal: AbortSignal;
  /** Whether the stream gets an XXH64 beside its CRC-32: it takes memory, and what is checked often and small does without. */
  readonly wide: boolean;
  /** Called after each frame with the raw bytes so far; throws to stop, for example when the disk runs full. */
  readonly onProgress: (rawBytes: number) => void;
}

/** Stores the stream as `data.NNN` in the folder, flushed to the disk. Throws when anything fails; the folder is then rubbish. */
export async function storeStream(raw: Raw, options: StoreOptions): Promise<Stored> {
  const tally = { bytes: 0, crc32: 0 };
  const wide = options.wide ? await openWideSum() : undefined;
  const frames = compressed(raw, options, { tally, wide });
  const writer = new PartWriter(options.folder);
  try {
    for await (const piece of await encrypted(frames, options.recipients)) {
      writer.write(piece);
      release(piece);
    }
    return { ...tally, xxh64: wide?.end(), parts: writer.end() };
  } finally {
    writer.close();
  }
}

async function* compressed(
  raw: Raw,
  { compress, signal, onProgress }: StoreOptions,
  { tally, wide }: { readonly tally: { bytes: number; crc32: number }; readonly wide: WideSum | undefined },
): AsyncGenerator<Uint8Array> {
  const frames = packedFrames(raw, compress, (frame) => {
    tally.bytes += frame.length;
    tally.crc32 = crc32(frame, tally.crc32);
    wide?.add(frame);
  });
  for await (const packed of frames) {
    signal.throwIfAborted();
    yield packed;
    onProgress(tally.bytes);
  }
}

/**
 * The stream in compressed frames, each in a buffer of its own, which is for the caller to release; one after another they are
 * one stream. While a frame is compressed on another thread the one before it is used, and the next is read. `sum` is called
 * with each frame's raw bytes.
 */
export async function* packedFrames(
  raw: Raw,
  compress: Codec["compress"],
  sum: (frame: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  let packing: Promise<Uint8Array> | undefined;
  for await (const frame of "frames" in raw ? raw.frames : inFrames(raw)) {
    const next = pack(frame, compress);
    // Waited for below, but not where the source fails first.
    next.catch(() => undefined);
    sum(frame);
    if (packing !== undefined) yield await packing;
    packing = next;
  }
  // An empty stream has one frame too: decompressors refuse no bytes at all.
  yield await (packing ?? pack(new Uint8Array(0), compress));
}

/** A stream in pieces of any size, as frames. */
async function* inFrames(raw: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let frame = new Uint8Array(FRAME_BYTES);
  let other = new Uint8Array(FRAME_BYTES);
  let bytes = 0;
  for await (const chunk of raw) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + FRAME_BYTES - bytes);
      frame.set(piece, bytes);
      bytes += piece.length;
      at += piece.length;
      if (bytes < FRAME_BYTES) continue;
      yield frame;
      [frame, other] = [other, frame];
      bytes = 0;
    }
  }
  if (bytes > 0) yield frame.subarray(0, bytes);
}

/** Reads the bytes until it resolves, where they are compressed on another thread. */
async function pack(frame: Uint8Array<ArrayBuffer>, compress: Codec["compress"]): Promise<Uint8Array> {
  if (compress === "zstd") return Bun.zstdCompress(frame, { level: ZSTD_LEVEL });
  return compress === "gzip" ? gzipped(frame, { level: GZIP_LEVEL }) : frame.slice();
}

async function encrypted(
  plain: AsyncGenerator<Uint8Array>,
  recipients: readonly string[],
): Promise<AsyncIterable<Uint8Array>> {
  if (recipients.length === 0) return plain;
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return collecting(await encrypter.encrypt(streamOf(collecting(plain, PACKED_COPIES))), CIPHER_COPIES);
}

/** The pieces of what has several buffers for each that it hands on, and nobody to release them. */
async function* collecting(pieces: AsyncIterable<Uint8Array>, copies: number): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    const bytes = piece.length * copies;
    yield piece;
    collectAfter(bytes);
  }
}

/** Writes one part after the other. */
class PartWriter {
  readonly #folder: string;
  readonly #parts: Part[] = [];
  #fd: number | undefined;
  #hash = createHash("sha256");
  #bytes = 0;
  #unsynced = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  write(piece: Uint8Array): void {
    for (let at = 0; at < piece.length;) {
      this.#fd ??= this.#open();
      const slice = piece.subarray(at, at + PART_BYTES - this.#bytes);
      for (let done = 0; done < slice.length;) done += writeSync(this.#fd, slice, done);
      this.#hash.update(slice);
      this.#bytes += slice.length;
      this.#unsynced += slice.length;
      at += slice.length;
      if (this.#bytes === PART_BYTES) this.#finish();
      else if (this.#unsynced >= SYNC_BYTES) {
        fdatasyncSync(this.#fd);
        this.#unsynced = 0;
      }
    }
  }

  end(): readonly Part[] {
    if (this.#fd !== undefined) this.#finish();
    return this.#parts;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  get #name(): string {
    return `data.${String(this.#parts.length).padStart(3, "0")}`;
  }

  #open(): number {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    const fd = openSync(join(this.#folder, this.#name), flags, PART_MODE);
    fchmodSync(fd, PART_MODE);
    return fd;
  }

  #finish(): void {
    if (this.#fd === undefined) return;
    fsyncSync(this.#fd);
    this.close();
    this.#parts.push({ name: this.#name, bytes: this.#bytes, sha256: this.#hash.digest("hex") });
    this.#hash = createHash("sha256");
    this.#bytes = 0;
    this.#unsynced = 0;
  }
}

export interface DecodeOptions {
  /** Pieces of a stored part, in order; from the disk or from a remote store. */
  readonly read: (part: Part) => AsyncIterable<Uint8Array>;
  /** Private key of age for a backup that is encrypted. */
  readonly identity: string | undefined;
}

/**
 * The raw stream of a stored backup. It throws at its end, or before, when a single byte is not the one that was stored: use
 * nothing of it before it has ended.
 */
export async function* decodeStream(
  { raw, codec, parts }: Pick<Manifest, "raw" | "codec" | "parts">,
  { read, identity }: DecodeOptions,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  const sum = await sumFor(raw);
  const stored = (): AsyncGenerator<Uint8Array> => checked(parts, read);
  const plain = codec.encrypt === null ? stored() : await decrypted(stored, identity, codec.recipients);
  for await (const chunk of decompressed(plain, codec.compress)) {
    bytes += chunk.length;
    sum.add(chunk);
    yield chunk;
  }
  if (bytes !== raw.bytes) throw new Error(`it unpacks to ${bytes} bytes instead of ${raw.bytes}`);
  if (!sum.isRight()) throw new Error("it unpacks to other bytes than were packed");
}

/** By the better of the checksums that there are. Throws `NotJudgedError` when none can be computed here. */
async function sumFor({
  crc32: narrow,
  xxh64,
}: Manifest["raw"]): Promise<{ readonly add: (bytes: Uint8Array) => void; readonly isRight: () => boolean }> {
  const wide = xxh64 === undefined ? undefined : await openWideSum();
  if (wide !== undefined) return { add: wide.add, isRight: () => wide.end() === xxh64 };
  if (narrow === undefined)
    throw new NotJudgedError("its only checksum is an XXH64, which needs WebAssembly, and that does not run here");
  let sum = 0;
  const add = (bytes: Uint8Array): void => {
    sum = crc32(bytes, sum);
  };
  return { add, isRight: () => sum === narrow };
}

/** The stored stream; throws at the end of a part whose checksum or size is wrong (L0). */
export async function* checked(parts: readonly Part[], read: DecodeOptions["read"]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const chunk of read(part)) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes !== part.bytes) throw new Error(`${part.name} has ${bytes} bytes instead of ${part.bytes}`);
    if (hash.digest("hex") !== part.sha256)
      throw new Error(`${part.name} has another checksum than when it was stored`);
  }
}

/** Throws `NotJudgedError` for a key that is not that of the backup: what was stored may well be whole. */
async function decrypted(
  stored: () => AsyncGenerator<Uint8Array>,
  identity: string | undefined,
  recipients: readonly string[],
): Promise<AsyncIterable<Uint8Array>> {
  if (identity === undefined)
    throw new NotJudgedError(
      "it is encrypted, and no identityFile is given; name the file of its private key under backups.encryption",
    );
  const { Decrypter, identityToRecipient } = await import("age-encryption");
  const decrypter = new Decrypter();
  const own: string[] = [];
  for (const line of identity.split("\n").filter((each) => each.startsWith("AGE-SECRET-KEY-"))) {
    try {
      decrypter.addIdentity(line.trim());
      // Safe: one after the other, they are a few.
      // oxlint-disable-next-line no-await-in-loop
      own.push(await identityToRecipient(line.trim()));
    } catch (cause) {
      throw new NotJudgedError("the identityFile holds a key that is none of age", { cause });
    }
  }
  if (own.length === 0) throw new NotJudgedError("the identityFile holds no key of age (AGE-SECRET-KEY-…)");
  try {
    return collecting(await decrypter.decrypt(streamOf(stored())), CIPHER_COPIES);
  } catch (cause) {
    // A header with a wrong byte is opened by no key either: the checksums tell the one from the other.
    await drain(stored());
    if (own.some((each) => recipients.includes(each))) throw cause;
    throw new NotJudgedError(
      `the key of the identityFile (${own.join(", ")}) does not open it; it was encrypted for ${recipients.join(", ")}`,
      { cause },
    );
  }
}

/** Reads the pieces for their checksums alone. */
export async function drain(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  // Safe: nothing is done with a piece.
  // oxlint-disable-next-line no-unused-vars
  for await (const _ of pieces);
}

/** The unpacked stream; throws when it is cut off or damaged, as far as its own checksums tell. */
export async function* decompressed(
  stored: AsyncIterable<Uint8Array>,
  compress: Codec["compress"],
): AsyncGenerator<Uint8Array> {
  if (compress === "none") return yield* stored;
  if (compress === "gzip") return yield* streamed(stored, createGunzip({ chunkSize: CHUNK_BYTES }));
  const frames = new FrameReader(stored);
  yield* frames.unpacked();
  // What others packed has frames of any size.
  const rest = frames.rest();
  if (rest !== undefined) yield* streamed(wholeFrames(rest), createZstdDecompress({ chunkSize: CHUNK_BYTES }));
}

async function* streamed(stored: AsyncIterable<Uint8Array>, unpacker: Duplex): AsyncGenerator<Uint8Array> {
  const feeding = pipeline(Readable.from(stored), unpacker);
  // Its error ends the loop below too, and is thrown by the wait after it.
  feeding.catch(() => undefined);
  for await (const chunk of unpacker) {
    yield chunk;
    collectAfter(chunk.length);
  }
  return await feeding;
}

/** A web stream of the pieces, pulled one at a time. */
function streamOf(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await pieces.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}
