/** What pgBackRest says, and which kind of backup comes next. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  nextBackRestKind,
  readBackRestInfo,
  readBackRestVerify,
  type PgBackRestBackup,
} from "../../src/core/pgbackrest.ts";

const DAY_MS = 86_400_000;
const POLICY = { fullMs: 7 * DAY_MS, differentialMs: DAY_MS };
const NOW_MS = Date.parse("2026-01-31T02:00:00Z");

const made = (type: PgBackRestBackup["type"], daysAgo: number, error = false): PgBackRestBackup => {
  const seconds = Math.floor((NOW_MS - daysAgo * DAY_MS) / 1_000);
  return {
    label: "20260124-020000F",
    type,
    error,
    timestamp: { start: seconds, stop: seconds + 60 },
    archive: { start: null, stop: null },
    info: { size: 1, repository: { delta: 1 } },
  };
};

test.each([
  ["full where there is none", [], "full"],
  ["full after a week", [made("full", 7), made("diff", 1)], "full"],
  ["full on the seventh day, some minutes early", [made("full", 6.99)], "full"],
  ["diff a day after the last diff", [made("full", 3), made("diff", 1), made("incr", 0.2)], "diff"],
  ["incr within the day", [made("full", 3), made("diff", 0.4)], "incr"],
  ["incr soon after a full one", [made("full", 0.2)], "incr"],
  ["full where the last full one has damaged pages", [made("full", 1, true)], "full"],
] as const)("nextBackRestKind() makes a backup %s", (_, backups, kind) => {
  expect(nextBackRestKind(backups, POLICY, NOW_MS)).toBe(kind);
});

test("nextBackRestKind() never makes an incremental backup without a sound full one younger than its age", () => {
  const some = fc.array(
    fc.tuple(fc.constantFrom("full", "diff", "incr"), fc.double({ min: 0, max: 20, noNaN: true }), fc.boolean()),
  );
  fc.assert(
    fc.property(some, (list) => {
      const backups = list.map(([type, days, error]) => made(type, days, error));
      const sound = list.some(([type, days, error]) => type === "full" && !error && days < 6.6);
      expect(nextBackRestKind(backups, POLICY, NOW_MS) === "full" || sound).toBe(true);
    }),
  );
});

const entry = (label: string, stop: number) => ({ ...made("full", 1), label, timestamp: { start: 1, stop } });

test("readBackRestInfo() reads what pgBackRest 2.45 prints, oldest first", () => {
  const text = JSON.stringify([
    {
      name: "main",
      status: { code: 0, message: "ok", lock: { backup: { held: false } } },
      backup: [entry("20260125-020000F_20260126-020000I", 9), entry("20260125-020000F", 5)],
    },
  ]);
  expect(readBackRestInfo(text, "main").backups.map(({ label }) => label)).toEqual([
    "20260125-020000F",
    "20260125-020000F_20260126-020000I",
  ]);
  expect(() => readBackRestInfo(text, "other")).toThrow(
    "pgBackRest knows no stanza other; pgbackrest stanza-create makes it",
  );
});

const VERIFIED = `stanza: main
status: error
  archiveId: 15-1, total WAL checked: 5, total valid WAL: 5
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261129-060949F, status: valid, total files checked: 964, total valid files: 964
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261129-060949F_20261129-060956I, status: invalid, total files checked: 964, total valid files: 963
    checksum invalid: 1
`;

test.each([
  ["20261129-060949F", undefined],
  ["20261129-060949F_20261129-060956I", "pgbackrest verify calls it invalid: checksum invalid: 1"],
])("readBackRestVerify() judges %s alone", (label, fault) => {
  expect(readBackRestVerify(VERIFIED, label)).toBe(fault);
});

test("readBackRestVerify() takes silence for no proof", () => {
  expect(() => readBackRestVerify("stanza: main\nstatus: ok\n", "20261129-060949F")).toThrow(
    "pgbackrest verify says nothing of 20261129-060949F",
  );
});

test("readBackRestInfo() reads the servers of a stanza to the last digit", () => {
  const server = { id: 1, "repo-key": 1, "system-id": 0, version: "15" };
  const text = JSON.stringify([{ name: "main", status: { code: 0, message: "ok" }, backup: [], db: [server] }]);
  const { systems } = readBackRestInfo(text.replace('"system-id":0', '"system-id":7446744073709551615'), "main");
  expect(systems).toEqual(["7446744073709551615"]);
});
