/** Metrics of backups and drills as a scrape reads them. */
import { describe, expect, test } from "vitest";
import type { BackupStatus } from "../../src/core/status.ts";
import { BACKUP_METRICS } from "../../src/report/backup-metrics.ts";
import { metricsText } from "../../src/report/metrics.ts";
import { promtool } from "../harness/promtool.ts";
import { statusOf } from "../harness/status.ts";

const at = (hour: number): string => `2026-01-01T0${hour}:00:00.000Z`;
const secondsAt = (hour: number): number => Date.parse(at(hour)) / 1_000;

/** A database that is backed up to a directory, with everything that can be known. */
const directory = (more: Partial<BackupStatus> = {}): BackupStatus => ({
  target: "state",
  store: "local",
  kind: "sqlite",
  lastSuccessAt: at(4),
  lastDurationSeconds: 1.5,
  sizeBytes: 100,
  verified: true,
  nextAt: at(6),
  overdue: false,
  running: false,
  lastError: "space: the disk is full",
  failures: 3,
  failuresByStage: { space: 2, source: 1 },
  lastAttemptAt: at(5),
  stoodAt: { L0: at(4), L1: at(4), L2: at(2) },
  full: { full: { sizeBytes: 900, shrunk: true } },
  stored: {
    tiers: { hourly: 4, daily: 3, weekly: 2, monthly: 1, other: 5 },
    bytes: 5_000,
    oldestAt: at(1),
    newestAt: at(4),
    freeBytes: 70,
    reserveBytes: 80,
  },
  ...more,
});

/** A place of which there is no record yet. */
const fresh: BackupStatus = {
  target: "conf",
  store: "offsite",
  kind: "files",
  lastSuccessAt: null,
  lastDurationSeconds: null,
  sizeBytes: null,
  verified: false,
  nextAt: null,
  overdue: false,
  running: false,
  lastError: null,
  failures: 0,
};

const textOf = (...backups: BackupStatus[]): string => metricsText({ ...statusOf(), backups });
const seriesOf = (text: string, name: string): string[] =>
  text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));

const place = 'backup="state",store="local",type="sqlite"';

describe("metricsText() of backups", () => {
  test.each([
    [`supervisor_backup_last_attempt_timestamp_seconds{${place}}`, secondsAt(5)],
    [`supervisor_backup_last_success_timestamp_seconds{${place}}`, secondsAt(4)],
    [`supervisor_backup_last_verified_timestamp_seconds{${place},level="L1"}`, secondsAt(4)],
    [`supervisor_backup_last_verified_timestamp_seconds{${place},level="L2"}`, secondsAt(2)],
    [`supervisor_backup_last_verified_timestamp_seconds{${place},level="L3"}`, "NaN"],
    [`supervisor_backup_failures_total{${place},stage="space"}`, 2],
    [`supervisor_backup_failures_total{${place},stage="source"}`, 1],
    [`supervisor_backup_failures_total{${place},stage="verify"}`, 0],
    [`supervisor_backup_last_full_size_bytes{${place},kind="full"}`, 900],
    [`supervisor_backup_last_full_size_bytes{${place},kind="base"}`, "NaN"],
    [`supervisor_backup_shrunk{${place},kind="full"}`, 1],
    [`supervisor_backup_shrunk{${place},kind="base"}`, "NaN"],
    [`supervisor_backup_kept{${place},tier="hourly"}`, 4],
    [`supervisor_backup_kept{${place},tier="other"}`, 5],
    [`supervisor_backup_repo_bytes{${place}}`, 5_000],
    [`supervisor_backup_repo_free_bytes{${place}}`, 70],
    [`supervisor_backup_repo_reserve_bytes{${place}}`, 80],
    [`supervisor_backup_oldest_recoverable_timestamp_seconds{${place}}`, secondsAt(1)],
    [`supervisor_backup_newest_recoverable_timestamp_seconds{${place}}`, secondsAt(4)],
  ])("says %s", (series, value) => {
    expect(textOf(directory())).toContain(`\n${series} ${value}\n`);
  });
});

describe("metricsText() of backups, as a whole", () => {
  test("counts archived WAL with the backups: as the receiver tells it, else as the last run left it", () => {
    const stored = directory().stored;
    if (stored === undefined) throw new Error("there is none");
    const [series] = seriesOf(
      textOf(directory({ stored: { ...stored, walBytes: 300 } })),
      "supervisor_backup_repo_bytes",
    );
    expect(series).toMatch(/ 5300$/);
    const wal = { slotRetainedBytes: 0, lastSegment: null, archivedBytes: 700 };
    const [live] = seriesOf(
      textOf(directory({ stored: { ...stored, walBytes: 300 }, wal })),
      "supervisor_backup_repo_bytes",
    );
    expect(live).toMatch(/ 5700$/);
  });

  test("tells lag, gaps and the end of what can be recovered with archived WAL, for its bucket too", () => {
    const wal = {
      slotRetainedBytes: 9,
      lastSegment: "000000010000000000000002",
      lagBytes: 7,
      gaps: 2,
      recoverableTo: at(6),
      copies: [
        { store: "offsite", lastSegment: null, waiting: 0, failure: "it lacks some", gap: true },
        { store: "whole", lastSegment: null, waiting: 0, failure: null, gap: false },
      ],
    };
    const places = [directory({ kind: "postgres", wal })].concat(
      ["offsite", "whole", "other"].map((store) => directory({ kind: "postgres", store })),
    );
    const other = directory({ target: "ledger", store: "offsite" });
    const text = textOf(...places, other);
    const valuesOf = (name: string) => seriesOf(text, name).map((line) => line.split(" ").at(-1));
    expect(valuesOf("supervisor_backup_wal_gaps")).toEqual(["2", "1", "0", "NaN", "NaN"]);
    expect(valuesOf("supervisor_backup_wal_lag_bytes")).toEqual(["7", "NaN", "NaN", "NaN", "NaN"]);
    const newest = [6, 4, 4, 4, 4].map((hour) => String(secondsAt(hour)));
    expect(valuesOf("supervisor_backup_newest_recoverable_timestamp_seconds")).toEqual(newest);
    const unknown = textOf(directory({ wal: { ...wal, lagBytes: null, recoverableTo: null } }));
    expect(unknown).toContain(`supervisor_backup_wal_lag_bytes{${place}} NaN\n`);
    expect(unknown).toContain(`supervisor_backup_newest_recoverable_timestamp_seconds{${place}} ${secondsAt(4)}\n`);
  });

  test("has each series of a place from the start, NaN where nothing is known and 0 where it counts", () => {
    const names = BACKUP_METRICS.map(({ name }) => name).filter((name) => name.startsWith("supervisor_backup_"));
    expect(names.length).toBeGreaterThan(15);
    const [known, unknown] = [textOf(directory()), textOf(fresh)];
    for (const name of names)
      expect([name, seriesOf(unknown, name).length]).toEqual([name, seriesOf(known, name).length]);
    expect(seriesOf(unknown, "supervisor_backup_kept").every((line) => line.endsWith(" NaN"))).toBe(true);
    expect(seriesOf(unknown, "supervisor_backup_failures_total").every((line) => line.endsWith(" 0"))).toBe(true);
  });

  test("writes for each sample the labels that the row says, in their order, and no series twice", () => {
    const reading = { ...statusOf(), backups: [directory(), directory({ store: "offsite" }), fresh] };
    const seen = BACKUP_METRICS.flatMap(({ name, labels, read }) =>
      read(reading).map((sample) => {
        expect(Object.keys(sample.labels)).toEqual(labels);
        return `${name} ${JSON.stringify(sample.labels)}`;
      }),
    );
    expect(new Set(seen).size).toBe(seen.length);
  });

  test.skipIf(promtool === undefined)("passes promtool check metrics (skipped where no promtool is installed)", () => {
    const stdin = Buffer.from(textOf(directory(), fresh));
    const { exitCode, stderr } = Bun.spawnSync([promtool ?? "", "check", "metrics"], { stdin });
    expect(stderr.toString()).toBe("");
    expect(exitCode).toBe(0);
  });
});
