/** Runs one deed on the backups of one target in a worker: its job from the config, its lines as they come, its end. */
import { join } from "node:path";
import { HANG_BOUNDS, type HangBounds } from "../../core/hang.ts";
import { BACKUP_EXIT, type BackupJob, type BackupLine, type JobTarget, type VerifyJob } from "../../core/backup-job.ts";
import type { SettleJob, WalJob } from "../../core/restore-job.ts";
import type { PgBackRestSettings } from "../../core/pgbackrest.ts";
import type { BackupTrigger } from "../../core/backup-manifest.ts";
import { recordName, type BackupRecord } from "../../core/backup-record.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { workMark } from "../../platform/stray-workers.ts";
import { isAtWork, startWorker, type Worker, type WorkerEnd } from "../../platform/worker.ts";
import { parseRecord, readLine } from "./backup-lines.ts";
import type { BackupsInput, StoreConfig, TargetConfig } from "./config/backup-schema.ts";
import type { LoadedConfig } from "./config/load.ts";

/** A private key of age is one line; the file may hold comments and older keys. */
const MAX_IDENTITY_BYTES = 65_536;
const MAX_PASSWORD_BYTES = 4_096;
const MAX_RECORD_BYTES = 65_536;
/** Longest time of one worker that moves on: half a day of reading and proving is a target that needs another method. */
export const DEADLINE_MS = 12 * 3_600_000;
/** Memory above which a worker is killed: it holds some frames of 4 MiB, and SQLite's and the cryptography's own. */
export const MEMORY_BYTES = 512 * 1_024 ** 2;

export interface Place {
  readonly target: string;
  readonly store: string;
}

/** Names a place, and the work on it; a worker that another supervisor began is known by it. */
export function keyOf({ target, store }: Place): string {
  return `${target}@${store}`;
}

export interface DeedEnd {
  readonly code: number;
  /** Why it failed; `undefined` when it succeeded. */
  readonly failure: string | undefined;
  /** How we ended the worker, or the kernel or a stranger did: it could not write any record. Absent: it ended by itself. */
  readonly killed?: "hung" | "deadline" | "memory" | "signal";
}

/** What somebody must hear of; `undefined`: it was done, or another process is at it already. */
export function troubleOf({ code, failure }: DeedEnd): string | undefined {
  return code === BACKUP_EXIT.busy ? undefined : failure;
}

export interface RunOptions {
  readonly clock: Clock;
  readonly onLine: (line: BackupLine) => void;
  /** Hears of the worker, for who may have to end it. */
  readonly onStart?: (worker: Worker) => void;
  /** As in `WorkerRequest`: what status calls running. `undefined`: a look, or one of a folder that goes again. */
  readonly work: string | undefined;
  /** State folder whose daemon goes on with the worker should we die; only with `work`. */
  readonly stateDir: string | undefined;
  /** It makes an incremental backup: should we die, its failure does not count as that of a full one. */
  readonly incremental?: boolean;
  /** Default: 12 h. */
  readonly deadlineMs?: number | undefined;
  /** When the worker counts as hung; default: `HANG_BOUNDS`. */
  readonly hang?: HangBounds | undefined;
  /** Program of the worker instead of our own, for tests. */
  readonly program?: readonly string[];
}

/** Who is killed while it waits for such a worker leaves one that nobody finds: it has nothing in its hands that outlives it. */
export const UNMARKED = { work: undefined, stateDir: undefined } as const;

/** The directories that a target is backed up to, in order of the config. */
export function placesOf(backups: BackupsInput, target: string): readonly Place[] {
  return storesOf(backups, target, "directory");
}

/** The buckets that copies of a target go to, in order of the config. */
export function copyPlacesOf(backups: BackupsInput, target: string): readonly Place[] {
  return storesOf(backups, target, "s3");
}

function storesOf(backups: BackupsInput, target: string, kind: StoreConfig["kind"]): readonly Place[] {
  const wanted = backups.targets[target]?.stores ?? Object.keys(backups.stores);
  return wanted.filter((store) => backups.stores[store]?.kind === kind).map((store) => ({ target, store }));
}

/** Throws when a file that the job needs cannot be read. */
export function backupJob(
  { config, dirs, env }: Pick<LoadedConfig, "config" | "dirs" | "env">,
  place: Place,
  {
    trigger,
    version,
    incremental = false,
  }: { readonly trigger: BackupTrigger; readonly version: string; readonly incremental?: boolean },
): BackupJob {
  const { backups } = config;
  const { compress, encryption, retention, verify } = backups ?? {};
  if (compress === undefined || retention === undefined || verify === undefined)
    throw new Error("cannot back up: the config has no backups section");
  const common = commonJob({ config }, place);
  return {
    ...common,
    target: withPassword(common.target, backups?.targets[place.target], env),
    trigger,
    incremental,
    compress,
    recipients: encryption?.recipients ?? [],
    verify: verify.every,
    retention,
    tool: { name: "supervisor", version },
    record: recordPath(dirs.stateDir, place),
    bots: Object.entries(config.bots).map(([name, { cwd }]) => ({ name, folder: cwd })),
  };
}

/** The job that proves stored backups of a place. Throws like `commonJob`. */
export function verifyJob(
  { config, dirs }: Pick<LoadedConfig, "config" | "dirs">,
  place: Place,
  { level, ids }: Pick<VerifyJob, "level" | "ids">,
): VerifyJob {
  const target = config.backups?.targets[place.target];
  const checks = target !== undefined && "checks" in target ? (target.checks ?? []) : [];
  return { ...commonJob({ config }, place), level, ids, checks, record: recordPath(dirs.stateDir, place) };
}

/** The private key of age, where the config names one. Throws when it cannot be read. */
export function readIdentity({ config }: Pick<LoadedConfig, "config">): string | undefined {
  const identityFile = config.backups?.encryption?.identityFile;
  const identity = identityFile === undefined ? undefined : readTextIfExists(identityFile, MAX_IDENTITY_BYTES);
  if (identityFile !== undefined && identity === undefined)
    throw new Error(`cannot read the private key ${identityFile}: it does not exist`);
  return identity;
}

/** What one run makes, in order: for a target with `pitr` also the base of the whole server, in one store. */
export function backupJobs(
  loaded: Pick<LoadedConfig, "config" | "dirs" | "env">,
  place: Place,
  options: Parameters<typeof backupJob>[2],
): readonly BackupJob[] {
  const job = backupJob(loaded, place, options);
  const config = loaded.config.backups?.targets[place.target];
  if (job.target.kind !== "postgres" || config?.kind !== "postgres" || !keepsBases(loaded.config.backups, place))
    return [job];
  return [job, { ...job, target: { ...job.target, physical: true } }];
}

/** Whether bases of the target go to this store: the first of its directories. */
function keepsBases(backups: BackupsInput | undefined, { target, store }: Place): boolean {
  const config = backups?.targets[target];
  return (
    backups !== undefined && config?.kind === "postgres" && config.pitr && placesOf(backups, target)[0]?.store === store
  );
}

/** Whether we receive its WAL, too: with pgBackRest the server archives it by itself. */
export function keepsWal(backups: BackupsInput | undefined, place: Place): boolean {
  const config = backups?.targets[place.target];
  return config?.kind === "postgres" && config.engine === "native" && keepsBases(backups, place);
}

/** How pgBackRest is driven; `undefined`: it is not. */
export function backRestOf(config: Extract<TargetConfig, { kind: "postgres" }>): PgBackRestSettings | undefined {
  const { engine, pgbackrest } = config;
  if (engine !== "pgbackrest" || pgbackrest === undefined) return undefined;
  const { stanza, config: file, full, differential } = pgbackrest;
  return { stanza, ...(file && { config: file }), fullMs: full, differentialMs: differential };
}

/** Throws when the password cannot be read. */
export function walJob(loaded: Pick<LoadedConfig, "config" | "dirs" | "env">, place: Place): WalJob {
  const { target, folder, compress, recipients } = backupJob(loaded, place, { trigger: "schedule", version: "" });
  return { version: 1, target, folder, compress, recipients, copies: [] };
}

/** What every job on a target's backups says. Throws when the config does not know the place or its key cannot be read. */
export function commonJob({ config }: Pick<LoadedConfig, "config">, { target: name, store: storeName }: Place) {
  const target = config.backups?.targets[name];
  const store = config.backups?.stores[storeName];
  if (target === undefined || store?.kind !== "directory")
    throw new Error(`cannot find the target ${name} in the store ${storeName}: the config does not name it`);
  const identity = readIdentity({ config });
  return {
    version: 1 as const,
    target: jobTarget(name, target),
    store: storeName,
    folder: store.path,
    ...(identity === undefined ? {} : { identity }),
  };
}

function jobTarget(name: string, target: TargetConfig): JobTarget {
  switch (target.kind) {
    case "sqlite":
      return { kind: "sqlite", name, path: target.path };
    case "redis": {
      const { kind, url, format, folder, stop, start } = target;
      // Only what is set: a job has no key without a value.
      return { kind, name, url, format, ...(folder && { folder }), ...(stop && { stop }), ...(start && { start }) };
    }
    case "postgres": {
      const pgbackrest = backRestOf(target);
      return { kind: target.kind, name, url: target.url, ...(pgbackrest && { pgbackrest }) };
    }
    case "files":
    case "secrets":
      return { kind: target.kind, name, paths: [...target.paths] };
  }
}

/** Only for who reads the source: a check needs no password. Throws when its file cannot be read. */
export function withPassword(target: JobTarget, config: TargetConfig | undefined, env: LoadedConfig["env"]): JobTarget {
  if (target.kind !== "redis" && target.kind !== "postgres") return target;
  if (config?.kind === "postgres" && config.passwordEnv !== undefined) {
    const password = env[config.passwordEnv];
    if (password === undefined) throw new Error(`cannot read the password: there is no variable ${config.passwordEnv}`);
    return { ...target, password };
  }
  if (config?.kind !== target.kind || config.passwordFile === undefined) return target;
  const text = readTextIfExists(config.passwordFile, MAX_PASSWORD_BYTES);
  if (text === undefined) throw new Error(`cannot read the password file ${config.passwordFile}: it does not exist`);
  return { ...target, password: text.replace(/\r?\n$/, "") };
}

/** The target as who reads it needs it; `undefined` when there is none of this name. Throws when its password cannot be read. */
export function targetWithPassword(
  { config, env }: Pick<LoadedConfig, "config" | "env">,
  name: string,
): JobTarget | undefined {
  const target = config.backups?.targets[name];
  return target === undefined ? undefined : withPassword(jobTarget(name, target), target, env);
}

/**
 * Ends what a restore of the target has left on its server. Says how, or why not, and nothing while a worker is at it that had to be given up;
 * never throws.
 */
export async function settleOnServer(
  { config, dirs, env }: Pick<LoadedConfig, "config" | "dirs" | "env">,
  name: string,
  options: Pick<RunOptions, "clock" | "hang" | "program" | "onStart">,
): Promise<{ readonly settled: SettledLine | undefined; readonly failure: string | undefined }> {
  const work = `the restore of ${name}`;
  if (isAtWork(work)) return { settled: undefined, failure: undefined };
  const target = config.backups?.targets[name];
  if (target === undefined)
    return { settled: undefined, failure: `cannot end the restore of ${name}: the config has no such target any more` };
  let settled: SettledLine | undefined;
  try {
    const job: SettleJob = {
      version: 1,
      target: withPassword(jobTarget(name, target), target, env),
      stateDir: dirs.stateDir,
    };
    const end = await runDeed("settle-restore", job, {
      ...options,
      work,
      stateDir: dirs.stateDir,
      onLine: (line) => {
        if (line.kind === "settled") settled = line;
      },
    });
    const why = troubleOf(end);
    return { settled, failure: why === undefined ? undefined : `cannot end the restore of ${name}: ${why}` };
  } catch (error) {
    return {
      settled,
      failure: `cannot end the restore of ${name}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

type SettledLine = Extract<BackupLine, { kind: "settled" }>;

/** Runs the worker to its end; never throws. */
export async function runDeed(
  action: string,
  job: object,
  {
    clock,
    onLine,
    onStart,
    work,
    stateDir,
    incremental,
    deadlineMs = DEADLINE_MS,
    hang = HANG_BOUNDS,
    program,
  }: RunOptions,
): Promise<DeedEnd> {
  const kind = incremental === true ? "incremental" : undefined;
  let failure: string | undefined;
  try {
    const worker = startWorker({
      args: ["__action", action],
      job: JSON.stringify(job),
      deadlineMs,
      hang,
      memory: MEMORY_BYTES,
      clock,
      work,
      ...(work === undefined || stateDir === undefined ? {} : { env: workMark({ stateDir, work, kind }) }),
      ...(program === undefined ? {} : { program }),
      onLine: (text) => {
        const line = readLine(text);
        if (line === undefined) return;
        if (line.kind === "failed") failure = `${line.stage}: ${line.reason}`;
        onLine(line);
      },
    });
    onStart?.(worker);
    return endOf(await worker.done, failure);
  } catch (error) {
    return { code: BACKUP_EXIT.usage, failure: error instanceof Error ? error.message : String(error) };
  }
}

/** `failure`: what the worker has said of it. */
export function endOf({ code, signal, timedOut, outgrown, hung }: WorkerEnd, failure?: string): DeedEnd {
  if (code === BACKUP_EXIT.done) return { code, failure: undefined };
  if (hung !== undefined) return { code: BACKUP_EXIT.deadline, failure: hung, killed: "hung" };
  if (timedOut) return { code: BACKUP_EXIT.deadline, failure: "the worker overran its deadline", killed: "deadline" };
  if (code !== null) return { code, failure: failure ?? `the worker ended with code ${code}` };
  // One that we gave up before it was dead has no signal yet.
  const why = outgrown ? "the worker needed too much memory" : `the worker was ended by ${signal ?? "SIGKILL"}`;
  return { code: BACKUP_EXIT.space, failure: failure ?? why, killed: outgrown ? "memory" : "signal" };
}

/** Makes one backup; a run whose worker was killed counts as a failed one in the record all the same. Never throws. */
export async function runBackup(job: BackupJob, options: RunOptions): Promise<DeedEnd> {
  const end = await runDeed("backup", job, { ...options, incremental: job.incremental });
  if (job.trigger !== "pre-restore") await noteKilled(job, "store", end, options.clock);
  return end;
}

/** Where the worker could not write it: the schedule goes by it, and status shows it. Never throws. */
export async function noteKilled(
  job: Pick<BackupJob, "record" | "store"> & {
    readonly target: { readonly name: string };
    readonly incremental?: boolean;
  },
  stage: "store" | "remote",
  { killed, failure }: DeedEnd,
  clock: Clock,
): Promise<void> {
  if (killed === undefined || failure === undefined) return;
  // With its schemas, which the daemon does without as a rule.
  const { writeRecord } = await import("../../actions/backup/record.ts");
  writeRecord(job, clock, { kind: "failure", stage, reason: failure });
}

export function recordPath(stateDir: string, { target, store }: Place): string {
  return join(stateDir, "backups", recordName(target, store));
}

/** The record of a place; `undefined` before the first backup, and when it cannot be read: the next worker mends it. */
export function readRecord(stateDir: string, place: Place): BackupRecord | undefined {
  try {
    const text = readTextIfExists(recordPath(stateDir, place), MAX_RECORD_BYTES);
    return text === undefined ? undefined : parseRecord(text);
  } catch {
    return undefined;
  }
}
