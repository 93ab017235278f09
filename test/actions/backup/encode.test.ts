/** What a stream is stored as, and that it is the same stream again: frames are compressed while others are read and written. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Part } from "../../../src/core/backup-manifest.ts";
import { decodeStream, storeStream, type StoreOptions } from "../../../src/actions/backup/encode.ts";

const FRAME_BYTES = 2 * 1_024 ** 2;

class Folder {
  readonly path = mkdtempSync(join(tmpdir(), "encode-"));

  options(compress: StoreOptions["compress"]): StoreOptions {
    const { signal } = new AbortController();
    return { folder: this.path, compress, recipients: [], signal, wide: true, onProgress: () => undefined };
  }

  async *read({ name }: Part): AsyncGenerator<Uint8Array> {
    yield readFileSync(join(this.path, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The bytes in uneven pieces, all in one buffer: each is gone when the next is asked for. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(999_983);
  for (let at = 0; at < bytes.length; at += buffer.length) {
    const piece = bytes.subarray(at, at + buffer.length);
    buffer.set(piece);
    yield buffer.subarray(0, piece.length);
    buffer.fill(0xee);
  }
}

/** Every frame packs well and differs from the others. */
function sample(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1_024) bytes.set(randomBytes(16), Math.min(at, Math.max(0, length - 16)));
  return bytes;
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield* pieces(sample(2 * FRAME_BYTES + 7));
  throw new Error("the source went away");
}

function refuse(): never {
  throw new Error("the disk is full");
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("storeStream()", () => {
  const lengths = [1_000, FRAME_BYTES, FRAME_BYTES + 1, 5 * FRAME_BYTES - 1];
  const cases = (["zstd", "gzip", "none"] as const).flatMap((codec) => lengths.map((length) => ({ codec, length })));

  test.each(cases)("gives $length bytes back that it packed by $codec", async ({ codec: compress, length }) => {
    using folder = new Folder();
    const bytes = sample(length);
    const { crc32, xxh64, parts, bytes: rawBytes } = await storeStream(pieces(bytes), folder.options(compress));
    expect(rawBytes).toBe(length);
    const hash = createHash("sha256");
    const raw = { name: "raw", bytes: length, crc32, ...(xxh64 === undefined ? {} : { xxh64 }) };
    const codec = { compress, encrypt: null, recipients: [] };
    const stream = decodeStream(
      { raw, codec, parts: [...parts] },
      { read: (part) => folder.read(part), identity: undefined },
    );
    for await (const chunk of stream) hash.update(chunk);
    expect(hash.digest("hex")).toBe(sha256(bytes));
  });

  test("fails as its source does, with frames under way", async () => {
    using folder = new Folder();
    await expect(storeStream(broken(), folder.options("zstd"))).rejects.toThrow("the source went away");
  });

  test("ends its source when nobody takes what it makes", async () => {
    using folder = new Folder();
    let ended = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield* pieces(sample(FRAME_BYTES));
      } finally {
        ended = true;
      }
    }
    const options = { ...folder.options("zstd"), onProgress: refuse };
    await expect(storeStream(endless(), options)).rejects.toThrow("the disk is full");
    expect(ended).toBe(true);
  });
});
