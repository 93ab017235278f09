/** The journal of restores on disk: what holds bots back, what is swept, and what is never guessed. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  heldText,
  openRestoreOf,
  deleteKept,
  settleRestores,
  type OpenRestore,
} from "../../../src/actions/backup/restore-journal.ts";
import { formatOf } from "../../../src/core/restore-job.ts";
import { settlementOf, swapMoves } from "../../../src/core/restore-journal.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { query, RestoreRig } from "./restore-rig.ts";

const DAY_MS = 86_400_000;

const later = (days: number) => ({
  ...systemClock,
  wallTime: () => new Date(systemClock.wallTime().getTime() + days * DAY_MS),
});

test("deleteKept() deletes what was moved aside after 7 days, and not before", async () => {
  using rig = new RestoreRig();
  rig.fill(10).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  expect(await rig.restore(rig.restoreJob(rig.sqlite))).toBe(0);
  const [aside = ""] = rig.traces;
  await deleteKept(rig.stateDir, later(6).wallTime());
  expect(existsSync(join(rig.folder, aside))).toBe(true);
  await deleteKept(rig.stateDir, later(8).wallTime());
  expect(rig.traces).toEqual([]);
  expect(query(rig.database, "SELECT count(*) FROM orders")).toBe("10");
});

test("openRestoreOf() holds the bots of an open restore, and every bot when its journal cannot be read", async () => {
  using rig = new RestoreRig();
  rig.fill(10).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  expect(openRestoreOf(rig.stateDir, "momentum")).toBe(undefined);
  const { id: backup } = rig.stored();
  const job = rig.restoreJob(rig.sqlite, { bots: ["momentum"] });
  const held: (OpenRestore | undefined)[] = [];
  const onStep = (step: string): void => {
    if (step === "swapped") held.push(openRestoreOf(rig.stateDir, "momentum"), openRestoreOf(rig.stateDir, "other"));
  };
  expect(await rig.restore(job, { onStep })).toBe(0);
  const known = { backup, since: expect.any(String), stopped: false };
  expect(held).toEqual([{ target: "state", known }, undefined]);
  const [open] = held;
  expect(open && heldText(open)).toContain(
    `a restore of state has not ended (it began ${open?.known?.since}, from ${backup})`,
  );
  const folder = join(rig.stateDir, "backups", "restores");
  writeFileSync(join(folder, "state.restore.json"), "{");
  expect(openRestoreOf(rig.stateDir, "other")).toEqual({ target: "state", known: undefined });
  expect(settleRestores(rig.stateDir, systemClock)).toMatchObject([{ outcome: "failed", bots: undefined }]);
  expect(readdirSync(folder)).toContain("state.restore.json");
});

test("settleRestores() has nothing to do without a state folder", () => {
  using rig = new RestoreRig();
  expect(settleRestores(join(rig.folder, "nowhere"), systemClock)).toEqual([]);
  mkdirSync(rig.stateDir);
  expect(settleRestores(rig.stateDir, systemClock)).toEqual([]);
});

test("swapMoves() moves the old file and its logs away before the new one comes", () => {
  const place = { fresh: "/d/.r/a.db", live: "/d/a.db", aside: "/d/old", present: ["/d/a.db", "/d/a.db-wal"] };
  expect(swapMoves([place])).toEqual([
    { from: "/d/a.db", to: "/d/old/a.db" },
    { from: "/d/a.db-wal", to: "/d/old/a.db-wal" },
    { from: "/d/.r/a.db", to: "/d/a.db" },
  ]);
});

test("settlementOf() takes back only what may be half done", () => {
  expect((["prepared", "swapping", "checked"] as const).map(settlementOf)).toEqual(["discard", "rollBack", "finish"]);
});

test.each([
  ["sqlite_backup_20250101_020000.db.gz", { holds: "sqlite", compress: "gzip", openssl: false }],
  ["bot.sqlite3", { holds: "sqlite", compress: "none", openssl: false }],
  ["config.tgz", { holds: "tar", compress: "gzip", openssl: false }],
  ["config_backup.tar.gz.enc", { holds: "tar", compress: "gzip", openssl: true }],
  ["conf.tar.zst", { holds: "tar", compress: "zstd", openssl: false }],
  ["postgres_backup_20250101_020000.sql.gz", { holds: "postgres", compress: "gzip", openssl: false }],
  ["ledger.dump", { holds: "postgres", compress: "none", openssl: false }],
  ["letter.txt", undefined],
])("formatOf() knows %s by its name", (name, format) => {
  expect(formatOf(name)).toEqual(format);
});
