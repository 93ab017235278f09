/** The retention of backups: what is kept for which reason, and what no policy may ever delete. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planRetention, type Kept, type Retention } from "../../src/core/backup-retention.ts";
import { DAY_MS, HOUR_MS, keptBackup } from "./kept-backup.ts";

const NOW_MS = Date.parse("2026-11-21T12:30:00Z");
const policy: Retention = {
  hourly: 7 * DAY_MS,
  daily: 30 * DAY_MS,
  weekly: 90 * DAY_MS,
  monthly: 365 * DAY_MS,
  minKeep: 3,
};

const backup = (ageMs: number, more: Partial<Kept> = {}): Kept => ({
  ...keptBackup(`b${ageMs}`, ageMs, NOW_MS),
  ...more,
});

const kept = (backups: readonly Kept[], now = NOW_MS): readonly string[] =>
  planRetention(backups, policy, now)
    .filter(({ keep }) => keep)
    .map(({ id }) => id);

const countGood = (some: readonly Kept[]): number =>
  some.filter((each) => each.verified && each.snapshotMs <= NOW_MS).length;

const hourly = (days: number): readonly Kept[] =>
  Array.from({ length: days * 24 }, (_, n) => backup(n * HOUR_MS, n % 24 === 0 ? {} : { kind: "full" }));

describe("planRetention()", () => {
  test("thins 500 days of hourly backups to tiers", () => {
    const ids = kept(hourly(500));
    // A week of hours, then a day each to 30 days, a week each to 90, a month each to 365.
    expect(ids.length).toBeGreaterThan(168 + 23 + 8 + 9 - 4);
    expect(ids.length).toBeLessThan(168 + 23 + 9 + 10 + 6);
  });

  test("deletes none of the good ones however long backups fail", () => {
    const before = hourly(500);
    const good = new Set(kept(before));
    const later = NOW_MS + 400 * DAY_MS;
    const left = before.filter(({ id }) => good.has(id));
    expect(kept(left, later)).toEqual(left.map(({ id }) => id));
  });

  test("deletes nothing when nothing is verified", () => {
    const backups = hourly(100).map((each) => ({ ...each, verified: false }));
    expect(kept(backups)).toHaveLength(backups.length);
  });

  test.each<[string, Partial<Kept>, string]>([
    ["a pinned one", { pinned: "before the upgrade" }, "pinned: before the upgrade"],
    ["one in use", { inUse: true }, "in use"],
    ["one from the future", { snapshotMs: NOW_MS + DAY_MS }, "from the future: look at the clock"],
    ["one not verified yet", { verified: false, createdMs: NOW_MS - HOUR_MS }, "not verified yet"],
  ])("keeps %s and says why", (_, more, reason) => {
    const old = backup(800 * DAY_MS, { id: "old", ...more });
    const verdicts = planRetention([...hourly(2), old], policy, NOW_MS);
    expect(verdicts.find(({ id }) => id === "old")).toEqual({ id: "old", keep: true, reason, tiers: [] });
  });

  test("keeps the base of a delta that is kept", () => {
    const base = backup(800 * DAY_MS, { id: "base" });
    const delta = backup(0, { id: "delta", kind: "delta", base: "base" });
    const newer = [1, 2, 3, 4].map((n) => backup(n * DAY_MS));
    expect(kept([base, delta, ...newer])).toContain("base");
  });

  const any = fc.array(
    fc.record({
      ageMs: fc.integer({ min: -DAY_MS, max: 900 * DAY_MS }),
      verified: fc.boolean(),
      pinned: fc.constantFrom(null, "kept"),
      delta: fc.boolean(),
    }),
    { maxLength: 60 },
  );

  test("never keeps fewer verified ones than minKeep, never a delta without its base, and settles at once", () => {
    fc.assert(
      fc.property(any, (drawn) => {
        const backups = drawn.map(({ ageMs, verified, pinned, delta }, n): Kept => {
          const full = drawn.findIndex((each) => !each.delta);
          const based = delta && full >= 0 && full !== n;
          return {
            ...backup(ageMs),
            id: `b${n}`,
            verified,
            pinned,
            kind: based ? "delta" : "full",
            base: based ? `b${full}` : null,
          };
        });
        const ids = new Set(kept(backups));
        const left = backups.filter(({ id }) => ids.has(id));
        expect(countGood(left)).toBeGreaterThanOrEqual(Math.min(policy.minKeep, countGood(backups)));
        expect(left.filter(({ base }) => base !== null && !ids.has(base))).toEqual([]);
        expect(kept(left)).toHaveLength(left.length);
      }),
      { numRuns: 300 },
    );
  });
});

test("planRetention() says of a backup that goes what stands for it, or why nothing keeps it", () => {
  const made = (id: string, at: string, more: Partial<Kept> = {}): Kept =>
    backup(NOW_MS - Date.parse(at), { id, ...more });
  const verdicts = planRetention(
    [
      made("newest", "2026-11-21T12:20:00Z"),
      made("twin", "2026-11-21T12:10:00Z"),
      made("noon", "2026-11-05T12:00:00Z"),
      made("morning", "2026-11-05T08:00:00Z"),
      made("unproven", "2026-11-01T08:00:00Z", { verified: false }),
      made("damaged", "2026-11-01T09:00:00Z", { verified: false, refuted: true }),
      made("undone", "2026-11-01T10:00:00Z", { preRestore: true }),
      made("ancient", "2024-11-01T10:00:00Z"),
    ],
    { ...policy, minKeep: 1 },
    NOW_MS,
  );
  expect(verdicts.filter(({ keep }) => !keep).map(({ id, reason }) => [id, reason])).toEqual([
    ["twin", "newest stands for its hour"],
    ["morning", "noon stands for its day"],
    ["undone", "made before a restore, more than 7 days ago"],
    ["damaged", "found damaged: it does not stand its verification"],
    ["unproven", "not verified within 2 days"],
    ["ancient", "older than every rule keeps"],
  ]);
});

test("planRetention() names every calendar that keeps a backup, and one that is kept for more than that by the first reason", () => {
  const verdicts = planRetention([...hourly(3), backup(60 * DAY_MS, { id: "old" })], policy, NOW_MS);
  const [newest, second] = verdicts;
  expect(newest?.tiers).toEqual(["hourly", "daily", "weekly", "monthly"]);
  expect(second).toMatchObject({ reason: "newest of its hour", tiers: ["hourly"] });
  expect(verdicts.at(-1)).toMatchObject({ id: "old", reason: "newest of its week", tiers: ["weekly", "monthly"] });
});

describe("planRetention() of what is damaged, or was made before a restore", () => {
  test.each<[string, Partial<Kept>, string]>([
    ["found damaged", { verified: false, refuted: true }, "found damaged: it does not stand its verification"],
    ["made before a restore", { preRestore: true, createdMs: NOW_MS - 6 * DAY_MS }, "made before a restore"],
  ])("keeps one %s for some days and says why", (_, more, reason) => {
    const old = backup(800 * DAY_MS, { id: "old", createdMs: NOW_MS, ...more });
    const verdicts = planRetention([...hourly(2), old], policy, NOW_MS);
    expect(verdicts.find(({ id }) => id === "old")).toEqual({ id: "old", keep: true, reason, tiers: [] });
  });

  test("never keeps a backup of before a restore for longer than a week", () => {
    const old = backup(8 * DAY_MS, { id: "old", preRestore: true });
    expect(kept([backup(9 * DAY_MS), old])).not.toContain("old");
  });

  test("never lets a backup of before a restore change what happens to the others", () => {
    const aged = fc.record({ ageMs: fc.integer({ min: -DAY_MS, max: 900 * DAY_MS }), verified: fc.boolean() });
    fc.assert(
      fc.property(fc.array(aged, { maxLength: 40 }), fc.array(aged, { maxLength: 10 }), (drawn, more) => {
        const others = drawn.map(({ ageMs, verified }, n) => backup(ageMs, { id: `b${n}`, verified }));
        const before = more.map(({ ageMs, verified }, n) => backup(ageMs, { id: `p${n}`, verified, preRestore: true }));
        const verdicts = planRetention([...others, ...before], policy, NOW_MS);
        expect(verdicts.filter(({ id }) => id.startsWith("b"))).toEqual(planRetention(others, policy, NOW_MS));
      }),
      { numRuns: 300 },
    );
  });
});

test("planRetention() keeps bases of a server and dumps of a database each by the rules, though one is made right after the other", () => {
  const pairs = Array.from({ length: 60 }, (_, n) => [
    backup(n * DAY_MS, { id: `base${n}`, kind: "base" }),
    backup(n * DAY_MS + 60_000, { id: `full${n}` }),
  ]).flat();
  const ids = kept(pairs);
  const bases = ids.filter((id) => id.startsWith("base"));
  // The one on the edge of 30 days is a minute too old.
  expect(ids.filter((id) => id.startsWith("full")).map((id) => id.replace("full", "base"))).toEqual(
    bases.filter((id) => id !== "base30"),
  );
  expect(bases.length).toBeGreaterThan(30);
});

test("planRetention() deletes no more of the good ones for a clock that is set forward, and none of the future for one that is set back", () => {
  const backups = hourly(60);
  const today = kept(backups);
  fc.assert(
    fc.property(fc.integer({ min: -400 * 24, max: 4_000 * 24 }), (hours) => {
      const now = NOW_MS + hours * HOUR_MS;
      const left = kept(backups, now);
      expect(hours < 0 || left.join() === today.join()).toBe(true);
      expect(left).toEqual(
        expect.arrayContaining(backups.filter(({ snapshotMs }) => snapshotMs > now).map(({ id }) => id)),
      );
      expect(left.length).toBeGreaterThanOrEqual(policy.minKeep);
    }),
    { numRuns: 40 },
  );
});

/** One backup for each change, seen unchanged up to the look before the next. */
const sparse = (hours: number, changes: readonly number[], shiftMs: number): readonly Kept[] => {
  const made = [...new Set([hours, ...changes.filter((age) => age < hours)])].toSorted((a, b) => b - a);
  return made.map((age, n): Kept => {
    const last = made[n + 1] === undefined ? 0 : made[n + 1]! + 1;
    const seen = last < age ? { unchangedMs: NOW_MS - shiftMs - last * HOUR_MS } : {};
    return { ...backup(age * HOUR_MS + shiftMs), id: `b${n}`, ...seen };
  });
};

/** The same with a copy of its own for each look. */
const dense = (backups: readonly Kept[]): readonly Kept[] =>
  backups.flatMap(({ snapshotMs, unchangedMs = snapshotMs, id }) =>
    Array.from({ length: (unchangedMs - snapshotMs) / HOUR_MS + 1 }, (_, n) => ({
      ...backup(NOW_MS - snapshotMs - n * HOUR_MS),
      id: `${id}.${n}`,
    })),
  );

describe("planRetention() of a backup whose source was seen unchanged later", () => {
  /** A source that is looked at each hour, as the ages at which something had changed; the others find the last backup to do. */
  const looks = fc.record({
    hours: fc.integer({ min: 1, max: 24 * 120 }),
    changes: fc.array(fc.integer({ min: 0, max: 24 * 120 }), { maxLength: 20 }),
    shiftMs: fc.integer({ min: 0, max: DAY_MS }),
  });

  test("keeps what it would keep if each look had made a copy, and never fewer than minKeep", () => {
    fc.assert(
      fc.property(looks, ({ hours, changes, shiftMs }) => {
        const few = sparse(hours, changes, shiftMs);
        const ids = kept(few);
        const copies = new Set(kept(dense(few)).map((id) => id.split(".")[0]));
        expect([...copies].filter((id) => id !== undefined && !ids.includes(id))).toEqual([]);
        expect(ids.length).toBeGreaterThanOrEqual(Math.min(policy.minKeep, few.length));
        expect(kept(few.filter(({ id }) => ids.includes(id)))).toEqual(ids);
        // What it keeps beyond that, minKeep alone does: of copies it would have taken the newest.
        expect(ids.slice(policy.minKeep).filter((id) => !copies.has(id))).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  test("counts ages from the last look, as from a copy that it would have made", () => {
    const seen = backup(300 * DAY_MS, { id: "seen", unchangedMs: NOW_MS });
    const old = [1, 2, 3, 4, 5].map((n) => backup((300 + n) * DAY_MS + n, { id: `old${n}` }));
    // 300 days after the last of them only the months of the old ones count.
    expect(kept([seen, ...old])).toEqual(["seen", "old1", "old2"]);
  });

  test("does not believe a look of the future: the clock has been set back since", () => {
    const backups = [...hourly(2), backup(5 * DAY_MS, { id: "seen", unchangedMs: NOW_MS + 900 * DAY_MS })];
    expect(kept(backups)).toEqual(kept(backups.map((each) => ({ ...each, unchangedMs: undefined }))));
  });
});
