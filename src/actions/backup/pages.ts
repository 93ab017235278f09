/**
 * What two copies of one database have in common, page by page: a table of hashes beside the full backup, and as the
 * incremental backup the pages that differ from it. Pages, since content-defined pieces of a database with random keys differ
 * nearly all (docs/backup.md has the measure and the format).
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import { FRAME_BYTES } from "./encode.ts";

/** File of the hashes beside the stored parts: xxHash64 of each page, little-endian, in order of the pages. */
export const PAGE_TABLE = "pages.xxh64";
const HASH_BYTES = 8;
/** Table that is still held in memory: 32 GiB of pages of 4 KiB. */
const MAX_TABLE_BYTES = 64 * 1_024 ** 2;
/** Bytes read and handed on in one go; a multiple of every page size, which is a power of two up to 64 KiB. */
const BLOCK_BYTES = FRAME_BYTES;
const MAX_PAGE_BYTES = 65_536;

/** First bytes of a stream of pages. */
const MAGIC = Buffer.from("sqlite pages v1\n", "latin1");
const HEADER_BYTES = 32;
const NUMBER_BYTES = 4;
/** A delta that is larger than this share of the database saves nothing worth the second file of a restore. */
const MAX_SHARE = 0.5;

interface PagedFile {
  readonly path: string;
  readonly pageSize: number;
  readonly pageCount: number;
}

/** Of a whole database file. */
export interface FileSums {
  /** For whoever puts it together by hand. */
  readonly sha256: string;
  /** What we compare; `undefined` of backups that were made before there was one. */
  readonly crc32: number | undefined;
}

/** What differs; `tooMuch` when a delta would be no use. */
export type Difference =
  | { readonly kind: "delta"; readonly changed: readonly number[]; readonly sums: FileSums }
  | { readonly kind: "tooMuch" };

export interface PageTable {
  readonly pageSize: number;
  readonly pageCount: number;
  /** The bytes of the file. */
  readonly hashes: Uint8Array;
}

/**
 * The file in blocks of whole pages, which are frames of what is stored. And their hashes once it was read to its
 * end; `undefined` when they are too many to keep.
 */
export function readHashed(file: PagedFile): {
  readonly blocks: AsyncGenerator<Uint8Array<ArrayBuffer>>;
  readonly hashes: () => Uint8Array | undefined;
} {
  const table = file.pageCount * HASH_BYTES > MAX_TABLE_BYTES ? undefined : new BigUint64Array(file.pageCount);
  async function* blocks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    let page = 0;
    for (const block of readBlocks(file.path)) {
      if (table !== undefined)
        for (let at = 0; at < block.length; at += file.pageSize) {
          table[page] = hashOf(block, at, file.pageSize);
          page += 1;
        }
      yield block;
    }
  }
  return { blocks: blocks(), hashes: () => (table === undefined ? undefined : new Uint8Array(table.buffer)) };
}

/** Compares the file with the table of a base that has the same page size. */
export function differ(file: PagedFile, base: PageTable): Difference {
  const known = new BigUint64Array(Uint8Array.from(base.hashes).buffer);
  const most = Math.floor((base.pageCount * MAX_SHARE * base.pageSize) / (base.pageSize + NUMBER_BYTES));
  const sum = new FileSum(true);
  const changed: number[] = [];
  let page = 0;
  for (const block of readBlocks(file.path)) {
    sum.update(block);
    for (let at = 0; at < block.length; at += file.pageSize) {
      // Undefined beyond the end of the base: such a page is always in the delta.
      if (known[page] !== hashOf(block, at, file.pageSize)) changed.push(page + 1);
      page += 1;
    }
    if (changed.length > most) return { kind: "tooMuch" };
  }
  return { kind: "delta", changed, sums: sum.end() };
}

/**
 * The stream of an incremental backup: `sqlite pages v1\n`; then as little-endian u32 the page size, the pages of the whole
 * database, the pages that follow, and 0; then for each of those its number from 1, ascending, and its bytes.
 */
export async function* pageStream(file: PagedFile, changed: readonly number[]): AsyncGenerator<Uint8Array> {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  for (const [index, value] of [file.pageSize, file.pageCount, changed.length].entries())
    header.writeUInt32LE(value, MAGIC.length + index * NUMBER_BYTES);
  yield header;
  const fd = openSync(file.path, "r");
  try {
    for (const number of changed) {
      const record = Buffer.alloc(NUMBER_BYTES + file.pageSize);
      record.writeUInt32LE(number);
      const got = readSync(fd, record, NUMBER_BYTES, file.pageSize, (number - 1) * file.pageSize);
      if (got !== file.pageSize) throw new Error(`cannot read page ${number} of ${file.path}: the file ends before it`);
      yield record;
    }
  } finally {
    closeSync(fd);
  }
}

interface PageHeader {
  readonly pageSize: number;
  readonly pageCount: number;
}

/** Reads a stream of pages to its end. Throws what is wrong with it. */
export async function parsePages(stream: AsyncIterable<Uint8Array>): Promise<PageHeader> {
  const pages = new PageReader(stream);
  const header = await pages.begin();
  // One after the other: it is one stream.
  // oxlint-disable-next-line no-await-in-loop
  while ((await pages.next()) !== undefined);
  return header;
}

/**
 * The database that `base`, the raw stream of the full backup, becomes with the pages of `delta`, the raw stream of the
 * incremental one, in blocks of which each is gone when the next is asked for. It throws at its end, or before, unless it is
 * the very file that was copied: use nothing of it before.
 */
export async function* rebuilt(streams: {
  readonly base: AsyncIterable<Uint8Array>;
  readonly delta: AsyncIterable<Uint8Array>;
  /** Of the database that was copied, from the manifest of the incremental backup. */
  readonly sums: FileSums;
}): AsyncGenerator<Uint8Array> {
  const pages = new PageReader(streams.delta);
  const base = new ByteReader(streams.base);
  const { pageSize, pageCount } = await pages.begin();
  const blockPages = BLOCK_BYTES / pageSize;
  const { sums } = streams;
  const sum = new FileSum(sums.crc32 === undefined);
  // Both streams are in order of the pages, and are read one block at a time.
  /* oxlint-disable no-await-in-loop */
  let change = await pages.next();
  const mixed = Buffer.alloc(BLOCK_BYTES);
  for (let first = 1; first <= pageCount; first += blockPages) {
    const bytes = Math.min(blockPages, pageCount - first + 1) * pageSize;
    const isMine = ({ number }: { readonly number: number }): boolean => (number - first) * pageSize < bytes;
    let block = await base.take(bytes);
    if (block.length < bytes || (change !== undefined && isMine(change))) {
      // Where nothing has changed, what the base has is handed on as it is: fresh memory costs as much as unpacking.
      const known = block.copy(mixed);
      block = mixed.fill(0, known).subarray(0, bytes);
      for (; change !== undefined && isMine(change); change = await pages.next())
        change.bytes.copy(block, (change.number - first) * pageSize);
    }
    sum.update(block);
    yield block;
  }
  // What is beyond the end of a database that has shrunk is not used, and has its checksum all the same.
  while ((await base.take(BLOCK_BYTES)).length > 0);
  /* oxlint-enable no-await-in-loop */
  const { sha256, crc32: crc } = sum.end();
  if (sums.crc32 === undefined ? sha256 !== sums.sha256 : crc !== sums.crc32)
    throw new Error("the full backup and the changed pages do not make the database that was copied");
}

class FileSum {
  readonly #sha: ReturnType<typeof createHash> | undefined;
  #crc = 0;

  /** SHA-256 takes three seconds for each GiB, and the other a tenth of that. */
  constructor(both: boolean) {
    this.#sha = both ? createHash("sha256") : undefined;
  }

  update(block: Uint8Array): void {
    this.#sha?.update(block);
    this.#crc = crc32(block, this.#crc);
  }

  /** The first is empty unless it was wanted. */
  end(): { readonly sha256: string; readonly crc32: number } {
    return { sha256: this.#sha?.digest("hex") ?? "", crc32: this.#crc };
  }
}

class PageReader {
  readonly #bytes: ByteReader;
  #header: PageHeader = { pageSize: 0, pageCount: 0 };
  #left = 0;
  #last = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#bytes = new ByteReader(stream);
  }

  async begin(): Promise<PageHeader> {
    const header = await this.#bytes.take(HEADER_BYTES);
    if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC))
      throw new Error("it does not begin as a stream of pages does");
    const [pageSize = 0, pageCount = 0, left = 0] = [0, 1, 2].map((index) =>
      header.readUInt32LE(MAGIC.length + index * NUMBER_BYTES),
    );
    if (pageSize < 512 || pageSize > MAX_PAGE_BYTES || (pageSize & (pageSize - 1)) !== 0)
      throw new Error(`its pages have ${pageSize} bytes`);
    this.#left = left;
    this.#header = { pageSize, pageCount };
    return this.#header;
  }

  /** The next page; `undefined` after the last. */
  async next(): Promise<{ readonly number: number; readonly bytes: Buffer } | undefined> {
    if (this.#left === 0) {
      if ((await this.#bytes.take(1)).length > 0) throw new Error("it goes on after its last page");
      return undefined;
    }
    const record = await this.#bytes.take(NUMBER_BYTES + this.#header.pageSize);
    if (record.length < NUMBER_BYTES + this.#header.pageSize) throw new Error(`${this.#left} of its pages are missing`);
    const number = record.readUInt32LE();
    if (number <= this.#last || number > this.#header.pageCount) throw new Error(`page ${number} is not in order`);
    this.#last = number;
    this.#left -= 1;
    return { number, bytes: record.subarray(NUMBER_BYTES) };
  }
}

/** Bytes of a stream by the number. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#source = stream[Symbol.asyncIterator]();
  }

  /** So many bytes, or what is left at the end. */
  async take(bytes: number): Promise<Buffer> {
    const pieces = this.#rest.length === 0 ? [] : [this.#rest];
    let have = this.#rest.length;
    while (have < bytes) {
      // One after the other: it is one stream.
      // oxlint-disable-next-line no-await-in-loop
      const { value, done } = await this.#source.next();
      if (done === true) break;
      pieces.push(Buffer.from(value.buffer, value.byteOffset, value.length));
      have += value.length;
    }
    const [first = Buffer.alloc(0)] = pieces;
    const all = pieces.length > 1 ? Buffer.concat(pieces) : first;
    this.#rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  }
}

function hashOf(block: Uint8Array, at: number, pageSize: number): bigint {
  return Bun.hash.xxHash64(block.subarray(at, at + pageSize));
}

/** In two buffers by turns, since the collector is slower than a loop over the whole database. */
function* readBlocks(path: string): Generator<Uint8Array<ArrayBuffer>> {
  let block = new Uint8Array(BLOCK_BYTES);
  let other = new Uint8Array(BLOCK_BYTES);
  const fd = openSync(path, "r");
  try {
    for (;;) {
      let filled = 0;
      for (let got = -1; got !== 0 && filled < block.length; filled += got)
        got = readSync(fd, block, filled, block.length - filled, null);
      if (filled === 0) return;
      yield block.subarray(0, filled);
      [block, other] = [other, block];
    }
  } finally {
    closeSync(fd);
  }
}
