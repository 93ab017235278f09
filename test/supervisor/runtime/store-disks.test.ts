/** The room of the stores' disks: asked without waiting for one that hangs, and said once when it is short. */
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import type { DiskRoom } from "../../../src/core/backup-room.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { diskSpace } from "../../../src/platform/machine.ts";
import { StoreDisks } from "../../../src/supervisor/runtime/store-disks.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const GIB = 1_024 ** 3;
/** Its reserve is 5 GiB. */
const disk = (freeBytes: number, freeFiles = 100_000): DiskRoom => ({
  totalBytes: 100 * GIB,
  freeBytes,
  totalFiles: 1_000_000,
  freeFiles,
});
const local = { target: "state", store: "local", folder: "/local/state" };
const second = { target: "conf", store: "local", folder: "/local/conf" };
const other = { target: "state", store: "other", folder: "/other/state" };

/** Disks that answer what `answers` holds then, if anything. */
function rig(answers: Map<string, Promise<DiskRoom | undefined>>, ...folders: (typeof local)[]) {
  const clock = new FakeClock();
  const said: string[] = [];
  const asked: string[] = [];
  const disks = new StoreDisks({
    clock,
    say: (level, text) => void said.push(`${level}: ${text}`),
    ask: (folder) => {
      asked.push(folder);
      return answers.get(folder) ?? Promise.resolve(undefined);
    },
  });
  disks.adopt(folders);
  /** A minute later. */
  const watch = async (room: DiskRoom | undefined): Promise<void> => {
    clock.advance(60_000);
    answers.set(local.folder, Promise.resolve(room));
    await disks.watch();
  };
  return { clock, said, asked, disks, watch };
}

test("StoreDisks.watch() says once that a disk is short, and once that it has room, by a margin", async () => {
  const { said, watch } = rig(new Map(), local);
  for (const free of [6 * GIB, 4 * GIB, 4 * GIB, 5.2 * GIB, 4 * GIB, 6 * GIB, 6 * GIB])
    // Safe: one look after the other.
    // oxlint-disable-next-line no-await-in-loop
    await watch(disk(free));
  expect(said).toEqual([
    "alert: the disk of the store local (/local/state) has 4.0 GiB free, less than the reserve of 5.0 GiB: make room before a backup is refused",
    "info: the disk of the store local (/local/state) has 6.0 GiB free again, enough for the reserve of 5.0 GiB",
  ]);
});

test("StoreDisks.watch() says of inodes, too, and nothing of a disk that is not there", async () => {
  const { said, watch } = rig(new Map(), local);
  await watch(undefined);
  await watch(disk(50 * GIB, 10));
  await watch(undefined);
  expect(said).toEqual([expect.stringMatching(/^alert: .* has inodes for 10 more files, less than 1000 that backups/)]);
});

test("StoreDisks.watch() speaks of a store once, however many targets it has", async () => {
  const answers = new Map([[second.folder, Promise.resolve(disk(GIB))]]);
  const { said, watch } = rig(answers, local, second);
  await watch(disk(GIB));
  expect(said.length).toBe(1);
});

test("StoreDisks.look() goes on without a disk that hangs, and asks it no second time", async () => {
  const hanging = Promise.withResolvers<DiskRoom>();
  const answers = new Map([
    [local.folder, hanging.promise],
    [other.folder, Promise.resolve(disk(7 * GIB))],
  ]);
  const { clock, disks, asked } = rig(answers, local, other);
  const looks = [disks.look(), disks.look()];
  clock.advance(250);
  await Promise.all(looks);
  expect([disks.of(local), disks.of(other)?.freeBytes]).toEqual([undefined, 7 * GIB]);
  expect(asked.filter((folder) => folder === local.folder).length).toBe(1);
  hanging.resolve(disk(8 * GIB));
  await disks.look();
  expect(disks.of(local)?.freeBytes).toBe(8 * GIB);
});

test("StoreDisks.of() forgets what is old, and what the config names no more", async () => {
  const { clock, disks, watch } = rig(new Map(), local);
  await watch(disk(GIB));
  expect([disks.of(local)?.freeBytes, disks.of(other)]).toEqual([GIB, undefined]);
  clock.advance(180_001);
  expect(disks.of(local)).toBeUndefined();
  await watch(disk(GIB));
  disks.adopt([]);
  expect(disks.of(local)).toBeUndefined();
});

test("StoreDisks.look() asks the kernel", async () => {
  const disks = new StoreDisks({ clock: systemClock, say: () => undefined });
  disks.adopt([{ ...local, folder: tmpdir() }]);
  await disks.look();
  expect(disks.of(local)?.totalBytes).toBe(diskSpace(tmpdir()).totalBytes);
});
