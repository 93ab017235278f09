/** Copies of backups in buckets: the jobs of their worker, from the config and its key files, and what lies there. */
import { join } from "node:path";
import type { BackupLine, RemoteSummary } from "../../core/backup-job.ts";
import { readBackupId } from "../../core/backup-manifest.ts";
import type { RemoteDeed, RemoteJob, RemoteSettings } from "../../core/backup-remote.ts";
import type { Clock } from "../../platform/clock.ts";
import { readAuthority } from "../../platform/authority.ts";
import { readTextIfExists } from "../../platform/files.ts";
import {
  noteKilled,
  placesOf,
  readIdentity,
  readRecord,
  recordPath,
  runDeed,
  UNMARKED,
  type DeedEnd,
  type Place,
} from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";
import { lookInto } from "./stores.ts";

/** A key is one line. */
const MAX_KEY_BYTES = 4_096;

type Loaded = Pick<LoadedConfig, "config" | "dirs" | "env">;

/** Throws when the store is no bucket, or one of its keys cannot be read. */
export function remoteOf({ config, env }: Pick<Loaded, "config" | "env">, name: string): RemoteSettings {
  const store = config.backups?.stores[name];
  if (store?.kind !== "s3") throw new Error(`cannot use the store ${name}: it is no bucket`);
  const { endpoint, bucket, prefix, region, timeout, caFile } = store;
  const key = (what: "accessKeyId" | "secretAccessKey"): string => {
    const [file, variable] = [store[`${what}File`], store[`${what}Env`]];
    const text = file === undefined ? env[variable ?? ""] : readTextIfExists(file, MAX_KEY_BYTES);
    const value = (text ?? "").trim();
    if (value !== "") return value;
    const where = file ?? `the environment variable ${variable ?? ""}`;
    throw new Error(`cannot use the store ${name}: ${where} ${text === undefined ? "is not there" : "is empty"}`);
  };
  return {
    endpoint,
    bucket,
    prefix,
    region,
    timeoutMs: timeout,
    accessKeyId: key("accessKeyId"),
    secretAccessKey: key("secretAccessKey"),
    ...(caFile === undefined ? {} : { ca: authorityIn(name, caFile) }),
  };
}

/** One that cannot be read is no reason to trust the public authorities instead. */
function authorityIn(store: string, file: string): string {
  const read = readAuthority(file);
  if (read.kind === "failed") throw new Error(`cannot use the store ${store}: ${file} ${read.reason}`);
  return read.pem;
}

function commonOf(loaded: Loaded, { target, store }: Place) {
  return { version: 1 as const, target, store, remote: remoteOf(loaded, store) };
}

/** Throws like `remoteOf`. */
export function copyJob(loaded: Loaded, place: Place): RemoteDeed<"copy"> {
  const { backups } = loaded.config;
  const [source] = backups === undefined ? [] : placesOf(backups, place.target);
  const from = source === undefined ? undefined : backups?.stores[source.store];
  if (source === undefined || from?.kind !== "directory")
    throw new Error(`cannot copy the backups of ${place.target}: they lie in no directory`);
  const { id: newest = null, unchangedAt } = readRecord(loaded.dirs.stateDir, source)?.lastSuccess ?? {};
  return {
    deed: "copy",
    ...commonOf(loaded, place),
    record: recordPath(loaded.dirs.stateDir, place),
    folder: from.path,
    newest,
    ...(unchangedAt === undefined ? {} : { unchangedAt }),
    retention: retentionOf(loaded, place),
  };
}

/** Of the copies of a place. Throws when the config has no backups. */
export function retentionOf({ config }: Loaded, { store: name }: Place): RemoteDeed<"copy">["retention"] {
  const store = config.backups?.stores[name];
  const own = store?.kind === "s3" ? store.retention : undefined;
  const retention = own ?? config.backups?.retention;
  if (retention === undefined) throw new Error("cannot copy: the config has no backups section");
  return retention;
}

/** Throws like `remoteOf`, and when the private key cannot be read. */
export function remoteVerifyJob(
  loaded: Loaded,
  place: Place,
  { level, ids }: Pick<RemoteDeed<"verify">, "level" | "ids">,
): RemoteDeed<"verify"> {
  const target = loaded.config.backups?.targets[place.target];
  const checks = target !== undefined && "checks" in target ? (target.checks ?? []) : [];
  const identity = readIdentity(loaded);
  return {
    deed: "verify",
    ...commonOf(loaded, place),
    record: recordPath(loaded.dirs.stateDir, place),
    scratch: scratchOf(loaded),
    level,
    ids,
    checks: [...checks],
    ...(identity === undefined ? {} : { identity }),
  };
}

export function remotePruneJob(
  loaded: Loaded,
  place: Place,
  how: Pick<RemoteDeed<"prune">, "dryRun" | "force">,
): RemoteDeed<"prune"> {
  const record = recordPath(loaded.dirs.stateDir, place);
  return { deed: "prune", ...commonOf(loaded, place), record, retention: retentionOf(loaded, place), ...how };
}

export function fetchJob(
  loaded: Loaded,
  place: Place,
  { id, into, until }: Pick<RemoteDeed<"fetch">, "id" | "into" | "until">,
): RemoteDeed<"fetch"> {
  return { deed: "fetch", ...commonOf(loaded, place), id, into, ...(until === undefined ? {} : { until }) };
}

/** Folder for what a restore fetches and a drill restores. */
export function scratchOf({ config, dirs }: Pick<Loaded, "config" | "dirs">): string {
  return config.backups?.scratch ?? join(dirs.stateDir, "backups", "scratch");
}

interface FoundCopy {
  readonly id: string;
  readonly damage: string | null;
  readonly backup: RemoteSummary | null;
}

export interface CopyLook {
  /** Oldest first. */
  readonly found: readonly FoundCopy[];
  /** Why nothing can be said of what is there; `null` when it can. */
  readonly fault: string | null;
}

/** What lies in a bucket of a target. Never throws: a store that cannot be asked is an answer. */
export async function lookAtCopies(loaded: Loaded, place: Place, clock: Clock): Promise<CopyLook> {
  const found: FoundCopy[] = [];
  try {
    const job: RemoteJob = { deed: "look", ...commonOf(loaded, place), known: knownIds(loaded, place) };
    const onLine = (line: BackupLine): void => {
      if (line.kind === "found") found.push(line);
    };
    const { failure } = await runRemote(job, { ...UNMARKED, clock, onLine });
    const fault = failure === undefined ? null : `the store ${place.store} cannot be looked into: ${failure}`;
    return { found: fault === null ? found : [], fault };
  } catch (error) {
    return { found: [], fault: error instanceof Error ? error.message : String(error) };
  }
}

/** Why the bucket cannot be used; `undefined` when it can. Never throws. */
export async function probeStore(loaded: Loaded, store: string, clock: Clock): Promise<string | undefined> {
  try {
    const job: RemoteJob = { deed: "probe", ...commonOf(loaded, { target: "-", store }) };
    const { failure } = await runRemote(job, { ...UNMARKED, clock, onLine: () => undefined });
    return failure?.replace(/^remote: /, "");
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export async function runRemote(job: RemoteJob, options: Parameters<typeof runDeed>[2]): Promise<DeedEnd> {
  const end = await runDeed("remote-backups", job, options);
  if (job.deed === "copy") await noteKilled({ ...job, target: { name: job.target } }, "remote", end, options.clock);
  return end;
}

/** Copies that must be there whatever a listing says: of what lies here, and the last one that was made. */
export function knownIds(loaded: Loaded, place: Place): string[] {
  const { backups } = loaded.config;
  const places = backups === undefined ? [] : placesOf(backups, place.target).slice(0, 1);
  const here = places.flatMap((each) => lookInto(loaded, each).backups.map(({ id }) => id));
  const last = readRecord(loaded.dirs.stateDir, place)?.lastSuccess?.id;
  return [...new Set([...here, ...(last === undefined ? [] : [last])])].filter(
    (id) => readBackupId(id)?.target === place.target,
  );
}
