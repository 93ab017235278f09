/** What metrics say of a store: backups by tier, their bytes, and between which instants there is a recovery. */
import { expect, test } from "vitest";
import type { Retention } from "../../src/core/backup-retention.ts";
import { isLow, stockOf, type Stocked } from "../../src/core/backup-stock.ts";
import { DAY_MS, HOUR_MS, keptBackup } from "./kept-backup.ts";

const NOW_MS = Date.parse("2026-06-15T12:00:00.000Z");
const policy: Retention = {
  hourly: 2 * HOUR_MS,
  daily: 3 * DAY_MS,
  weekly: 15 * DAY_MS,
  monthly: 100 * DAY_MS,
  minKeep: 1,
};

const stocked = (id: string, ageMs: number, more: Partial<Stocked> = {}): Stocked => ({
  ...keptBackup(id, ageMs, NOW_MS),
  storedBytes: 10,
  snapshotAt: new Date(NOW_MS - ageMs).toISOString(),
  ...more,
});

test("stockOf() counts each backup once, under the first tier that keeps it, and adds their bytes up", () => {
  const backups = [
    stocked("now", 0),
    stocked("hour", HOUR_MS),
    stocked("day", DAY_MS),
    stocked("week", 10 * DAY_MS),
    stocked("month", 60 * DAY_MS),
    stocked("pinned", 200 * DAY_MS, { pinned: "by hand", storedBytes: 7 }),
  ];
  expect(stockOf(backups, policy, NOW_MS)).toEqual({
    tiers: { hourly: 2, daily: 1, weekly: 1, monthly: 1, other: 1 },
    storedBytes: 57,
    oldestAt: "2025-11-27T12:00:00.000Z",
    newestAt: "2026-06-15T12:00:00.000Z",
  });
});

test("stockOf() takes no instant of a backup that is not proven, of before a restore, or without its base", () => {
  const backups = [
    stocked("orphan", 9 * HOUR_MS, { kind: "delta", base: "gone" }),
    stocked("base", 5 * HOUR_MS),
    stocked("delta", 4 * HOUR_MS, { kind: "delta", base: "base" }),
    stocked("refuted", 5 * HOUR_MS, { verified: false }),
    stocked("on a refuted one", 2 * HOUR_MS, { kind: "delta", base: "refuted" }),
    stocked("saved", 3 * HOUR_MS, { preRestore: true }),
    stocked("unproven", HOUR_MS, { verified: false }),
  ];
  const instants = { oldestAt: "2026-06-15T07:00:00.000Z", newestAt: "2026-06-15T08:00:00.000Z" };
  expect(stockOf(backups, policy, NOW_MS)).toMatchObject(instants);
  expect(stockOf([], policy, NOW_MS)).toMatchObject({ storedBytes: 0, oldestAt: null, newestAt: null });
});

test("isLow() compares with the reserve, and knows no bucket", () => {
  expect(isLow({ disk: { freeBytes: 10, reserveBytes: 10 } })).toBe(false);
  expect(isLow({ disk: { freeBytes: 9, reserveBytes: 10 } })).toBe(true);
  expect(isLow({})).toBe(false);
});

test.each<[string, number, string]>([
  ["moves on with a source that is seen unchanged", HOUR_MS, "2026-06-15T11:00:00.000Z"],
  ["does not believe a look of the future", -HOUR_MS, "2026-06-15T07:00:00.000Z"],
])("stockOf() %s", (_, ageMs, newestAt) => {
  const unchangedMs = NOW_MS - ageMs;
  const seen = stocked("seen", 5 * HOUR_MS, { unchangedMs, unchangedAt: new Date(unchangedMs).toISOString() });
  expect(stockOf([seen], policy, NOW_MS)).toMatchObject({ oldestAt: "2026-06-15T07:00:00.000Z", newestAt });
});
