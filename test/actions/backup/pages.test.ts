/** Streams of pages: whatever happens to the pages, base and delta make the very file that was copied. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { differ, pageStream, parsePages, readHashed, rebuilt } from "../../../src/actions/backup/pages.ts";

const folder = mkdtempSync(join(tmpdir(), "pages-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PAGE = 512;

/** A file of pages, and what they hold by a number each. */
function write(name: string, contents: readonly number[], pageSize = PAGE) {
  const path = join(folder, name);
  const bytes = Buffer.alloc(contents.length * pageSize);
  for (const [index, content] of contents.entries()) bytes.writeUInt32LE(content, index * pageSize + 8);
  writeFileSync(path, bytes);
  return { path, pageSize, pageCount: contents.length };
}

/** Copies: a piece is gone when the next is asked for. */
async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** In pieces of an awkward size, as a decompressor hands them on. */
async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function tableOf(file: { path: string; pageSize: number; pageCount: number }) {
  const { blocks, hashes } = readHashed(file);
  await collect(blocks);
  return { pageSize: file.pageSize, pageCount: file.pageCount, hashes: hashes() ?? new Uint8Array() };
}

/** The rebuilt bytes; `undefined` when a delta is of no use. */
async function roundTrip(old: Awaited<ReturnType<typeof write>>, now: typeof old, piece = 1_000) {
  const base = readFileSync(old.path);
  const difference = differ(now, await tableOf(old));
  if (difference.kind === "tooMuch") return undefined;
  const delta = await collect(pageStream(now, difference.changed));
  return collect(rebuilt({ base: inPieces(base, piece), delta: inPieces(delta, piece), sums: difference.sums }));
}

const page = fc.integer({ min: 0, max: 3 });

test("rebuilt() makes the very file from any change, growth and shrinking", async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(page, { minLength: 1, maxLength: 40 }),
      fc.array(fc.tuple(fc.nat(60), page), { maxLength: 15 }),
      fc.nat(60),
      fc.integer({ min: 1, max: 1_500 }),
      async (before, changes, length, piece) => {
        const after = Array.from({ length: Math.max(1, length) }, (_, index) => before[index] ?? 0);
        for (const [at, content] of changes) if (at < after.length) after[at] = content;
        const now = write("now", after);
        const result = await roundTrip(write("old", before), now, piece);
        if (result !== undefined) compared += 1;
        expect(result?.equals(readFileSync(now.path)) ?? true).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
  expect(compared).toBeGreaterThan(20);
});

test("rebuilt() goes over blocks of a megabyte", async () => {
  const before = Array.from({ length: 700 }, (_, index) => index);
  const after = before.with(255, 1).with(256, 2).with(511, 3).with(512, 4).concat([9, 8, 7]);
  const now = write("now", after, 4_096);
  expect((await roundTrip(write("old", before, 4_096), now, 65_536))?.equals(readFileSync(now.path))).toBe(true);
});

test("rebuilt() refuses a base that is another one, pages that are missing, and what follows the last", async () => {
  const now = write("now", [1, 2, 3, 5]);
  const difference = differ(now, await tableOf(write("old", [1, 2, 3, 4])));
  if (difference.kind === "tooMuch") throw new Error("it is one page");
  const { changed, sums } = difference;
  expect(changed).toEqual([4]);
  const delta = await collect(pageStream(now, changed));
  const base = readFileSync(write("old", [1, 2, 3, 4]).path);
  const other = readFileSync(write("old", [1, 7, 3, 4]).path);
  const make = (from: Uint8Array, pages: Uint8Array, by = sums) =>
    collect(rebuilt({ base: inPieces(from, 100), delta: inPieces(pages, 100), sums: by }));
  await expect(make(base, delta)).resolves.toBeDefined();
  await expect(make(other, delta)).rejects.toThrow("do not make the database");
  // Of a backup whose manifest has no CRC yet.
  const old = { sha256: sums.sha256, crc32: undefined };
  await expect(make(base, delta, old)).resolves.toBeDefined();
  await expect(make(other, delta, old)).rejects.toThrow("do not make the database");
  await expect(make(base, delta.subarray(0, -1))).rejects.toThrow("are missing");
  await expect(make(base, Buffer.concat([delta, Buffer.of(0)]))).rejects.toThrow("goes on");
  await expect(parsePages(inPieces(Buffer.from("no pages"), 3))).rejects.toThrow("does not begin");
});
