/** What a disk must have for a backup: room beside its reserve, in bytes and in files. */
import { expect, test } from "vitest";
import {
  filesOfBackup,
  isShort,
  lackOf,
  PART_BYTES,
  reserveBytes,
  reserveFiles,
  type DiskRoom,
} from "../../src/core/backup-room.ts";
import { bytesUnpacked, filesUnpacked } from "../../src/core/backup-unpacked.ts";

const GIB = 1_024 ** 3;
/** A reserve of 5 GiB and of 1 000 inodes. */
const disk = (more: Partial<DiskRoom> = {}): DiskRoom => ({
  totalBytes: 100 * GIB,
  freeBytes: 50 * GIB,
  totalFiles: 1_000_000,
  freeFiles: 5_000,
  ...more,
});

test.each([
  ["neither", { bytes: 45 * GIB, files: 4_000 }, 1, {}, undefined],
  ["bytes by one", { bytes: 45 * GIB + 1, files: 0 }, 1, {}, "bytes"],
  ["files by one", { bytes: 0, files: 4_001 }, 1, {}, "files"],
  ["neither of half the reserve", { bytes: 47.5 * GIB, files: 4_500 }, 0.5, {}, undefined],
  ["bytes of half the reserve", { bytes: 47.5 * GIB + 1, files: 0 }, 0.5, {}, "bytes"],
  ["files of half the reserve", { bytes: 0, files: 4_501 }, 0.5, {}, "files"],
  ["all inodes", { bytes: 0, files: 0 }, 1, { freeFiles: 0 }, "files"],
  [
    "nothing that btrfs counts",
    { bytes: 0, files: 1_000_000 },
    1,
    { totalFiles: undefined, freeFiles: undefined },
    undefined,
  ],
  ["nothing that is not counted", { bytes: GIB, files: 0 }, 1, { totalBytes: 0, freeBytes: 0 }, undefined],
] as const)("lackOf() says that the disk lacks %s", (_, wanted, share, more, lack) => {
  expect(lackOf(disk(more), wanted, share)).toBe(lack);
});

const free = (gib: number) => disk({ freeBytes: gib * GIB });

test("isShort() is so below the reserve, until there is a tenth of it more", () => {
  expect([isShort(free(5), false), isShort(free(4.9), false)]).toEqual([false, true]);
  expect([isShort(free(5.4), true), isShort(free(5.5), true)]).toEqual([true, false]);
});

test("reserveFiles() and reserveBytes() leave a small disk usable", () => {
  expect([reserveFiles(1_000_000), reserveFiles(1_000)]).toEqual([1_000, 50]);
  expect([reserveBytes(100 * GIB), reserveBytes(10 * GIB), reserveBytes(GIB)]).toEqual([5 * GIB, GIB, 214_748_364]);
});

test("filesOfBackup() and filesUnpacked() count a part for each 64 MiB and what is unpacked of each kind", () => {
  expect(filesOfBackup(2 * PART_BYTES + 1) - filesOfBackup(0)).toBe(3);
  expect(filesUnpacked({ kind: "full", content: { files: 500 } }) - filesUnpacked({})).toBe(1_000);
  expect(filesUnpacked({ kind: "base", content: {} })).toBeGreaterThan(1_000);
  expect(filesUnpacked({ kind: "full", type: "postgres", content: { tables: { orders: 1 } } })).toBeGreaterThan(1_000);
});

const MIB = 1_024 ** 2;
const raw = { name: "x", bytes: 10 * MIB, crc32: 0 };
const engine = { name: "x", version: "15" };
const elsewhere = {
  stanza: "main",
  label: "20260101-000000F",
  type: "full",
  databaseBytes: 7 * GIB,
  repositoryBytes: GIB,
};

test.each([
  ["a whole database", { kind: "full", type: "sqlite", raw, engine }, 10 * MIB],
  [
    "the whole of a difference",
    { kind: "delta", type: "sqlite", raw, engine: { ...engine, pageSize: 4_096, pageCount: 262_144 } },
    GIB,
  ],
  [
    "a server with its log for a dump",
    { kind: "full", type: "postgres", raw, engine: { ...engine, bytes: 4 * GIB } },
    5 * GIB + 64 * MIB,
  ],
  ["what a base is", { kind: "base", type: "postgres", raw, engine }, 10 * MIB],
  [
    "what another program keeps",
    { kind: "base", type: "postgres", raw, engine: { ...engine, pgbackrest: elsewhere } },
    7 * GIB,
  ],
] as const)("bytesUnpacked() is the size of %s", (_, manifest, bytes) => {
  expect(bytesUnpacked(manifest)).toBe(bytes);
});
