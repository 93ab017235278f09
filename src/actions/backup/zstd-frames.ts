/**
 * Unpacks zstd frame by frame, as our own backups are packed: several times as fast as by a stream, and with one frame in
 * memory. The format: https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.
 */
import { collectAfter } from "./collect.ts";

const MAGIC = 0xfd2fb528;
/** Magic numbers of skippable frames without their last four bits. */
const SKIPPABLE = 0x184d2a5;
const BLOCK_HEADER_BYTES = 3;
/** Largest frame that is unpacked at once, packed and unpacked; ours are 2 MiB, those of older releases 4. */
const MAX_FRAME_BYTES = 8 * 1_024 ** 2;

/** By so much more than it must the buffer grows. */
const SPARE_BYTES = 1_024 ** 2;

interface Frame {
  /** Of the packed frame. */
  readonly bytes: number;
}

/** The frame that begins the bytes; `more`: it goes on beyond them; `other`: it is none that is unpacked at once. */
type Found = Frame | "more" | "other";

export class FrameReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer = Buffer.alloc(2 * 1_024 ** 2);
  #filled = 0;
  #other = false;

  constructor(stored: AsyncIterable<Uint8Array>) {
    this.#source = stored[Symbol.asyncIterator]();
  }

  /** Each frame unpacked, until the end or a frame of another kind. Throws for one that is damaged. */
  async *unpacked(): AsyncGenerator<Uint8Array> {
    try {
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is one stream.
      for (let frame = await this.#next(); frame !== undefined; frame = await this.#next()) {
        const unpacked = Bun.zstdDecompressSync(this.#buffer.subarray(0, frame.bytes));
        this.#buffer.copyWithin(0, frame.bytes, this.#filled);
        this.#filled -= frame.bytes;
        yield unpacked;
        collectAfter(unpacked.length);
      }
    } finally {
      if (!this.#other) await this.#source.return?.(undefined);
    }
  }

  /** What was not unpacked, from the frame of another kind on; `undefined` at the end. */
  rest(): AsyncIterable<Uint8Array> | undefined {
    return this.#other ? this.#remaining() : undefined;
  }

  async *#remaining(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.from(this.#buffer.subarray(0, this.#filled));
    yield* { [Symbol.asyncIterator]: () => this.#source };
  }

  /** The whole frame that begins the buffer; `undefined` at the end, and before one of another kind. */
  async #next(): Promise<Frame | undefined> {
    for (;;) {
      const bytes = this.#buffer.subarray(0, this.#filled);
      const found = frameAt(bytes);
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is one stream.
      if (found === "more" && bytes.length <= MAX_FRAME_BYTES && (await this.#fill())) continue;
      if (typeof found !== "string") return found;
      // What ends in the middle of a frame is for the other one to refuse.
      this.#other = this.#filled > 0;
      return undefined;
    }
  }

  /** False at the end of the stream. */
  async #fill(): Promise<boolean> {
    const { value, done } = await this.#source.next();
    if (done !== true) {
      if (this.#filled + value.length > this.#buffer.length) {
        const larger = Buffer.alloc(this.#filled + value.length + SPARE_BYTES);
        this.#buffer.copy(larger, 0, 0, this.#filled);
        collectAfter(this.#buffer.length);
        this.#buffer = larger;
      }
      this.#buffer.set(value, this.#filled);
      this.#filled += value.length;
    }
    return done !== true;
  }
}

/** The frame that begins the bytes, when all of it is there. */
function frameAt(bytes: Buffer): Found {
  const header = headerAt(bytes);
  if (typeof header === "string") return header;
  if (header.unpackedBytes === undefined || header.unpackedBytes > MAX_FRAME_BYTES) return "other";
  let at = header.bytes;
  for (let last = false; !last;) {
    if (bytes.length < at + BLOCK_HEADER_BYTES) return "more";
    const block = blockAt(bytes.readUIntLE(at, BLOCK_HEADER_BYTES));
    if (block === undefined) return "other";
    ({ last } = block);
    at += BLOCK_HEADER_BYTES + block.bytes;
  }
  at += header.sumBytes;
  return bytes.length < at ? "more" : { bytes: at };
}

interface Header {
  readonly bytes: number;
  /** `undefined`: it does not say. */
  readonly unpackedBytes: number | undefined;
  readonly sumBytes: number;
}

function headerAt(bytes: Buffer): Header | "more" | "other" {
  if (bytes.length < 5) return "more";
  if (bytes.readUInt32LE(0) !== MAGIC) return "other";
  const descriptor = bytes[4] ?? 0;
  const single = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? Number(single) : 2 ** sizeFlag;
  const sizeAt = 5 + Number(!single) + ([0, 1, 2, 4][descriptor & 3] ?? 0);
  const end = sizeAt + sizeBytes;
  if (bytes.length < end) return "more";
  const size = sizeBytes === 8 ? Number(bytes.readBigUInt64LE(sizeAt)) : readSize(bytes, sizeAt, sizeBytes);
  return { bytes: end, unpackedBytes: size, sumBytes: (descriptor & 4) === 0 ? 0 : 4 };
}

function readSize(bytes: Buffer, at: number, length: number): number | undefined {
  // In two bytes it is written less 256.
  return length === 0 ? undefined : bytes.readUIntLE(at, length) + (length === 2 ? 256 : 0);
}

/** What a block's header says; `undefined` for a kind that there is none of. */
function blockAt(header: number): { readonly last: boolean; readonly bytes: number } | undefined {
  const type = (header >> 1) & 3;
  // A block of one repeated byte has only that byte.
  return type === 3 ? undefined : { last: (header & 1) === 1, bytes: type === 1 ? 1 : header >> 3 };
}

/** Hands a stream on and throws at its end when that is in the middle of a frame: the runtime's own stream takes it for the end. */
export async function* wholeFrames(stored: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const walk = new FrameWalk();
  for await (const chunk of stored) {
    walk.take(chunk);
    yield chunk;
  }
  if (!walk.atEnd) throw new Error("it is cut off in the middle of a zstd frame");
}

/** Where in its frame a stream is. */
class FrameWalk {
  #head = Buffer.alloc(0);
  #skip = 0;
  /** Bytes of the checksum after the last block; `undefined` between frames. */
  #sumBytes: number | undefined;

  get atEnd(): boolean {
    return this.#skip === 0 && this.#head.length === 0 && this.#sumBytes === undefined;
  }

  /** Throws for what is no frame. */
  take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      const skipped = Math.min(this.#skip, chunk.length - at);
      this.#skip -= skipped;
      at += skipped;
      if (at === chunk.length) return;
      // Headers have some bytes: one at a time costs nothing.
      this.#head = Buffer.concat([this.#head, chunk.subarray(at, at + 1)]);
      at += 1;
      if (this.#sumBytes === undefined) this.#beginFrame();
      else this.#beginBlock(this.#sumBytes);
    }
  }

  #beginFrame(): void {
    const head = this.#head;
    if (head.length < 5) return;
    // A frame with data of others: four bytes of its size, then that.
    if (head.readUInt32LE(0) >>> 4 === SKIPPABLE) {
      if (head.length < 8) return;
      this.#skip = head.readUInt32LE(4);
    } else {
      const header = headerAt(head);
      if (header === "more") return;
      if (header === "other") throw new Error("it is no zstd stream, or goes on as none");
      this.#sumBytes = header.sumBytes;
    }
    this.#head = Buffer.alloc(0);
  }

  #beginBlock(sumBytes: number): void {
    if (this.#head.length < BLOCK_HEADER_BYTES) return;
    const block = blockAt(this.#head.readUIntLE(0, BLOCK_HEADER_BYTES));
    if (block === undefined) throw new Error("it has a block of no known kind");
    this.#skip = block.bytes + (block.last ? sumBytes : 0);
    if (block.last) this.#sumBytes = undefined;
    this.#head = Buffer.alloc(0);
  }
}
