/**
 * What is remembered of the backups of one target in one store: written by the worker that made one, whoever started it, so
 * that status and metrics outlive every process.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { STAGES } from "./backup-job.ts";
import { LEVELS, readBackupId, type Level } from "./backup-manifest.ts";

const time = () => z.iso.datetime();

export const backupRecordSchema = later(() =>
  z.object({
    version: z.literal(1),
    target: z.string(),
    store: z.string(),
    lastAttemptAt: time(),
    lastSuccess: z
      .object({
        at: time(),
        id: z.string(),
        snapshotAt: time(),
        durationMs: z.int().min(0),
        rawBytes: z.int().min(0),
        storedBytes: z.int().min(0),
        level: z.enum(LEVELS),
      })
      .nullable(),
    /** Why the last attempt failed; `null` when it succeeded. */
    lastError: z.object({ stage: z.enum(STAGES), reason: z.string() }).nullable(),
    failuresInRow: z.int().min(0),
    /** Since the record began, by stage. */
    failures: z.partialRecord(z.enum(STAGES), z.int().min(0)),
    /** Of a store that holds copies. */
    copies: z
      .object({
        /** The last backup that was there to be copied when the last run that succeeded began. */
        upTo: z.string().nullable(),
        /** Bytes that the last run left to be copied. */
        pendingBytes: z.int().min(0),
        backups: z.int().min(0),
        storedBytes: z.int().min(0),
      })
      .optional(),
    /** The same of the runs that were to make a full backup, or made one: an incremental one does not stand in for it. */
    full: z
      .object({ lastAttemptAt: time(), lastSuccessAt: time().nullable(), failuresInRow: z.int().min(0) })
      .optional(),
    /** The last proof of a stored backup, by the level that was asked for. */
    proofs: z
      .partialRecord(
        z.enum(LEVELS),
        z.object({ at: time(), id: z.string(), ok: z.boolean(), detail: z.string().nullable() }),
      )
      .optional(),
  }),
);
export type BackupRecord = z.output<typeof backupRecordSchema>;
export type Proof = NonNullable<NonNullable<BackupRecord["proofs"]>[Level]>;
type Success = NonNullable<BackupRecord["lastSuccess"]>;

export type FullRuns = NonNullable<BackupRecord["full"]>;

export type Attempt =
  | { readonly kind: "success"; readonly success: Success }
  | { readonly kind: "failure"; readonly stage: (typeof STAGES)[number]; readonly reason: string };

/** The record after one more attempt, which ended at `at`; `incremental` is what it was to be. */
export function withAttempt(
  before: BackupRecord | undefined,
  { target, store, incremental = false }: Pick<BackupRecord, "target" | "store"> & { readonly incremental?: boolean },
  at: string,
  attempt: Attempt,
): BackupRecord {
  const failures = before?.failures ?? {};
  const full = withFullRun(before, incremental, at, attempt);
  const common = { version: 1, target, store, lastAttemptAt: at, ...(full === undefined ? {} : { full }) } as const;
  if (attempt.kind === "success")
    return { ...common, lastSuccess: attempt.success, lastError: null, failuresInRow: 0, failures };
  const { stage, reason } = attempt;
  return {
    ...common,
    lastSuccess: before?.lastSuccess ?? null,
    lastError: { stage, reason },
    failuresInRow: (before?.failuresInRow ?? 0) + 1,
    failures: { ...failures, [stage]: (failures[stage] ?? 0) + 1 },
  };
}

/** What is known of the runs that make full backups; of a record that does not tell them apart, all of them. */
export function fullRuns(record: BackupRecord): FullRuns {
  const { full, lastAttemptAt, lastSuccess, failuresInRow } = record;
  return full ?? { lastAttemptAt, lastSuccessAt: lastSuccess?.at ?? null, failuresInRow };
}

function withFullRun(
  before: BackupRecord | undefined,
  incremental: boolean,
  at: string,
  attempt: Attempt,
): FullRuns | undefined {
  const runs = before === undefined ? undefined : fullRuns(before);
  if (attempt.kind === "success")
    return readBackupId(attempt.success.id)?.kind === "delta"
      ? runs
      : { lastAttemptAt: at, lastSuccessAt: attempt.success.at, failuresInRow: 0 };
  if (incremental) return runs;
  return {
    lastAttemptAt: at,
    lastSuccessAt: runs?.lastSuccessAt ?? null,
    failuresInRow: (runs?.failuresInRow ?? 0) + 1,
  };
}

/** The record after a stored backup was proven, or not, as far as `asked`. */
export function withProof(record: BackupRecord, asked: Level, proof: Proof): BackupRecord {
  return { ...record, proofs: { ...record.proofs, [asked]: proof } };
}

/** Name of the record's file in `<stateDir>/backups`; neither name has an @. */
export function recordName(target: string, store: string): string {
  return `${target}@${store}.json`;
}
