/** Damaged files are kept until nobody can miss them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { forgettable, QUARANTINE_KEEP_MS, type Aside } from "../../src/core/quarantine.ts";

const NOW = Date.UTC(2026, 6, 1);
const aside = (ageMs: number, recovered = true): Aside => ({
  name: `${new Date(NOW - ageMs).toISOString().replaceAll(/[:.]/g, "-")}-0123abcd-4567`,
  madeAt: NOW - ageMs,
  recovered,
});

test("forgettable() names what was recovered from more than 90 days ago, oldest first", () => {
  const [old, older, young] = [aside(QUARANTINE_KEEP_MS + 1), aside(2 * QUARANTINE_KEEP_MS), aside(1_000)];
  expect(forgettable([young, old, older, aside(0)], NOW)).toEqual([older.name, old.name]);
  expect(forgettable([aside(QUARANTINE_KEEP_MS), young], NOW)).toEqual([]);
});

test("forgettable() never names the newest folder, one that was not recovered from, or one without an age", () => {
  const dates = new Set<string>();
  const age = fc.integer({ min: -QUARANTINE_KEEP_MS, max: 4 * QUARANTINE_KEEP_MS });
  const dated = fc.tuple(age, fc.boolean()).map(([ms, recovered]) => {
    const made = aside(ms, recovered);
    if (ms > QUARANTINE_KEEP_MS) dates.add(made.name);
    return made;
  });
  const undated = fc.record({ name: fc.string(), madeAt: fc.constant(undefined), recovered: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fc.oneof(dated, undated)), (asides) => {
      const named = new Set(forgettable(asides, NOW));
      const unique = asides.filter(({ name }) => asides.filter((other) => other.name === name).length === 1);
      const newest = unique.toSorted((a, b) => (a.name < b.name ? -1 : 1)).at(-1);
      const mustStay = unique.filter((each) => !each.recovered || !dates.has(each.name));
      const top = asides.every(({ name }) => name <= (newest?.name ?? "")) ? [newest] : [];
      expect([...mustStay, ...top].filter((each) => each !== undefined && named.has(each.name))).toEqual([]);
    }),
  );
});
