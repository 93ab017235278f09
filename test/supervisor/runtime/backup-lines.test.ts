/** Records and lines of workers are read without their schemas as the schemas read them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { backupLineSchema, type BackupLine } from "../../../src/core/backup-job.ts";
import { backupRecordSchema, type BackupRecord } from "../../../src/core/backup-record.ts";
import { drillRecordSchema, type DrillRecord } from "../../../src/core/drill.ts";
import { parseDrillRecord, parseRecord, readLine } from "../../../src/supervisor/runtime/backup-lines.ts";
import { DRILL_TABLE, LINE_TABLE, RECORD_TABLE } from "../../../src/supervisor/runtime/backup-tables.ts";
import { plainValue } from "../../../src/supervisor/runtime/config/plain.ts";

const at = "2026-01-01T02:00:00.000Z";
const id = "state-full-20260101T020000Z-abcdef";

const record: BackupRecord = {
  version: 1,
  target: "state",
  store: "local",
  lastAttemptAt: at,
  lastSuccess: { at, id, snapshotAt: at, durationMs: 5, rawBytes: 10, storedBytes: 4, level: "L1" },
  lastError: { stage: "space", reason: "full" },
  failuresInRow: 1,
  failures: { space: 2 },
  copies: { upTo: null, pendingBytes: 0, backups: 1, storedBytes: 4 },
  full: { lastAttemptAt: at, lastSuccessAt: null, failuresInRow: 0 },
  proofs: { L2: { at, id, ok: true, detail: null } },
  stood: { L1: at },
  sizes: { full: { id, rawBytes: 10, storedBytes: 4, compress: "zstd", shrunk: { fromBytes: 30, toBytes: 10 } } },
  stock: {
    tiers: { hourly: 1, daily: 2, weekly: 3, monthly: 4, other: 5 },
    storedBytes: 4,
    walBytes: 2,
    oldestAt: at,
    newestAt: null,
    disk: { freeBytes: 1.5, reserveBytes: 1 },
  },
  damaged: [{ id, reason: "a checksum is wrong" }],
};
const drill: DrillRecord = {
  version: 1,
  since: at,
  last: {
    id: "drill-1",
    at,
    ok: true,
    done: true,
    rtoSeconds: 1.5,
    rpoSeconds: null,
    rtoMet: true,
    rpoMet: false,
    error: null,
  },
  lastSuccessAt: at,
  failuresInRow: 0,
};
const lines: readonly BackupLine[] = [
  { kind: "progress", step: "reading", doneBytes: 1, totalBytes: 2 },
  { kind: "stored", id, rawBytes: 10, storedBytes: 4, durationMs: 5, level: "L1" },
  { kind: "verified", id, level: "L3", ok: true, detail: null, checks: [{ name: "rows", ok: true, text: "5" }] },
  { kind: "pruned", ids: [id] },
  { kind: "note", text: "x" },
  { kind: "alarm", text: "x" },
  { kind: "failed", stage: "source", reason: "x" },
  { kind: "copied", id, sentBytes: 1, durationMs: 2 },
  { kind: "walCopied", store: "offsite", last: null, waiting: 0, failure: null, gap: false },
  { kind: "walGap", text: "x", needsBase: true },
  {
    kind: "wal",
    retainedBytes: 0,
    lagBytes: null,
    archived: 1,
    archivedBytes: 5,
    last: "000000010000000000000001",
    gaps: 0,
    recoverableTo: at,
    paused: false,
  },
];

interface Spoil {
  readonly at: number;
  readonly how: unknown;
}

/** Of each value below: it, and where it is. */
function* places(value: unknown): Generator<readonly [holder: object, key: string]> {
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.keys(value)) {
    yield [value, key];
    yield* places(Reflect.get(value, key));
  }
}

const spoils: fc.Arbitrary<readonly Spoil[]> = fc.array(
  fc.record({
    at: fc.nat(60),
    how: fc.constantFrom<unknown>(
      "gone",
      "more",
      null,
      -1,
      1.5,
      "x",
      true,
      [],
      {},
      2 ** 60,
      "2026-02-30T00:00:00.000Z",
      "2026-01-01T02:00:00Z",
    ),
  }),
  { minLength: 0, maxLength: 2 },
);

function spoiled(sample: object, all: readonly Spoil[]): object {
  const copy = structuredClone(sample);
  for (const { at: index, how } of all) {
    const found = [...places(copy)];
    const [holder, key] = found[index % found.length] ?? [copy, "x"];
    if (how === "gone") Reflect.deleteProperty(holder, key);
    else if (how === "more") Reflect.set(holder, "unknown", 1);
    else Reflect.set(holder, key, how);
  }
  // As text has it: no list has a hole.
  return JSON.parse(JSON.stringify(copy));
}

test.each([
  ["the record of a place", RECORD_TABLE, backupRecordSchema, [record]],
  ["the record of drills", DRILL_TABLE, drillRecordSchema, [drill]],
  ["lines", LINE_TABLE, backupLineSchema, lines],
] as const)(
  "plainValue() takes %s, and makes of it what the schema makes, however spoilt",
  (_, table, schema, samples) => {
    for (const sample of samples) expect(plainValue(table, sample)?.value).toEqual(schema.parse(sample));
    fc.assert(
      fc.property(fc.constantFrom(...samples), spoils, (sample, all) => {
        const value = spoiled(sample, all);
        const plain = plainValue(table, value);
        expect(plain?.value).toEqual(plain === undefined ? undefined : schema.safeParse(value).data);
      }),
      { numRuns: 1_000 },
    );
  },
);

test("parseRecord(), parseDrillRecord() and readLine() ask the schema for what is not plain, as of a later release", () => {
  expect(parseRecord(JSON.stringify({ ...record, later: 1 }))).toEqual(record);
  expect(parseDrillRecord(JSON.stringify({ ...drill, later: 1 }))).toEqual(drill);
  expect(readLine('{"kind":"note","text":"x","later":1}')).toEqual({ kind: "note", text: "x" });
  expect([readLine("{"), readLine('{"kind":"none"}')]).toEqual([undefined, undefined]);
  expect(() => parseRecord("{}")).toThrow("version");
});
