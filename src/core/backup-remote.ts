/** What a worker must know of a bucket, and which backups are copied to it. */
import * as z from "zod";
import { later } from "./later.ts";
import { checkJobSchema } from "./backup-checks.ts";
import { LEVELS } from "./backup-manifest.ts";
import { planRetention, retentionJobSchema, type Kept, type Retention } from "./backup-retention.ts";

export const remoteSchema = later(() =>
  z.strictObject({
    endpoint: z.url(),
    bucket: z.string().min(1),
    /** Begins every key; "" or text without a slash at either end. */
    prefix: z.string(),
    region: z.string().min(1),
    accessKeyId: z.string().min(1),
    secretAccessKey: z.string().min(1),
    /** Longest wait for the answer to a small request, ms; a file of a backup gets more by its size. */
    timeoutMs: z.number().positive(),
    /** Certificates in PEM of the only authorities that are trusted; without it, those that the runtime knows. */
    ca: z.string().optional(),
  }),
);
export type RemoteSettings = z.output<typeof remoteSchema>;

const absolute = () => z.string().startsWith("/");
const common = later(() => ({
  version: z.literal(1),
  /** Name of the target. */
  target: z.string(),
  /** Name of the store. */
  store: z.string(),
  remote: remoteSchema,
}));
/** File of the record of target and store (core/backup-record.ts); its lock lies beside it. */
const record = later(() => ({ record: absolute() }));

/** One deed on the copies of one target in one bucket. */
export const remoteJobSchema = later(() =>
  z.discriminatedUnion("deed", [
    z.strictObject({
      deed: z.literal("copy"),
      ...common,
      ...record,
      /** Folder of the store that is copied. */
      folder: absolute(),
      /** The last backup there when the job was given; `null`: nobody knows. */
      newest: z.string().nullable(),
      /** When its source was last seen to hold the same; absent: not since. */
      unchangedAt: z.iso.datetime().optional(),
      retention: retentionJobSchema,
    }),
    z.strictObject({ deed: z.literal("look"), ...common, known: z.array(z.string()) }),
    z.strictObject({
      deed: z.literal("verify"),
      ...common,
      ...record,
      level: z.enum(LEVELS),
      checks: z.array(checkJobSchema),
      /** Which; empty: the newest. */
      ids: z.array(z.string()),
      identity: z.string().optional(),
      /** Folder with room for the unpacked data. */
      scratch: absolute(),
    }),
    z.strictObject({
      deed: z.literal("prune"),
      ...common,
      ...record,
      retention: retentionJobSchema,
      dryRun: z.boolean(),
      force: z.boolean(),
    }),
    z.strictObject({
      deed: z.literal("fetch"),
      ...common,
      id: z.string(),
      /** Folder of a store of its own, which gets the backup and what it needs. */
      into: absolute(),
      /** Instant that a base is to be played up to: its WAL comes too. */
      until: z.iso.datetime().optional(),
    }),
    /** Whether the bucket can be read and written. */
    z.strictObject({ deed: z.literal("probe"), ...common }),
  ]),
);
export type RemoteJob = z.output<typeof remoteJobSchema>;
export type RemoteDeed<Deed extends RemoteJob["deed"]> = Extract<RemoteJob, { readonly deed: Deed }>;

export interface CopyPlan {
  /** Backups to send, in this order: the newest first, but a full one before those made against it. */
  readonly send: readonly string[];
  /** Those among them that lie there damaged and are removed first. */
  readonly replace: readonly string[];
}

/**
 * What is sent: the verified backups that the retention would keep if all of both places lay in one. A backup that it keeps
 * of more is one that it keeps of fewer, too: so what is sent is not deleted there afterwards, and not sent again.
 */
export function planCopies(
  local: readonly Kept[],
  remote: readonly Kept[],
  policy: Retention,
  nowMs: number,
): CopyPlan {
  const good = remote.filter(({ refuted }) => !refuted);
  const there = new Set(good.map(({ id }) => id));
  const able = local.filter(({ id, verified, preRestore }) => verified && !preRestore && !there.has(id));
  const bases = new Set([...there, ...able.filter(({ base }) => base === null).map(({ id }) => id)]);
  const candidates = able.filter(({ base }) => base === null || bases.has(base));
  const kept = new Set(
    planRetention([...good, ...candidates], policy, nowMs)
      .filter(({ keep }) => keep)
      .map(({ id }) => id),
  );
  const wanted = candidates
    .filter(({ id }) => kept.has(id))
    .toSorted((a, b) => b.snapshotMs - a.snapshotMs || (a.id < b.id ? 1 : -1));
  const send = new Set<string>();
  for (const { id, base } of wanted) {
    if (base !== null && !there.has(base)) send.add(base);
    send.add(id);
  }
  const damaged = new Set(remote.filter(({ refuted }) => refuted).map(({ id }) => id));
  return { send: [...send], replace: [...send].filter((id) => damaged.has(id)) };
}
