/** Which backups are copied to a bucket: what its retention keeps, once, and never a delta without its base. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { planCopies } from "../../src/core/backup-remote.ts";
import { planRetention, type Kept, type Retention } from "../../src/core/backup-retention.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse("2026-11-21T12:30:00Z");
const policy: Retention = { hourly: 12 * HOUR_MS, daily: 4 * 24 * HOUR_MS, weekly: 0, monthly: 0, minKeep: 2 };

const backup = (id: string, hoursAgo: number, more: Partial<Kept> = {}): Kept => ({
  id,
  kind: "full",
  base: null,
  snapshotMs: NOW_MS - hoursAgo * HOUR_MS,
  createdMs: NOW_MS - hoursAgo * HOUR_MS,
  verified: true,
  refuted: false,
  preRestore: false,
  pinned: null,
  inUse: false,
  ...more,
});
const delta = (id: string, base: string, hoursAgo: number): Kept => backup(id, hoursAgo, { kind: "delta", base });

test.each<[string, readonly Kept[], readonly Kept[], readonly string[]]>([
  ["the newest first", [backup("a", 2), backup("b", 1)], [], ["b", "a"]],
  ["a full one before what was made against it", [backup("f", 3), delta("d", "f", 1)], [], ["f", "d"]],
  ["what is there not again", [backup("a", 2), backup("b", 1)], [backup("a", 2)], ["b"]],
  ["no delta whose base is nowhere", [delta("d", "gone", 1)], [], []],
  ["a delta whose base is there", [delta("d", "f", 1)], [backup("f", 3)], ["d"]],
  [
    "nothing unproven or made before a restore",
    [backup("a", 1, { verified: false }), backup("p", 1, { preRestore: true })],
    [],
    [],
  ],
])("planCopies() sends %s", (_, local, remote, expected) => {
  expect(planCopies(local, remote, policy, NOW_MS).send).toEqual(expected);
});

test("planCopies() replaces a copy that lies there damaged", () => {
  const bad = backup("a", 1, { verified: false, refuted: true });
  expect(planCopies([backup("a", 1)], [bad], policy, NOW_MS)).toEqual({ send: ["a"], replace: ["a"] });
});

const world = fc
  .array(
    fc.record({
      hours: fc.integer({ min: 0, max: 300 }),
      delta: fc.boolean(),
      good: fc.boolean(),
      where: fc.integer({ min: 1, max: 3 }),
    }),
    {
      maxLength: 60,
    },
  )
  .map((drawn) => {
    const all: { readonly where: number; readonly backup: Kept }[] = [];
    for (const [index, { hours, delta: isDelta, good, where }] of drawn.entries()) {
      const base = all.find((each) => each.backup.base === null && each.backup.snapshotMs < NOW_MS - hours * HOUR_MS);
      const made =
        isDelta && base !== undefined ? delta(`d${index}`, base.backup.id, hours) : backup(`f${index}`, hours);
      all.push({ where, backup: { ...made, verified: good } });
    }
    const of = (bit: number): readonly Kept[] =>
      all.filter(({ where }) => (where & bit) > 0).map((each) => each.backup);
    const there = new Set(of(2).map(({ id }) => id));
    return { local: of(1), remote: of(2).filter(({ base }) => base === null || there.has(base)) };
  });

test("planCopies() sends nothing that the retention there then deletes, and nothing the second time", () => {
  fc.assert(
    fc.property(world, ({ local, remote }) => {
      const { send } = planCopies(local, remote, policy, NOW_MS);
      const there = [...remote, ...local.filter(({ id }) => send.includes(id))];
      const kept = planRetention(there, policy, NOW_MS)
        .filter(({ keep }) => keep)
        .map(({ id }) => id);
      for (const id of send) expect(kept).toContain(id);
      const left = there.filter(({ id }) => kept.includes(id));
      expect(planCopies(local, left, policy, NOW_MS).send).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test("planCopies() sends each base before its delta", () => {
  fc.assert(
    fc.property(world, ({ local, remote }) => {
      const { send } = planCopies(local, remote, policy, NOW_MS);
      const there = new Set(remote.map(({ id }) => id));
      for (const id of send) {
        const base = local.find((each) => each.id === id)?.base ?? null;
        expect(base === null || there.has(base)).toBe(true);
        there.add(id);
      }
    }),
  );
});
