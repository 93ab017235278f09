/** Pruning and checking what is stored: only what no rule keeps goes, and nothing is believed that was not proven. */
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { openReading } from "../../../src/actions/backup/reading.ts";
import { pruneBackups } from "../../../src/actions/backup/prune.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { provenLevel } from "../../../src/core/backup-manifest.ts";
import type { Retention } from "../../../src/core/backup-retention.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { holdFolder } from "../../../src/platform/folder-hold.ts";
import { Rig } from "./rig.ts";

/** Keeps the newest backup only. */
const STRICT: Retention = { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };

async function rigWith(count: number): Promise<Rig> {
  const rig = new Rig();
  rig.fill(20).close();
  for (let n = 0; n < count; n += 1) expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  return rig;
}

function ask(): { lines: BackupLine[]; io: { write: (line: BackupLine) => void; clock: typeof systemClock } } {
  const lines: BackupLine[] = [];
  return { lines, io: { write: (line) => void lines.push(line), clock: systemClock } };
}

const common = (rig: Rig) => ({ version: 1, target: rig.sqlite, store: "local", folder: rig.store }) as const;

test("pruneBackups() says of each backup what happens to it, and with dryRun does nothing", async () => {
  using rig = await rigWith(3);
  const { lines, io } = ask();
  const job = { ...common(rig), retention: STRICT, force: true, dryRun: true };
  expect(await pruneBackups(job, io)).toBe(0);
  expect(lines).toMatchObject([{ keep: true }, { keep: false }, { keep: false }]);
  expect(rig.repository().list().backups).toHaveLength(3);
  expect(await pruneBackups({ ...job, dryRun: false }, io)).toBe(0);
  expect(rig.repository().list().backups).toHaveLength(1);
});

test("pruneBackups() leaves a backup that is being restored or exported, and takes it once that is over", async () => {
  using rig = await rigWith(3);
  const oldest = rig.repository().list().backups[0];
  const { lines, io } = ask();
  const job = { ...common(rig), retention: STRICT, force: true, dryRun: false };
  const letGo = holdFolder(oldest?.folder ?? "");
  await pruneBackups({ ...job, dryRun: true }, io);
  expect(lines).toContainEqual(expect.objectContaining({ id: oldest?.id, keep: true, reason: "in use" }));
  await pruneBackups(job, io);
  const ids = (): readonly string[] =>
    rig
      .repository()
      .list()
      .backups.map(({ id }) => id);
  expect(ids()).toEqual([oldest?.id, expect.any(String)]);
  letGo?.();
  await pruneBackups(job, io);
  expect(ids()).not.toContain(oldest?.id);
});

test("openReading() keeps what it reads from being pruned", async () => {
  using rig = await rigWith(2);
  const [oldest] = rig.repository().list().backups;
  openReading({ kind: "backup", folder: rig.store, id: oldest?.id ?? "" }, rig.sqlite.name, {});
  await pruneBackups({ ...common(rig), retention: STRICT, force: true, dryRun: false }, ask().io);
  expect(rig.repository().list().backups).toHaveLength(2);
});

test("pruneBackups() refuses to take more than half of them without force", async () => {
  using rig = await rigWith(5);
  const { lines, io } = ask();
  const job = { ...common(rig), retention: STRICT, force: false, dryRun: false };
  expect(await pruneBackups(job, io)).toBe(5);
  expect(lines).toMatchObject([{ kind: "failed", stage: "prune" }]);
  expect(rig.repository().list().backups).toHaveLength(5);
});

test.each<[string, (folder: string) => void]>([
  ["a flipped bit", (folder) => flip(join(folder, "data.000"))],
  ["a truncated part", (folder) => truncateSync(join(folder, "data.000"), 100)],
  ["a missing part", (folder) => rmSync(join(folder, "data.000"))],
  ["a changed manifest", (folder) => flip(join(folder, "manifest.json"))],
  ["a missing checksum of the manifest", (folder) => rmSync(join(folder, "manifest.sha256"))],
])("checkBackups() finds %s at L0, and the backup is not proven any more", async (_, harm) => {
  using rig = await rigWith(1);
  harm(rig.stored().folder);
  const { lines, io } = ask();
  expect(await checkBackups({ ...common(rig), level: "L0", ids: [] }, io)).toBe(4);
  expect(lines).toMatchObject([{ kind: "verified", ok: false }]);
  expect(
    rig
      .repository()
      .list()
      .backups.map(({ state }) => provenLevel(state)),
  ).not.toContain("L1");
});

test("checkBackups() sets a damaged state.json aside and believes nothing of it", async () => {
  using rig = await rigWith(1);
  const { folder } = rig.stored();
  writeFileSync(join(folder, "state.json"), "{");
  const { io } = ask();
  expect(provenLevel(rig.stored().state)).toBe(undefined);
  expect(existsSync(join(folder, "state.json"))).toBe(false);
  expect(await checkBackups({ ...common(rig), level: "L2", ids: [] }, io)).toBe(0);
  expect(provenLevel(rig.stored().state)).toBe("L2");
});

function flip(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  writeFileSync(path, bytes);
}
