/** The checksum of a raw stream: what the standard tool computes, and what a changed byte behind right parts is found by. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeStream, drain } from "../../../src/actions/backup/encode.ts";
import { readPart } from "../../../src/actions/backup/repository.ts";
import { openWideSum } from "../../../src/actions/backup/wide-sum.ts";
import { manifestSchema, type Manifest } from "../../../src/core/backup-manifest.ts";
import { Rig } from "./rig.ts";

test("openWideSum() is the runtime's XXH64 of all bytes, however they are cut, also of two streams at once", async () => {
  const [one, other] = [await openWideSum(), await openWideSum()];
  one?.add(Buffer.from("ab"));
  other?.add(Buffer.from("other"));
  one?.add(Buffer.from("c"));
  // Of the xxHash repository's own tool.
  expect([one?.end(), other?.end()]).toEqual(["44bc2cf5ad770999", hexOf(Buffer.from("other"))]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), async (pieces) => {
      const sum = await openWideSum();
      for (const piece of pieces) sum?.add(piece);
      expect(sum?.end()).toBe(hexOf(Buffer.concat(pieces)));
    }),
  );
});

function hexOf(bytes: Uint8Array): string {
  return Bun.hash.xxHash64(bytes).toString(16).padStart(16, "0");
}

const OTHER = "0123456789abcdef";
test.each<[string, (raw: Manifest["raw"]) => Manifest["raw"], string | undefined]>([
  ["both checksums", (raw) => raw, undefined],
  ["a CRC-32 alone, of an older release", ({ name, bytes, crc32 }) => ({ name, bytes, crc32 }), undefined],
  ["an XXH64 alone", ({ name, bytes, xxh64 }) => ({ name, bytes, xxh64 }), undefined],
  ["another XXH64", (raw) => ({ ...raw, xxh64: OTHER }), "it unpacks to other bytes than were packed"],
  [
    "another CRC-32 alone",
    ({ name, bytes, crc32 = 0 }) => ({ name, bytes, crc32: crc32 ^ 1 }),
    "it unpacks to other bytes than were packed",
  ],
])("decodeStream() of a backup with %s", async (_, change, fault) => {
  using rig = new Rig();
  rig.fill(50).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  const { manifest, folder } = rig.stored();
  const changed = manifestSchema.parse({ ...manifest, raw: change(manifest.raw) });
  const raw = decodeStream(changed, { read: readPart.bind(undefined, folder), identity: undefined });
  expect(
    await drain(raw).then(
      () => undefined,
      (cause: unknown) => (cause instanceof Error ? cause.message : cause),
    ),
  ).toBe(fault);
});

test("manifestSchema refuses a backup without any checksum of its stream", async () => {
  using rig = new Rig();
  rig.fill(5).close();
  await rig.backUp(rig.job(rig.sqlite));
  const { manifest } = rig.stored();
  const { name, bytes } = manifest.raw;
  expect(manifestSchema.safeParse({ ...manifest, raw: { name, bytes } }).success).toBe(false);
});
