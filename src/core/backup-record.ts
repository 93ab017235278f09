/**
 * What is remembered of the backups of one target in one store: written by the worker that made one, whoever started it, so
 * that status and metrics outlive every process.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { STAGES } from "./backup-job.ts";
import { COMPRESSORS, LEVELS, readBackupId, type Level } from "./backup-manifest.ts";
import { stockSchema } from "./backup-stock.ts";

const time = () => z.iso.datetime();

/** Kinds of backups that are whole by themselves: their sizes say something of each other, as those of incremental ones do not. */
const WHOLE_KINDS = ["full", "base"] as const;
type WholeKind = (typeof WHOLE_KINDS)[number];

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
        /** When the source was last seen to hold what that backup holds; absent: not since its snapshot. */
        unchangedAt: time().optional(),
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
        /** The last `unchangedAt` of it that was there then. */
        unchangedAt: time().optional(),
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
    /** When a backup last stood this level, whichever it was and whoever asked. */
    stood: z.partialRecord(z.enum(LEVELS), time()).optional(),
    /** The newest backup of each kind that is whole. */
    sizes: z
      .partialRecord(
        z.enum(WHOLE_KINDS),
        z.object({
          id: z.string(),
          rawBytes: z.int().min(0),
          storedBytes: z.int().min(0),
          compress: z.enum(COMPRESSORS),
          /** It has less than half of the bytes of the one before; `null`: it has not. */
          shrunk: z.object({ fromBytes: z.int(), toBytes: z.int() }).nullable(),
        }),
      )
      .optional(),
    /** What is there, as the last run or prune left it. */
    stock: stockSchema.optional(),
    /** Backups that are there and cannot be restored, the oldest first, as whoever looked last has found; absent: none. */
    damaged: z.array(z.object({ id: z.string(), reason: z.string() })).optional(),
  }),
);
export type BackupRecord = z.output<typeof backupRecordSchema>;
export type Proof = NonNullable<NonNullable<BackupRecord["proofs"]>[Level]>;
type Success = NonNullable<BackupRecord["lastSuccess"]>;
type Size = NonNullable<NonNullable<BackupRecord["sizes"]>[WholeKind]>;

export type FullRuns = NonNullable<BackupRecord["full"]>;

export type Attempt =
  | {
      readonly kind: "success";
      readonly success: Success;
      /** How it was packed, by the run that made and proved it; `undefined`: it is a copy, or was there already. */
      readonly made?: { readonly compress: Size["compress"] };
      /** The run has proven it again, since the source holds nothing else. */
      readonly unchanged?: true;
    }
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
  // What is known of the backups that are there outlives an attempt.
  const common = { ...before, version: 1, target, store, lastAttemptAt: at, ...(full && { full }) } as const;
  if (attempt.kind === "success") {
    const record: BackupRecord = {
      ...common,
      lastSuccess: attempt.success,
      lastError: null,
      failuresInRow: 0,
      failures,
    };
    if (attempt.unchanged === true)
      return withStood(incremental ? record : withoutShrunk(record, attempt.success), attempt.success);
    return attempt.made === undefined ? record : withMade(record, attempt.success, attempt.made);
  }
  const { stage, reason } = attempt;
  return {
    ...common,
    lastSuccess: before?.lastSuccess ?? null,
    lastError: { stage, reason },
    failuresInRow: (before?.failuresInRow ?? 0) + 1,
    failures: { ...failures, [stage]: (failures[stage] ?? 0) + 1 },
  };
}

function withStood(record: BackupRecord, { level, at }: Success): BackupRecord {
  return { ...record, stood: { ...record.stood, [level]: at } };
}

function withMade(record: BackupRecord, success: Success, { compress }: Pick<Size, "compress">): BackupRecord {
  const { id, rawBytes, storedBytes } = success;
  const { stood } = withStood(record, success);
  const named = readBackupId(id)?.kind;
  const kind = WHOLE_KINDS.find((each) => each === named);
  if (kind === undefined) return { ...record, stood };
  const now = { id, rawBytes, storedBytes, compress };
  const size: Size = { ...now, shrunk: shrinkOf(record.sizes?.[kind], now) };
  return { ...record, stood, sizes: { ...record.sizes, [kind]: size } };
}

/** The next full run found the same again: somebody has heard of it once, as where it makes another backup of that size. */
function withoutShrunk(record: BackupRecord, { id }: Success): BackupRecord {
  const kind = WHOLE_KINDS.find((each) => record.sizes?.[each]?.id === id);
  const size = kind === undefined ? undefined : record.sizes?.[kind];
  if (kind === undefined || size === undefined) return record;
  return { ...record, sizes: { ...record.sizes, [kind]: { ...size, shrunk: null } } };
}

/** A backup has less than this share of the one before only when something was deleted on purpose, or lost. */
const SHRUNK_RATIO = 0.5;

/** Whether there is less than half of before, in the data or, packed alike, in what is stored: an emptied table may leave its pages. */
export function shrinkOf(
  before: Omit<Size, "id" | "shrunk"> | undefined,
  now: Omit<Size, "id" | "shrunk">,
): Size["shrunk"] {
  if (before === undefined) return null;
  if (now.rawBytes < before.rawBytes * SHRUNK_RATIO) return { fromBytes: before.rawBytes, toBytes: now.rawBytes };
  const alike = before.compress === now.compress;
  return alike && now.storedBytes < before.storedBytes * SHRUNK_RATIO
    ? { fromBytes: before.storedBytes, toBytes: now.storedBytes }
    : null;
}

/** When a backup last stood this level or a higher one; `undefined`: none did. */
export function stoodAt({ stood = {} }: Pick<BackupRecord, "stood">, level: Level): string | undefined {
  const times = LEVELS.slice(LEVELS.indexOf(level)).flatMap((each) => stood[each] ?? []);
  // All are in UTC and of one length, so that their order is that of the letters.
  return times.toSorted((a, b) => (a < b ? -1 : 1)).at(-1);
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
    // A full backup that an incremental run found to do is not a new one.
    return readBackupId(attempt.success.id)?.kind === "delta" || (incremental && attempt.unchanged === true)
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
  const stood = proof.ok ? { stood: { ...record.stood, [asked]: proof.at } } : {};
  return { ...record, proofs: { ...record.proofs, [asked]: proof }, ...stood };
}

/** One that is named leads to the others; the reason may be that of a stranger's program. */
const MAX_DAMAGED = 5;
const DAMAGE_CHARS = 300;

/** The record after somebody has looked at all that is there, and found these damaged. */
export function withDamaged(record: BackupRecord, found: NonNullable<BackupRecord["damaged"]>): BackupRecord {
  const { damaged: _, ...rest } = record;
  if (found.length === 0) return rest;
  const damaged = found.slice(-MAX_DAMAGED).map(({ id, reason }) => ({ id, reason: reason.slice(0, DAMAGE_CHARS) }));
  return { ...rest, damaged };
}

/** Name of the record's file in `<stateDir>/backups`; neither name has an @. */
export function recordName(target: string, store: string): string {
  return `${target}@${store}.json`;
}
