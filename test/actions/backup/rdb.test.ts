/** Dumps of Redis by their own checksum, without any program of Redis. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkedDump, Crc64 } from "../../../src/actions/backup/rdb.ts";

test("Crc64 of the digits is the value that Redis' own test has, whatever the pieces", () => {
  for (const pieces of [["123456789"], ["1", "2345678", "9"], ["", "123456789", ""]]) {
    const sum = new Crc64();
    for (const piece of pieces) sum.add(Buffer.from(piece));
    expect(sum.value).toBe(0xe9c6d914c4b8d9can);
  }
});

function dump(body: Uint8Array, version = "0010"): Buffer {
  const bytes = Buffer.concat([Buffer.from(`REDIS${version}`), body, Buffer.of(0xff)]);
  const sum = new Crc64();
  sum.add(bytes);
  const end = Buffer.alloc(8);
  end.writeBigUInt64LE(sum.value);
  return Buffer.concat([bytes, end]);
}

async function read(bytes: Buffer, size: number): Promise<Buffer> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const found: Uint8Array[] = [];
  for await (const piece of checkedDump(pieces())) found.push(piece);
  return Buffer.concat(found);
}

test("checkedDump() hands a whole dump on and finds every flipped bit and every truncation", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 60 }),
      fc.integer({ min: 1, max: 30 }),
      fc.nat(),
      fc.nat(7),
      async (body, size, at, bit) => {
        const whole = dump(body);
        expect(await read(whole, size)).toEqual(whole);
        const flipped = Buffer.from(whole);
        const place = at % whole.length;
        flipped[place] = (flipped[place] ?? 0) ^ (1 << bit);
        await expect(read(flipped, size)).rejects.toThrow("it ");
        await expect(read(whole.subarray(0, at % whole.length), size)).rejects.toThrow("it ");
      },
    ),
    { numRuns: 100 },
  );
});

test("checkedDump() takes a dump without checksum, and none of another format", async () => {
  const bytes = dump(Buffer.from("x"));
  bytes.fill(0, bytes.length - 8);
  expect(await read(bytes, 4)).toEqual(bytes);
  await expect(read(dump(Buffer.from("x"), "0003"), 4)).rejects.toThrow("no checksum");
  await expect(read(Buffer.from("SQLite format 3, not Redis"), 4)).rejects.toThrow("does not begin");
});
