/** What the supervisor and a worker that makes, checks or prunes backups say to each other. Secrets travel on the worker's stdin only. */
import * as z from "zod";
import { later } from "./later.ts";
import { checkJobSchema } from "./backup-checks.ts";
import { BACKUP_TYPES, COMPRESSORS, LEVELS, TRIGGERS } from "./backup-manifest.ts";
import { retentionJobSchema } from "./backup-retention.ts";
import { drillReportSchema } from "./drill.ts";
import { pgBackRestSchema } from "./pgbackrest.ts";

/** A copy of a backup as a listing shows it. */
const remoteSummarySchema = later(() =>
  z.object({
    type: z.enum(BACKUP_TYPES),
    /** A base of a whole server. */
    physical: z.boolean().optional(),
    base: z.string().nullable(),
    snapshotAt: z.string(),
    /** When the source was last seen to hold the same. */
    unchangedAt: z.string().optional(),
    createdAt: z.string(),
    /** When it was sent; absent of one that an older release has sent. */
    copiedAt: z.string().optional(),
    rawBytes: z.int(),
    storedBytes: z.int(),
    encrypted: z.boolean(),
    proven: z.enum(LEVELS).nullable(),
    /** What was last found is that it is damaged. */
    refuted: z.boolean(),
    /** The same in words; absent: it is not. */
    damage: z.string().optional(),
    pinned: z.string().nullable(),
    trigger: z.enum(TRIGGERS),
    /** Rows by table; `null`: not counted, or too many tables for one line. */
    tables: z.record(z.string(), z.int()).nullable(),
  }),
);
export type RemoteSummary = z.output<typeof remoteSummarySchema>;

const name = () => z.string().regex(/^[a-z][a-z0-9-]{0,31}$/);
const absolute = () => z.string().startsWith("/");

export const jobTargetSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("sqlite"), name: name(), path: absolute() }),
    z.strictObject({
      kind: z.literal("redis"),
      name: name(),
      url: z.string(),
      /** Of what is stored: a dump that the server writes, or its append-only file. */
      format: z.enum(["rdb", "aof"]).optional(),
      password: z.string().optional(),
      /** Of the server's data, where nobody can be asked; and how the server is stopped and started for a restore. */
      folder: absolute().optional(),
      stop: z.array(z.string()).min(1).optional(),
      start: z.array(z.string()).min(1).optional(),
    }),
    z.strictObject({
      kind: z.literal("postgres"),
      name: name(),
      url: z.string(),
      password: z.string().optional(),
      /** The whole server by pg_basebackup, in the place of its database by pg_dump. */
      physical: z.boolean().optional(),
      /** Who makes and keeps that, in the place of pg_basebackup and us. */
      pgbackrest: pgBackRestSchema.optional(),
    }),
    z.strictObject({ kind: z.literal("files"), name: name(), paths: z.array(absolute()).min(1) }),
    z.strictObject({ kind: z.literal("secrets"), name: name(), paths: z.array(absolute()).min(1) }),
  ]),
);
export type JobTarget = z.output<typeof jobTargetSchema>;

const common = later(() => ({
  version: z.literal(1),
  target: jobTargetSchema,
  /** Name of the store. */
  store: name(),
  /** Folder of the store on this machine, which holds a folder for each target. */
  folder: absolute(),
  /** Private key of age, for checks that unpack. */
  identity: z.string().optional(),
}));

/** Levels of a backup before it appears: what it holds is judged later (L3). */
export const WORKER_LEVELS = ["L0", "L1", "L2"] as const;

export const backupJobSchema = later(() =>
  z.strictObject({
    ...common,
    trigger: z.enum(TRIGGERS),
    /** Only what differs from the newest full backup, where that is of use. */
    incremental: z.boolean().default(false),
    compress: z.enum(COMPRESSORS),
    /** Public keys of age; empty: not encrypted. */
    recipients: z.array(z.string()),
    /** Proven on the stored bytes before the backup appears. */
    verify: z.enum(WORKER_LEVELS),
    /** `null`: nothing is deleted afterwards. */
    retention: retentionJobSchema.nullable(),
    tool: z.object({ name: z.string(), version: z.string() }),
    /** File of the target's record (core/backup-record.ts). */
    record: absolute(),
    /** The bots of the config with the folders that they work in: who stops when their disk is full. */
    bots: z.array(z.object({ name: z.string(), folder: absolute() })).optional(),
  }),
);
export type BackupJob = z.output<typeof backupJobSchema>;

export const verifyJobSchema = later(() =>
  z.strictObject({
    ...common,
    level: z.enum(LEVELS),
    /** Which; empty: the newest full one, and what is newer than that or of another kind. */
    ids: z.array(z.string()),
    /** Of the target, for L3. */
    checks: z.array(checkJobSchema).optional(),
    /** File of the target's record, which remembers the proof; without it, it is not remembered there. */
    record: absolute().optional(),
  }),
);
export type VerifyJob = z.output<typeof verifyJobSchema>;

export const pruneJobSchema = later(() =>
  z.strictObject({
    ...common,
    retention: retentionJobSchema,
    dryRun: z.boolean(),
    /** Also when it would take more than half of them. */
    force: z.boolean(),
    /** File of the target's record, which remembers what is left; without it, it is not remembered there. */
    record: absolute().optional(),
  }),
);
export type PruneJob = z.output<typeof pruneJobSchema>;

/** Where a backup failed. */
export const STAGES = [
  "lock",
  "source",
  "space",
  "store",
  "verify",
  "publish",
  "prune",
  "bots",
  "swap",
  "remote",
] as const;

const storedLine = () =>
  z.object({
    kind: z.literal("stored"),
    id: z.string(),
    rawBytes: z.int(),
    storedBytes: z.int(),
    durationMs: z.int(),
    level: z.enum(LEVELS),
  });

/** A run that made no backup: this one, which stood its verification again, holds what the source has. */
const unchangedLine = () =>
  z.object({
    kind: z.literal("unchanged"),
    id: z.string(),
    /** The whole time from then to then. */
    snapshotAt: z.string(),
    unchangedAt: z.string(),
    durationMs: z.int(),
    level: z.enum(LEVELS),
  });

/** WAL that the server keeps for us, segments that were archived since the last such line, and the newest whole one. */
const walLineSchema = later(() =>
  z.object({
    kind: z.literal("wal"),
    retainedBytes: z.number(),
    /** What the server has written and we have not received; `null`: it does not say. */
    lagBytes: z.number().nullable(),
    archived: z.int(),
    /** Of all that is archived there, of older servers too. */
    archivedBytes: z.int(),
    last: z.string().nullable(),
    /** Gaps since the newest base: no instant behind one can be recovered. */
    gaps: z.int(),
    /** Everything that was committed until then can be recovered from the newest base; `null`: nobody knows. */
    recoverableTo: z.string().nullable(),
    /** Nothing is received for want of room at our side. */
    paused: z.boolean(),
  }),
);

/** Lines of a worker on descriptor 3. */
export const backupLineSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("progress"), step: z.string(), doneBytes: z.number(), totalBytes: z.number() }),
    storedLine(),
    unchangedLine(),
    z.object({
      kind: z.literal("verified"),
      id: z.string(),
      level: z.enum(LEVELS),
      ok: z.boolean(),
      detail: z.string().nullable(),
      /** What the restored data answered, of L3. */
      checks: z.array(z.object({ name: z.string(), ok: z.boolean(), text: z.string() })).optional(),
    }),
    z.object({ kind: z.literal("verdict"), id: z.string(), keep: z.boolean(), reason: z.string() }),
    z.object({ kind: z.literal("pruned"), ids: z.array(z.string()) }),
    /** Something that was decided meanwhile, for people. */
    z.object({ kind: z.literal("note"), text: z.string() }),
    /** Something that somebody must look at, although the deed goes on. */
    z.object({ kind: z.literal("alarm"), text: z.string() }),
    /** A step of a restore that has begun, for people. */
    z.object({ kind: z.literal("step"), text: z.string(), touching: z.boolean() }),
    z.object({
      kind: z.literal("restored"),
      id: z.string(),
      backup: z.string(),
      rawBytes: z.int(),
      durationMs: z.int(),
      /** Folders with what was there before. */
      aside: z.array(z.string()),
      /** Bots that start with the level minimal until they are reconciled. */
      marked: z.array(z.string()),
      /** What went wrong afterwards, as a bot that did not start. */
      troubles: z.array(z.string()),
    }),
    /** A copy that stands in another store. */
    z.object({ kind: z.literal("copied"), id: z.string(), sentBytes: z.int(), durationMs: z.int() }),
    /** What lies in a bucket; `damage`: why it is of no use. */
    z.object({
      kind: z.literal("found"),
      id: z.string(),
      damage: z.string().nullable(),
      backup: remoteSummarySchema.nullable(),
    }),
    z.object({ kind: z.literal("drilled"), report: drillReportSchema }),
    z.object({ kind: z.literal("fetched"), id: z.string(), storedBytes: z.int() }),
    /** A restore that was broken off has been ended on its server. */
    z.object({
      kind: z.literal("settled"),
      outcome: z.enum(["discarded", "rolledBack", "finished", "busy", "failed", "server"]),
      detail: z.string(),
      stopped: z.array(z.string()),
    }),
    walLineSchema,
    /** How far the archive in a bucket is: its newest whole segment, those that wait, and why it does not go on. */
    z.object({
      kind: z.literal("walCopied"),
      store: z.string(),
      last: z.string().nullable(),
      waiting: z.int(),
      failure: z.string().nullable(),
      /** It lacks WAL for good that a base there needs. */
      gap: z.boolean(),
    }),
    /** WAL that is missing in the archive; `needsBase`: nothing later can be restored before there is another base. */
    z.object({ kind: z.literal("walGap"), text: z.string(), needsBase: z.boolean() }),
    z.object({ kind: z.literal("exported"), file: z.string(), rawBytes: z.int() }),
    z.object({ kind: z.literal("failed"), stage: z.enum(STAGES), reason: z.string() }),
  ]),
);
export type BackupLine = z.output<typeof backupLineSchema>;

/** Exit codes of the workers (docs/backup.md). */
export const BACKUP_EXIT = {
  done: 0,
  usage: 2,
  source: 3,
  verification: 4,
  space: 5,
  remote: 6,
  busy: 7,
  rolledBack: 8,
  halfRolledBack: 9,
  noBackup: 10,
  deadline: 75,
} as const;
