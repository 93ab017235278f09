/**
 * What a backup says of itself: `manifest.json`, written once before the backup is published, and `state.json`, what was
 * learnt about it since. Shapes are stable: a backup must be readable years later, by hand too (docs/restore-by-hand.md).
 */
import * as z from "zod";
import { later } from "./later.ts";

export const BACKUP_TYPES = ["sqlite", "postgres", "redis", "files", "secrets"] as const;
export type BackupType = (typeof BACKUP_TYPES)[number];

/**
 * How far a backup has been proven. L0: every stored byte has its checksum. L1: it decrypts, unpacks and parses to the
 * end. L2: restored into scratch, it passes its engine's own checks and holds what the manifest counted. L3: what was
 * restored so answers the checks of its target as it should.
 */
export const LEVELS = ["L0", "L1", "L2", "L3"] as const;
export type Level = (typeof LEVELS)[number];

/** full: whole by itself. delta: pages that differ from `base`. base, wal: physical copy and log of PostgreSQL. */
const BACKUP_KINDS = ["full", "delta", "base", "wal"] as const;
export type BackupKind = (typeof BACKUP_KINDS)[number];

export const TRIGGERS = ["schedule", "manual", "pre-restore", "pre-upgrade"] as const;
export type BackupTrigger = (typeof TRIGGERS)[number];

export const COMPRESSORS = ["zstd", "gzip", "none"] as const;

const time = () => z.iso.datetime();
const sha256 = () => z.string().regex(/^[0-9a-f]{64}$/);

/** A stored file of a backup; the parts one after another are the stored stream. */
const partSchema = later(() =>
  z.object({
    name: z.string().regex(/^data\.\d{3,6}$/),
    bytes: z.int().min(0),
    sha256: sha256(),
  }),
);
export type Part = z.output<typeof partSchema>;

const ID = /^([a-z][a-z0-9-]{0,31})-(full|delta|base|wal)-(\d{8}T\d{6}Z)-([0-9a-f]{6})$/;

/** Unknown keys are kept: a newer release may know more of a backup of the same version. */
export const manifestSchema = later(() =>
  z.looseObject({
    version: z.literal(1),
    id: z.string().regex(ID),
    target: z.string(),
    type: z.enum(BACKUP_TYPES),
    kind: z.enum(BACKUP_KINDS),
    /** Backup that this one is nothing without. */
    base: z.string().regex(ID).nullable(),
    trigger: z.enum(TRIGGERS),
    createdAt: time(),
    /** Instant whose data the backup holds. */
    snapshotAt: time(),
    durationMs: z.int().min(0),
    tool: z.object({ name: z.string(), version: z.string() }),
    host: z.string(),
    /** Where the data came from, for people; never with a password. */
    origin: z.string(),
    /** The stream before compression, and the file name that it has when it is unpacked by hand. */
    raw: z
      .object({
        name: z.string(),
        bytes: z.int().min(0),
        /** For releases, and machines, that have the other not. */
        crc32: z.int().min(0).optional(),
        xxh64: z
          .string()
          .regex(/^[0-9a-f]{16}$/)
          .optional(),
      })
      .refine(({ crc32, xxh64 }) => crc32 !== undefined || xxh64 !== undefined, "has no checksum"),
    codec: z.object({
      compress: z.enum(COMPRESSORS),
      encrypt: z.enum(["age"]).nullable(),
      recipients: z.array(z.string()),
    }),
    parts: z.array(partSchema),
    /** What a restore must show again. */
    content: z.looseObject({
      schemaSha256: sha256().optional(),
      /** Rows, by table. */
      tables: z.record(z.string(), z.int().min(0)).optional(),
      files: z.int().min(0).optional(),
      keys: z.int().min(0).optional(),
      /** Of the database file that a delta and its base make. */
      fileSha256: sha256().optional(),
      /** The same file's CRC-32, which is a tenth of the work: every stored byte of both has its SHA-256 already. */
      fileCrc32: z.int().min(0).optional(),
    }),
    engine: z.looseObject({
      name: z.string(),
      version: z.string(),
      pageSize: z.int().min(0).optional(),
      pageCount: z.int().min(0).optional(),
    }),
    /** Hashes of the pages of a full backup, for incremental ones; a restore does not need them. */
    pageTable: z.object({ name: z.literal("pages.xxh64"), bytes: z.int().min(0), sha256: sha256() }).optional(),
    /**
     * Of the source and of what decides how a backup of it looks, taken before it was read: the same mark is the same data.
     * Absent where nobody can be sure of that.
     */
    sourceMark: sha256().optional(),
  }),
);
export type Manifest = z.output<typeof manifestSchema>;

const verificationSchema = later(() =>
  z.object({
    level: z.enum(LEVELS),
    at: time(),
    ok: z.boolean(),
    durationMs: z.int().min(0),
    /** What was found wrong; `null` when all is well. */
    detail: z.string().nullable(),
    /** What the restored data answered, of L3. */
    checks: z.array(z.object({ name: z.string(), ok: z.boolean(), text: z.string() })).optional(),
  }),
);
export type Verification = z.output<typeof verificationSchema>;

/** Verifications remembered of one backup: the newest of each level and outcome are what anyone asks for. */
const MAX_VERIFICATIONS = 20;

export const stateSchema = later(() =>
  z.looseObject({
    version: z.literal(1),
    verifications: z.array(verificationSchema),
    /** Why it must not be deleted; `null`: it may. */
    pinned: z.string().nullable(),
    /** When the source was last seen to hold what this backup holds, the whole time since its snapshot. */
    unchangedAt: time().optional(),
    /** When it was sent to where it lies; absent where it was made. */
    copiedAt: time().optional(),
    /** Of the rest, as one line of JSON. */
    sha256: sha256().optional(),
  }),
);
export type BackupState = z.output<typeof stateSchema>;

export const emptyState: BackupState = { version: 1, verifications: [], pinned: null };

/**
 * The state with one more verification. It stands for the earlier ones of its level since the last failure, so that proofs
 * of each run never displace the rare ones of higher levels; the oldest beyond 20 are forgotten.
 */
export function withVerification(state: BackupState, verification: Verification): BackupState {
  const { verifications } = state;
  const failedAt = verifications.findLastIndex(({ ok }) => !ok);
  const { level, ok } = verification;
  const others = verifications.filter((each, at) => !(ok && at > failedAt && each.level === level));
  return { ...state, verifications: [...others, verification].slice(-MAX_VERIFICATIONS) };
}

/** The highest level whose last verification succeeded and after which none failed; `undefined` when there is none. */
export function provenLevel({ verifications }: BackupState): Level | undefined {
  let proven: Level | undefined;
  for (const { level, ok } of verifications) {
    // At L3 the backup stands, and what it holds is not as it should be.
    if (!ok && level === "L3") proven = "L2";
    // A failure at any other level refutes what was proven before: the bytes are the same.
    else if (!ok) proven = undefined;
    else if (proven === undefined || level > proven) proven = level;
  }
  return proven;
}

/** What was last found is that it is damaged. */
export function isRefuted(state: BackupState): boolean {
  return state.verifications.length > 0 && provenLevel(state) === undefined;
}

/** What makes it damaged; `undefined`: it is not, as far as anybody has looked. */
export function refutation(state: BackupState): string | undefined {
  if (!isRefuted(state)) return undefined;
  const failed = state.verifications.findLast(({ ok, level }) => !ok && level !== "L3");
  return failed?.detail ?? "it does not stand its verification";
}

/** The name of a backup: sorts by time within a target and kind. `at` is RFC 3339 in UTC, `random` 6 hex digits. */
export function backupId(target: string, kind: BackupKind, at: string, random: string): string {
  const stamp = at.replace(/[-:]|\.\d+/g, "");
  return `${target}-${kind}-${stamp}-${random}`;
}

/** What a backup's name says; `undefined` when it is no such name. */
export function readBackupId(
  id: string,
): { readonly target: string; readonly kind: BackupKind; readonly stamp: string } | undefined {
  const [, target, kind, stamp] = ID.exec(id) ?? [];
  const known = BACKUP_KINDS.find((each) => each === kind);
  return target === undefined || known === undefined || stamp === undefined
    ? undefined
    : { target, kind: known, stamp };
}

/** Sorts backups by the time in their names, also those whose manifest cannot be read. */
export function byStamp(a: { readonly id: string }, b: { readonly id: string }): number {
  const [before, after] = [readBackupId(a.id)?.stamp ?? "", readBackupId(b.id)?.stamp ?? ""];
  return before === after ? 0 : before < after ? -1 : 1;
}
