import fc from "fast-check";
import { expect, test } from "vitest";
import {
  chooseDumps,
  deathSignature,
  dumpFileName,
  isDeath,
  judgeDeath,
  parseDumpName,
  roomWanted,
  type Dumped,
  type StoredDump,
} from "../../src/core/dump.ts";

const DAY = 86_400_000;
const stamp = (ms: number): string => new Date(ms).toISOString();
const exit = (changes: object = {}) => ({ cause: "exited", code: 1, signal: null, detail: "", ...changes }) as const;

test.each([
  [exit(), true],
  [exit({ code: 0 }), false],
  [exit({ code: null, signal: "SIGSEGV", cause: "signal" }), true],
  [exit({ cause: "stopped" }), false],
  [exit({ cause: "spawnFailed" }), false],
  [exit({ cause: "probe:api", code: 0 }), true],
] as const)("isDeath(%j) is %s", (ended, death) => {
  expect(isDeath(ended)).toBe(death);
});

test("deathSignature() is the same for deaths that differ in numbers only", () => {
  const first = deathSignature(exit({ cause: "heartbeat", detail: "no heartbeat for 3.0 s" }));
  expect(deathSignature(exit({ cause: "heartbeat", detail: "no heartbeat for 12.7 s" }))).toBe(first);
  expect(deathSignature(exit({ cause: "heartbeat", code: 2, detail: "no heartbeat for 3.0 s" }))).not.toBe(first);
});

test("judgeDeath() dumps a kind of death in full once in ten minutes, lightly once in a minute, and counts the others", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 40 }), (gaps) => {
      let last: Dumped | undefined;
      let atMs = 0;
      let sinceLast = 0;
      let lastDumpAt = Number.NEGATIVE_INFINITY;
      let lastFullAt = Number.NEGATIVE_INFINITY;
      for (const gap of gaps) {
        atMs += gap;
        const { dump, next } = judgeDeath(last, atMs);
        const due = atMs - lastDumpAt >= 60_000 ? "light" : undefined;
        expect(dump).toBe(atMs - lastFullAt >= 600_000 ? "full" : due);
        if (dump === "full") lastFullAt = atMs;
        if (dump !== undefined) [lastDumpAt, sinceLast] = [atMs, 0];
        else sinceLast += 1;
        expect(next.repeats).toBe(sinceLast);
        last = next;
      }
    }),
  );
});

test("parseDumpName() reads what dumpFileName() writes, and nothing else", () => {
  const name = {
    bot: "my-bot-2",
    at: 1_767_225_600_000,
    reason: "probe:api health",
    signature: "0a1b2c3d",
    id: "a1b2c3",
  };
  const file = dumpFileName(name, stamp);
  expect(file).toBe("dump-my-bot-2-20260101T000000Z-probe_api_health-0a1b2c3d-a1b2c3.tar.zst");
  expect(parseDumpName(file, Date.parse)).toEqual({ ...name, reason: "probe_api_health" });
  for (const other of [`.${file}`, `${file}.partial`, "dump-x.tar.zst"])
    expect(parseDumpName(other, Date.parse)).toBeUndefined();
});

test("chooseDumps() keeps the newest, holds the limits, and gives up the first and latest of a kind last", () => {
  const dumps = fc.array(
    fc.record({
      age: fc.integer({ min: 0, max: 60 }),
      kind: fc.integer({ min: 0, max: 3 }),
      bytes: fc.integer({ min: 1, max: 50 }),
    }),
    { maxLength: 25 },
  );
  const policy = fc.record({
    keep: fc.integer({ min: 1, max: 10 }),
    maxTotal: fc.integer({ min: 1, max: 300 }),
    maxAge: fc.integer({ min: 1, max: 60 }),
  });
  fc.assert(
    fc.property(dumps, policy, (made, { keep, maxTotal, maxAge }) => {
      const now = 100 * DAY;
      const stored: StoredDump[] = made.map(({ age, kind, bytes }, n) => ({
        bytes,
        name: {
          bot: "bot",
          at: now - age * DAY,
          reason: "signal",
          signature: String(kind),
          id: String(n).padStart(6, "0"),
        },
      }));
      const verdicts = chooseDumps(stored, { keep, maxTotal, maxAge: maxAge * DAY }, now);
      expect(verdicts).toHaveLength(stored.length);
      const left = verdicts.filter(({ remove }) => !remove).map(({ dump }) => dump);
      const newest = verdicts.at(-1)?.dump;
      if (newest === undefined) return;
      expect(left).toContain(newest);
      expect(left.length).toBeLessThanOrEqual(Math.max(1, keep));
      const size = left.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(left.length === 1 || size <= maxTotal).toBe(true);
      // Deciding again about what is left removes nothing more.
      expect(chooseDumps(left, { keep, maxTotal, maxAge: maxAge * DAY }, now).filter(({ remove }) => remove)).toEqual(
        [],
      );
      const telling = (dump: StoredDump): boolean => {
        const same = verdicts.filter((each) => each.dump.name.signature === dump.name.signature);
        return same.at(0)?.dump === dump || same.at(-1)?.dump === dump;
      };
      const gone = verdicts.filter(({ remove, why }) => remove && why !== "older than maxAge").map(({ dump }) => dump);
      const repeating = left.filter((dump) => !telling(dump) && dump !== newest);
      expect(!gone.some(telling) || repeating.length === 0).toBe(true);
    }),
  );
});

test("roomWanted() is the larger of the size and of the share of the disk", () => {
  const policy = { minFree: 2_000, minFreeRatio: 0.05 };
  expect([roomWanted(policy, 10_000), roomWanted(policy, 100_000)]).toEqual([2_000, 5_000]);
});
