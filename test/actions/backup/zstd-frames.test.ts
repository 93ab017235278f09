/** Unpacking frame by frame, beside the zstd program and a stream of the runtime. */
import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { decompressed } from "../../../src/actions/backup/encode.ts";

const MIB = 1_024 ** 2;

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unpack(bytes: Uint8Array, size = MIB): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompressed(inPieces(bytes, size), "zstd")) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Bytes that pack to about half. */
function sample(bytes: number): Uint8Array<ArrayBuffer> {
  const text = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(text.subarray(at, at + 32_768));
  return text;
}

const packed = (...frames: readonly Uint8Array<ArrayBuffer>[]): Buffer =>
  Buffer.concat(frames.map((frame) => Bun.zstdCompressSync(frame, { level: 1 })));

describe("decompressed()", () => {
  test("gives back frames of any size, cut anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 3_000 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 700 }),
        async (frames, size) => {
          const raw = frames.map((frame) => Uint8Array.from(frame));
          expect(await unpack(packed(...raw), size)).toEqual(Buffer.concat(raw));
        },
      ),
    );
  });

  test.each([
    ["larger than is unpacked at once", 20 * MIB],
    ["of nothing", 0],
  ])("gives back one frame that is %s", async (_, bytes) => {
    const raw = sample(bytes);
    expect((await unpack(packed(raw))).equals(raw)).toBe(true);
  });

  test("gives back what the zstd program packs without knowing the size, after a frame of ours", async () => {
    const raw = sample(MIB);
    const child = Bun.spawn(["zstd", "-c"], { stdio: [new Blob([raw]).stream(), "pipe", "ignore"] });
    const others = Buffer.from(await new Response(child.stdout).arrayBuffer());
    expect((await unpack(Buffer.concat([packed(raw), others]))).equals(Buffer.concat([raw, raw]))).toBe(true);
  });

  test.each([
    ["ours", () => packed(sample(100_000), sample(100_000))],
    ["the zstd program's", () => Bun.spawnSync(["zstd", "-c"], { stdin: sample(200_000) }).stdout],
  ])("throws for a stream of %s that is cut off anywhere, or goes on as no frame", async (_, pack) => {
    const whole = pack();
    const some = fc.integer({ min: 1, max: whole.length - 1 });
    await fc.assert(
      fc.asyncProperty(some, async (length) => {
        await expect(unpack(whole.subarray(0, length), 10_000)).rejects.toThrow(/cut off|rror|nexpected/);
      }),
      { numRuns: 30 },
    );
    await expect(unpack(Buffer.concat([whole, Buffer.from("and more")]))).rejects.toThrow("goes on as none");
  });
});
