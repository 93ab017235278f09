/** What pgBackRest says of its repository, and which kind of backup comes next: the shapes of `info --output=json` and of `verify` (pgBackRest 2.45). */
import * as z from "zod";
import { later } from "./later.ts";
import type { Manifest } from "./backup-manifest.ts";

export const STANZA = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const LABEL = /^\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?$/;

const KINDS = ["full", "diff", "incr"] as const;
export type PgBackRestKind = (typeof KINDS)[number];

/** How a worker drives it. */
export const pgBackRestSchema = later(() =>
  z.strictObject({
    stanza: z.string().regex(STANZA),
    /** Its configuration file; without it, its own default. */
    config: z.string().startsWith("/").optional(),
    /** Age of the newest full backup from which on another is made, ms; and the same of a differential one. */
    fullMs: z.number().positive(),
    differentialMs: z.number().positive(),
  }),
);
export type PgBackRestSettings = z.output<typeof pgBackRestSchema>;

const backupSchema = later(() =>
  z.looseObject({
    label: z.string().regex(LABEL),
    type: z.enum(KINDS),
    error: z.boolean().nullish(),
    timestamp: z.looseObject({ start: z.int(), stop: z.int() }),
    archive: z.looseObject({ start: z.string().nullable(), stop: z.string().nullable() }),
    lsn: z.looseObject({ start: z.string(), stop: z.string() }).nullish(),
    info: z.looseObject({
      size: z.int(),
      repository: z.looseObject({ size: z.int().nullish(), delta: z.int().nullish() }),
    }),
  }),
);
export type PgBackRestBackup = z.output<typeof backupSchema>;

const infoSchema = later(() =>
  z.array(
    z.looseObject({
      name: z.string(),
      status: z.looseObject({ code: z.int(), message: z.string() }),
      backup: z.array(backupSchema),
      /** The servers that the stanza was made for, by the identifier of initdb: read as text, since it is larger than a number holds. */
      db: z.array(z.looseObject({ "system-id": z.string().regex(/^\d{1,20}$/) })).optional(),
    }),
  ),
);

/** Status of a stanza that is there and has no backup yet. */
const NO_BACKUP = 2;

export interface BackRestInfo {
  /** Oldest first. */
  readonly backups: readonly PgBackRestBackup[];
  /** Servers that the stanza was made for, now or before; empty: it does not say. */
  readonly systems: readonly string[];
}

const SYSTEM_ID = /"system-id"\s*:\s*(\d+)/g;

/** What it says of a stanza. Throws why there is nothing to be had. */
export function readBackRestInfo(text: string, stanza: string): BackRestInfo {
  const exact = text.replace(SYSTEM_ID, '"system-id":"$1"');
  const found = infoSchema.parse(JSON.parse(exact)).find(({ name }) => name === stanza);
  if (found === undefined) throw new Error(`pgBackRest knows no stanza ${stanza}; pgbackrest stanza-create makes it`);
  const { code, message } = found.status;
  if (code !== 0 && code !== NO_BACKUP)
    throw new Error(`the stanza ${stanza} cannot be used: ${message}; pgbackrest stanza-create makes one`);
  const backups = found.backup.toSorted((a, b) => a.timestamp.stop - b.timestamp.stop);
  return { backups, systems: (found.db ?? []).map((each) => each["system-id"]) };
}

/** A run that comes a little earlier than the last time must not put a full backup off by a whole round. */
const EARLY_RATIO = 0.05;

/** What the next run makes. A backup in which pgBackRest found damaged pages stands for none. */
export function nextBackRestKind(
  backups: readonly PgBackRestBackup[],
  { fullMs, differentialMs }: Pick<PgBackRestSettings, "fullMs" | "differentialMs">,
  nowMs: number,
): PgBackRestKind {
  const youngest = (kinds: readonly PgBackRestKind[]): number => {
    const starts = backups
      .filter(({ type, error }) => error !== true && kinds.includes(type))
      .map(({ timestamp }) => timestamp.start * 1_000);
    return nowMs - Math.max(Number.NEGATIVE_INFINITY, ...starts);
  };
  // A clock that was set back makes them younger than nothing; an age that is none is no reason to skip a full one for ever.
  if (youngest(["full"]) >= fullMs * (1 - EARLY_RATIO)) return "full";
  return youngest(["full", "diff"]) >= differentialMs * (1 - EARLY_RATIO) ? "diff" : "incr";
}

/** What `verify --output=text --verbose` has against a backup; `undefined`: nothing. Throws when it does not speak of it. */
export function readBackRestVerify(text: string, label: string): string | undefined {
  const lines = text.split("\n").map((line) => line.trim());
  const at = lines.findIndex((line) => line.startsWith(`backup: ${label}, `));
  if (at === -1) throw new Error(`pgbackrest verify says nothing of ${label}`);
  const status = /status: ([^,]+)/.exec(lines[at] ?? "")?.[1] ?? "nothing";
  if (status === "valid") return undefined;
  const next = lines[at + 1] ?? "";
  return `pgbackrest verify calls it ${status}${next === "" || next.startsWith("backup:") ? "" : `: ${next}`}`;
}

const elsewhereSchema = later(() =>
  z.looseObject({
    stanza: z.string().regex(STANZA),
    config: z.string().startsWith("/").optional(),
    label: z.string().regex(LABEL),
    type: z.enum(KINDS),
    /** Of the whole server, and what a restore of it takes from the repository, bytes. */
    databaseBytes: z.int().min(0),
    repositoryBytes: z.int().min(0),
    /** What it has added to the repository; older releases did not write it. */
    addedBytes: z.int().min(0).optional(),
  }),
);
export type KeptElsewhere = z.output<typeof elsewhereSchema>;

/** Where the data of a backup lies that pgBackRest has made and alone deletes; `undefined`: beside its manifest, like all others. */
export function keptElsewhere({ engine }: Pick<Manifest, "engine">): KeptElsewhere | undefined {
  return engine["pgbackrest"] === undefined ? undefined : elsewhereSchema.parse(engine["pgbackrest"]);
}

/** Bytes of a backup's data, and of what is stored of it, wherever that lies. */
export function sizesOf(manifest: Manifest): { readonly rawBytes: number; readonly storedBytes: number } {
  const elsewhere = keptElsewhere(manifest);
  return elsewhere === undefined
    ? { rawBytes: manifest.raw.bytes, storedBytes: manifest.parts.reduce((sum, { bytes }) => sum + bytes, 0) }
    : { rawBytes: elsewhere.databaseBytes, storedBytes: elsewhere.repositoryBytes };
}
