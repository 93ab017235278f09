/** Redis' dump format as far as it proves a dump whole: its first bytes, its end mark, and the checksum of everything before (rdb.h, crc64.c). */

const MAGIC = /^REDIS(\d{4})$/;
const MAGIC_BYTES = 9;
/** Dumps have a checksum since this version of the format (Redis 2.6). */
const MIN_VERSION = 5;
/** Opcode of the end. */
const EOF = 0xff;
/** CRC-64 of the bytes before, little-endian; zero when the server was told to write none. */
const SUM_BYTES = 8;

/** Jones' polynomial, reflected, in two halves: a table of bigints is ten times slower. */
const POLYNOMIAL_HIGH = 0x95ac9329;
const POLYNOMIAL_LOW = 0xac4bc9b5;
const { tableHigh, tableLow } = tables();

/** CRC-64/Jones of what was added, as Redis computes it: no inversion at either end. */
export class Crc64 {
  #high = 0;
  #low = 0;

  add(bytes: Uint8Array): void {
    let high = this.#high;
    let low = this.#low;
    // By index: an iterator over bytes takes several times as long.
    for (let at = 0; at < bytes.length; at += 1) {
      const index = (low ^ (bytes[at] ?? 0)) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ (tableLow[index] ?? 0);
      high = (high >>> 8) ^ (tableHigh[index] ?? 0);
    }
    this.#high = high;
    this.#low = low;
  }

  get value(): bigint {
    return (BigInt(this.#high >>> 0) << 32n) | BigInt(this.#low >>> 0);
  }
}

/** Looks at a dump as it goes by. */
export class DumpCheck {
  readonly #sum = new Crc64();
  #head = Buffer.alloc(0);
  // The last nine bytes so far: the end mark and the checksum, of which the checksum is not part of the sum.
  #tail = Buffer.alloc(0);
  #last = 0;

  add(chunk: Uint8Array): void {
    if (this.#head.length < MAGIC_BYTES)
      this.#head = Buffer.concat([this.#head, chunk.subarray(0, MAGIC_BYTES - this.#head.length)]);
    const bytes = Buffer.concat([this.#tail, chunk]);
    const summed = bytes.subarray(0, Math.max(0, bytes.length - SUM_BYTES));
    this.#sum.add(summed);
    this.#last = summed.at(-1) ?? this.#last;
    this.#tail = bytes.subarray(summed.length);
  }

  /** Throws unless all of it was a whole dump. */
  end(): void {
    const version = MAGIC.exec(this.#head.toString("latin1"))?.[1];
    if (version === undefined) throw new Error("it does not begin as a dump of Redis does");
    if (Number(version) < MIN_VERSION) throw new Error(`it has version ${version}, which has no checksum`);
    if (this.#tail.length < SUM_BYTES || this.#last !== EOF) throw new Error("it does not end as a dump of Redis does");
    const stored = this.#tail.readBigUInt64LE();
    if (stored !== 0n && stored !== this.#sum.value)
      throw new Error("it has another checksum than when Redis wrote it");
  }
}

/** Hands a dump on, and throws at its end unless it is whole. */
export async function* checkedDump(raw: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const check = new DumpCheck();
  for await (const chunk of raw) {
    check.add(chunk);
    yield chunk;
  }
  check.end();
}

function tables(): { readonly tableHigh: Int32Array; readonly tableLow: Int32Array } {
  const found = { tableHigh: new Int32Array(256), tableLow: new Int32Array(256) };
  for (let byte = 0; byte < 256; byte += 1) {
    let high = 0;
    let low = byte;
    for (let bit = 0; bit < 8; bit += 1) {
      const odd = (low & 1) === 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (odd) {
        low ^= POLYNOMIAL_LOW;
        high ^= POLYNOMIAL_HIGH;
      }
    }
    found.tableHigh[byte] = high;
    found.tableLow[byte] = low;
  }
  return found;
}
