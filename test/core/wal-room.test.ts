/** Whether received WAL may go on filling its disk: below the reserve with an alert, never to the end. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { reserveBytes, type DiskRoom } from "../../src/core/backup-room.ts";
import { judgeWalRoom, segmentsUntilFull, walFloorBytes, type WalRoom } from "../../src/core/wal-room.ts";

const MIB = 1_024 ** 2;
const GIB = 1_024 ** 3;
const SEGMENT = 16 * MIB;
/** A reserve of 5 GiB and 1 000 inodes; WAL stops before 512 MiB and 500. */
const disk = (freeBytes: number, freeFiles = 100_000): DiskRoom => ({
  totalBytes: 100 * GIB,
  freeBytes,
  totalFiles: 1_000_000,
  freeFiles,
});
const FULL = 512 * MIB;
const LOW = 5 * GIB;

test.each<readonly [string, DiskRoom, WalRoom, WalRoom]>([
  ["enough as backups have it", disk(LOW + 2 * SEGMENT), "enough", "enough"],
  ["low with less than their reserve", disk(LOW + 2 * SEGMENT - 1), "enough", "low"],
  ["low far below it", disk(FULL + 2 * SEGMENT), "low", "low"],
  ["full before the last bytes", disk(FULL + 2 * SEGMENT - 1), "low", "full"],
  ["full until some segments have room again", disk(FULL + 4 * SEGMENT - 1), "full", "full"],
  ["low again with room for them", disk(FULL + 4 * SEGMENT), "full", "low"],
  ["low until the reserve has room for some", disk(LOW + 4 * SEGMENT - 1), "low", "low"],
  ["enough again", disk(LOW + 4 * SEGMENT), "low", "enough"],
  ["low with few inodes", disk(50 * GIB, 1_005), "enough", "low"],
  ["full without inodes", disk(50 * GIB, 505), "enough", "full"],
  [
    "enough where nothing is counted",
    { totalBytes: 0, freeBytes: 0, totalFiles: undefined, freeFiles: undefined },
    "enough",
    "enough",
  ],
])("judgeWalRoom() says %s", (_, room, before, judged) => {
  expect(judgeWalRoom(room, SEGMENT, before)).toBe(judged);
});

test("judgeWalRoom() is low before it is full, and settles at once, on a disk of any size", () => {
  const order: readonly WalRoom[] = ["full", "low", "enough"];
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4_096 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom(...order),
      (gib, share, before) => {
        const totalBytes = gib * GIB;
        const room = { ...disk(Math.floor(totalBytes * share)), totalBytes };
        const judged = judgeWalRoom(room, SEGMENT, before);
        expect(judgeWalRoom(room, SEGMENT, judged)).toBe(judged);
        const better = judgeWalRoom({ ...room, freeBytes: room.freeBytes + 1 }, SEGMENT, before);
        expect(order.indexOf(better)).toBeGreaterThanOrEqual(order.indexOf(judged));
        expect(walFloorBytes(totalBytes)).toBeLessThan(reserveBytes(totalBytes));
      },
    ),
  );
});

test("segmentsUntilFull() says how many come before it is full, never none, and nothing where nothing is counted", () => {
  expect(segmentsUntilFull(disk(FULL + 12 * SEGMENT), SEGMENT)).toBe(10);
  expect(segmentsUntilFull(disk(50 * GIB, 500 + 12 * 3), SEGMENT)).toBe(10);
  expect([0, FULL, FULL + 2 * SEGMENT].map((free) => segmentsUntilFull(disk(free), SEGMENT))).toEqual([1, 1, 1]);
  expect(segmentsUntilFull({ ...disk(0), totalBytes: 0 }, SEGMENT)).toBeUndefined();
});
