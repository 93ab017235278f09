/** What the supervisor says to a worker that restores or exports a backup. Secrets travel on the worker's stdin only. */
import * as z from "zod";
import { later } from "./later.ts";
import { COMPRESSORS, type BackupType } from "./backup-manifest.ts";
import { jobTargetSchema } from "./backup-job.ts";
import { remoteSchema } from "./backup-remote.ts";

const absolute = () => z.string().startsWith("/");

const fromSchema = later(() =>
  z.discriminatedUnion("kind", [
    /** `id` of the backups in `folder`, the folder of the store. */
    z.strictObject({ kind: z.literal("backup"), folder: absolute(), id: z.string() }),
    /** A file or a backup's folder, wherever it came from. */
    z.strictObject({ kind: z.literal("file"), path: absolute() }),
  ]),
);
export type RestoreFrom = z.output<typeof fromSchema>;

const common = later(() => ({
  version: z.literal(1),
  target: jobTargetSchema,
  from: fromSchema,
  /** Private key of age. */
  identity: z.string().optional(),
  /** Of a file that `openssl enc` made. */
  password: z.string().optional(),
}));

export const restoreJobSchema = later(() =>
  z.strictObject({
    ...common,
    into: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("live") }),
      z.strictObject({ kind: z.literal("folder"), path: absolute() }),
      /** The whole server as of an instant, in a new data folder: from a base and the archived WAL. */
      z.strictObject({ kind: z.literal("instant"), path: absolute(), at: z.iso.datetime() }),
      z.strictObject({ kind: z.literal("tables"), tables: z.array(z.string().min(1)).min(1) }),
    ]),
    /** End whoever is connected to the database that is replaced, in the place of refusing. */
    disconnect: z.boolean().default(false),
    /** Bots that use the target: stopped meanwhile. */
    bots: z.array(z.string()),
    stateDir: absolute(),
    /** The daemon's control socket, whether there is a daemon or not. */
    socket: absolute(),
  }),
);
export type RestoreJob = z.output<typeof restoreJobSchema>;

/** Ends restores on a server that were broken off, and deletes what they have moved aside long enough ago. */
export const settleJobSchema = later(() =>
  z.strictObject({ version: z.literal(1), target: jobTargetSchema, stateDir: absolute() }),
);
export type SettleJob = z.output<typeof settleJobSchema>;

/** Archives the WAL of a target for as long as somebody listens. */
export const walJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    target: jobTargetSchema,
    /** Folder of the store. */
    folder: absolute(),
    compress: z.enum(COMPRESSORS),
    recipients: z.array(z.string()),
    /** Buckets that get it, too. */
    copies: z.array(z.strictObject({ store: z.string(), remote: remoteSchema })).default([]),
  }),
);
export type WalJob = z.output<typeof walJobSchema>;

export const exportJobSchema = later(() => z.strictObject({ ...common, file: absolute() }));
export type ExportJob = z.output<typeof exportJobSchema>;

/** How the data of a file is packed and what it is, by its name; `undefined` for a name that says nothing. */
export interface FileFormat {
  readonly holds: "sqlite" | "tar" | "postgres" | "redis";
  readonly compress: "gzip" | "zstd" | "none";
  /** By `openssl enc -aes-256-cbc -pbkdf2`. */
  readonly openssl: boolean;
}

const PACKED: Readonly<Record<string, FileFormat["compress"]>> = { gz: "gzip", tgz: "gzip", zst: "zstd" };
const HOLDS: readonly (readonly [RegExp, FileFormat["holds"]])[] = [
  [/^postgres_backup_|\.(sql|dump)$/, "postgres"],
  [/^redis_backup_|\.rdb$/, "redis"],
  [/\.tar$/, "tar"],
  [/\.(db|sqlite3?)$/, "sqlite"],
];

export function formatOf(name: string): FileFormat | undefined {
  const openssl = name.endsWith(".enc");
  const bare = openssl ? name.slice(0, -".enc".length) : name;
  const ending = /\.(gz|tgz|zst)$/.exec(bare)?.[1];
  const inner = ending === undefined ? bare : `${bare.slice(0, -ending.length - 1)}${ending === "tgz" ? ".tar" : ""}`;
  const holds = HOLDS.find(([pattern]) => pattern.test(inner))?.[1];
  return holds === undefined
    ? undefined
    : { holds, compress: ending === undefined ? "none" : (PACKED[ending] ?? "none"), openssl };
}

/** What a backup of a target of this kind is, unpacked. */
export function holdsOf(type: BackupType): FileFormat["holds"] {
  switch (type) {
    case "sqlite":
      return "sqlite";
    case "files":
    case "secrets":
      return "tar";
    case "redis":
      return "redis";
    case "postgres":
      return "postgres";
  }
}

/** Why what `label` names cannot be restored into a target of this kind; `undefined` when it can. */
export function misfit(
  {
    label,
    holds,
    type,
  }: { readonly label: string; readonly holds: FileFormat["holds"]; readonly type?: BackupType | undefined },
  kind: BackupType,
): string | undefined {
  if (holds === holdsOf(kind)) return undefined;
  const word = type ?? (holds === "tar" ? "files" : holds);
  return `${label} holds ${word}, and the target is of kind ${kind}; name another target`;
}

/** Of a file whose name says nothing (`formatOf`). */
export function namelessText(path: string): string {
  return `cannot tell what ${path} is: its name must end in .db, .rdb or .tar, then .gz or .zst if it is packed, then .enc if openssl encrypted it`;
}

/** Of a file of openssl whose password nobody gave. */
export function passwordlessText(path: string): string {
  return `${path} is encrypted by openssl: give its password with --password-file`;
}
