/** What a stream is stored as, and that it is the same stream again: frames are compressed while others are read and written. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import type { Part } from "../../../src/core/backup-manifest.ts";
import { decodeStream, FRAME_BYTES, storeStream, type StoreOptions } from "../../../src/actions/backup/encode.ts";

const identity = await generateX25519Identity();

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

/** The bytes as frames in two buffers by turns: each is gone when the one after the next is asked for. */
async function* byTurns(bytes: Uint8Array): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const buffers = [new Uint8Array(FRAME_BYTES), new Uint8Array(FRAME_BYTES)] as const;
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    const buffer = buffers[(at / FRAME_BYTES) % 2 === 0 ? 0 : 1];
    buffer.fill(0xee);
    const frame = bytes.subarray(at, at + FRAME_BYTES);
    buffer.set(frame);
    yield buffer.subarray(0, frame.length);
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
  const cases = (["zstd", "gzip", "none"] as const).flatMap((codec) =>
    lengths.flatMap((length) =>
      (["pieces", "frames"] as const).flatMap((comesIn) =>
        (["plain", "encrypted"] as const).map((kept) => ({ codec, length, comesIn, kept })),
      ),
    ),
  );

  test.each(cases)("gives $length bytes back that came in $comesIn, packed by $codec, $kept", async (each) => {
    using folder = new Folder();
    const { codec: compress, length, comesIn, kept } = each;
    const recipients = kept === "encrypted" ? [await identityToRecipient(identity)] : [];
    const bytes = sample(length);
    const source = comesIn === "frames" ? { frames: byTurns(bytes) } : pieces(bytes);
    const {
      crc32,
      xxh64,
      parts,
      bytes: rawBytes,
    } = await storeStream(source, {
      ...folder.options(compress),
      recipients,
    });
    expect(rawBytes).toBe(length);
    const hash = createHash("sha256");
    const raw = { name: "raw", bytes: length, crc32, ...(xxh64 === undefined ? {} : { xxh64 }) };
    const codec = { compress, encrypt: kept === "encrypted" ? ("age" as const) : null, recipients };
    const stream = decodeStream({ raw, codec, parts: [...parts] }, { read: (part) => folder.read(part), identity });
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
