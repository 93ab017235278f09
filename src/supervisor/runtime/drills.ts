/** Drills: the job of their worker from the config, and the daemon's schedule of them. */
import { counted } from "../../core/counted.ts";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import {
  beginDrillRecord,
  lastLineSha256,
  newDrillId,
  readDrillRecord,
  recordDrill,
} from "../../actions/backup/drill-record.ts";
import { parseDrillRecord } from "./backup-lines.ts";
import { sweepScratchBeside } from "../../actions/backup/scratch.ts";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { dueAt, isOverdue, type ScheduleFacts } from "../../core/backup-schedule.ts";
import {
  brokenDrill,
  faultOf,
  type DrillJob,
  type DrillRecord,
  type DrillReport,
  type DrillTarget,
} from "../../core/drill.ts";
import { parsePostgresUrl } from "../../core/postgres-url.ts";
import type { Status } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { tryLock } from "../../platform/lock.ts";
import { isAtWork } from "../../platform/worker.ts";
import {
  backRestOf,
  copyPlacesOf,
  placesOf,
  readIdentity,
  readRecord,
  runDeed,
  troubleOf,
  type DeedEnd,
  type Place,
} from "./backup-run.ts";
import type { BackupsInput } from "./config/backup-schema.ts";
import { runsAround } from "./config/cron.ts";
import type { LoadedConfig } from "./config/load.ts";
import { knownIds, remoteOf, scratchOf } from "./copies.ts";

/** Pause after a failed drill whose worker cannot even write its record, ms. */
const PAUSE_MS = 600_000;

type Loaded = Pick<LoadedConfig, "config" | "dirs" | "env" | "file">;

export interface DrillWish {
  readonly trigger: DrillJob["trigger"];
  /** Targets; `undefined`: all. */
  readonly targets?: readonly string[] | undefined;
  /** The store of all of them; default: the first bucket of each, else its first directory. */
  readonly store?: string | undefined;
  readonly user: string;
  readonly version: string;
}

/** Throws when a key cannot be read, or a target does not go to the store. */
export function drillJob(loaded: Loaded, { trigger, targets, store, user, version }: DrillWish): DrillJob {
  const { backups } = loaded.config;
  if (backups === undefined) throw new Error("cannot drill: the config has no backups section");
  const { rto, rpo } = backups.objectives;
  const identity = readIdentity(loaded);
  return {
    version: 1,
    trigger,
    by: { user, host: hostname(), tool: `supervisor ${version}`, config: loaded.file },
    objectives: { rtoSeconds: rto / 1_000, rpoSeconds: rpo / 1_000 },
    scratch: scratchOf(loaded),
    records: recordsOf(loaded),
    ...(identity === undefined ? {} : { identity }),
    targets: (targets ?? Object.keys(backups.targets)).flatMap((name) => [
      drillTarget(loaded, backups, name, store),
      ...instantTargets(loaded, backups, name, store),
    ]),
  };
}

/** Folder of what is kept of drills. */
export function recordsOf({ dirs }: Pick<Loaded, "dirs">): string {
  return join(dirs.stateDir, "backups");
}

type DrillConfig = NonNullable<BackupsInput["drill"]>;

function drillTarget(loaded: Loaded, backups: BackupsInput, name: string, wanted: string | undefined): DrillTarget {
  const target = backups.targets[name];
  const places = [...copyPlacesOf(backups, name), ...placesOf(backups, name)];
  const place = wanted === undefined ? places[0] : places.find(({ store }) => store === wanted);
  if (target === undefined || place === undefined)
    throw new Error(
      `cannot drill ${name}: it does not go to ${wanted === undefined ? "any store" : `the store ${wanted}`}`,
    );
  return {
    target: name,
    kind: target.kind,
    store: place.store,
    from: sourceOf(loaded, backups, place),
    checks: "checks" in target ? [...(target.checks ?? [])] : [],
    rpoSeconds: (target.rpo ?? backups.objectives.rpo) / 1_000,
  };
}

/** The base of the server with its WAL, where it is kept: in the buckets, and in the first directory. */
function instantTargets(
  loaded: Loaded,
  backups: BackupsInput,
  name: string,
  wanted: string | undefined,
): readonly DrillTarget[] {
  const target = backups.targets[name];
  if (target?.kind !== "postgres" || !target.pitr) return [];
  const pgbackrest = backRestOf(target);
  // What pgBackRest keeps has no copies of ours.
  const places = [
    ...(pgbackrest === undefined ? copyPlacesOf(backups, name) : []),
    ...placesOf(backups, name).slice(0, 1),
  ];
  const place = wanted === undefined ? places[0] : places.find(({ store }) => store === wanted);
  const database = parsePostgresUrl(target.url)?.database;
  if (place === undefined || database === undefined) return [];
  return [
    {
      ...drillTarget(loaded, backups, name, place.store),
      instant: { database, ...(pgbackrest && { pgbackrest }) },
    },
  ];
}

function sourceOf(loaded: Loaded, backups: BackupsInput, place: Place): DrillTarget["from"] {
  const store = backups.stores[place.store];
  if (store?.kind === "directory") return { kind: "folder", folder: store.path };
  return { kind: "bucket", remote: remoteOf(loaded, place.store), known: knownIds(loaded, place) };
}

/** As in `WorkerRequest`; no place has this name. */
const DRILL_WORK = "drill";

/** Runs the drill; the report comes as the last line, also where the worker had to be ended. Never throws. */
export async function runDrill(
  job: DrillJob,
  { onLine, ...options }: Omit<Parameters<typeof runDeed>[2], "work" | "stateDir">,
): Promise<DeedEnd> {
  const startedAt = options.clock.wallTime();
  let isTold = false;
  const end = await runDeed("drill", job, {
    ...options,
    work: DRILL_WORK,
    stateDir: dirname(job.records),
    onLine: (line) => {
      isTold ||= line.kind === "drilled";
      onLine(line);
    },
  });
  const report = isTold ? undefined : recordKilled(job, end, startedAt, options.clock);
  if (report !== undefined) onLine({ kind: "drilled", report });
  return end;
}

/** The failed drill of a worker that could not write it; `undefined`: it could, or the disk does not take it. */
function recordKilled(
  { trigger, by, objectives, records, targets }: DrillJob,
  { killed, failure }: DeedEnd,
  startedAt: Date,
  clock: Clock,
): DrillReport | undefined {
  if (killed === undefined || failure === undefined) return undefined;
  try {
    ensureDir(records, 0o750);
    // One that is held is so by whom SIGKILL does not end, who writes nothing any more, or by a drill of this very moment.
    const lock = tryLock(join(records, "drill.lock"));
    try {
      const endedAt = clock.wallTime();
      const report = brokenDrill({
        version: 1,
        id: newDrillId(startedAt),
        startedAt: startedAt.toISOString(),
        endedAt: endedAt.toISOString(),
        // The clock may have been set back meanwhile.
        rtoSeconds: Math.max(0, endedAt.getTime() - startedAt.getTime()) / 1_000,
        trigger,
        by,
        objectives,
        targets,
        broken: failure,
        previousSha256: lastLineSha256(records),
      });
      recordDrill(records, report);
      return report;
    } finally {
      lock?.release();
    }
  } catch {
    return undefined;
  }
}

interface DrillsDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly version: string;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** Another drill is under way, of which nobody may look after the worker. */
  readonly onBusy?: () => void;
  /** For tests; default: by a worker. */
  readonly run?: typeof runDrill;
}

export class Drills {
  readonly #deps: DrillsDeps;
  readonly #share: number;
  #loaded: LoadedConfig;
  #running = false;
  #pausedUntilMs = 0;
  /** The runs around now: reading a schedule touches megabytes of time zone data. */
  #runs: Pick<ScheduleFacts, "previousMs" | "nextMs"> | undefined;

  constructor(deps: DrillsDeps) {
    this.#deps = deps;
    this.#loaded = deps.loaded;
    this.#share = deps.random();
    if (deps.loaded.config.backups !== undefined) void sweepScratchBeside(scratchOf(deps.loaded));
  }

  adopt(loaded: LoadedConfig): void {
    this.#loaded = loaded;
    this.#runs = undefined;
  }

  look(nowMs: number): void {
    if (this.#running || isAtWork(DRILL_WORK) || this.#deps.clock.monotonicMs() < this.#pausedUntilMs) return;
    const drill = this.#scheduled;
    if (drill === undefined) return;
    const now = this.#deps.clock.wallTime();
    const dueMs = dueAt(this.#factsOf(drill, now, this.#record() ?? this.#begin(now)), nowMs);
    if (dueMs !== undefined && dueMs <= nowMs && this.#hasBackups()) void this.#run();
  }

  /** A drill that we have not begun had to be ended: an alert, and a failed drill. */
  noteKilled(end: DeedEnd, since: Date): void {
    const { clock, version, say } = this.#deps;
    say("alert", `the drill failed: ${end.failure}`);
    try {
      const store = this.#loaded.config.backups?.drill.store;
      const user = "unknown: its worker was left by an earlier supervisor";
      recordKilled(drillJob(this.#loaded, { trigger: "schedule", store, user, version }), end, since, clock);
    } catch {
      // A key that cannot be read: the next drill says so.
    }
  }

  status(): Status["drill"] {
    const now = this.#deps.clock.wallTime();
    // Once: a drill that ends between two readings would be over, and overdue all the same.
    const record = this.#record();
    const drill = this.#scheduled;
    const facts = drill === undefined ? undefined : this.#factsOf(drill, now, record);
    if (facts === undefined && (record?.last ?? null) === null) return undefined;
    const dueMs = facts === undefined ? undefined : dueAt(facts, now.getTime());
    const last = record?.last ?? null;
    return {
      id: last?.id ?? null,
      lastAt: last?.at ?? null,
      lastSuccessAt: record?.lastSuccessAt ?? null,
      ok: last?.ok ?? null,
      rtoSeconds: last?.rtoSeconds ?? null,
      rpoSeconds: last?.rpoSeconds ?? null,
      objectivesMet: last === null ? null : last.rtoMet && last.rpoMet,
      nextAt: dueMs === undefined ? null : new Date(dueMs).toISOString(),
      overdue: facts !== undefined && isOverdue(facts, now.getTime()) && this.#hasBackups(),
      running: this.#running || isAtWork(DRILL_WORK),
      lastError: last?.error ?? null,
    };
  }

  #record(): DrillRecord | undefined {
    try {
      return readDrillRecord(recordsOf(this.#loaded), parseDrillRecord);
    } catch {
      return undefined;
    }
  }

  /** `undefined`: no drills by themselves. */
  get #scheduled(): DrillConfig | undefined {
    const { drill, encryption } = this.#loaded.config.backups ?? {};
    // Who keeps the private key elsewhere drills where that is.
    const locked = encryption !== undefined && encryption.identityFile === undefined;
    return drill === undefined || drill.schedule === "never" || locked ? undefined : drill;
  }

  #factsOf(drill: DrillConfig, now: Date, record: DrillRecord | undefined): ScheduleFacts {
    const sinceMs = record === undefined ? now.getTime() : Date.parse(record.since);
    const lastMs = record?.last == null ? undefined : Date.parse(record.last.at);
    return {
      ...this.#runsAround(drill, now),
      lastAttemptMs: lastMs,
      // The first drill is that of the first run of the schedule after it began to count here.
      lastSuccessMs: record?.last?.done === true ? lastMs : lastMs === undefined ? sinceMs : undefined,
      failuresInRow: record?.failuresInRow ?? 0,
      delayMs: this.#share * drill.jitter,
    };
  }

  #begin(now: Date): DrillRecord | undefined {
    try {
      return beginDrillRecord(recordsOf(this.#loaded), now);
    } catch {
      // A full disk: the next look tries again.
      return undefined;
    }
  }

  #runsAround({ schedule, timezone }: { readonly schedule: string; readonly timezone: string }, now: Date) {
    const nowMs = now.getTime();
    const known = this.#runs;
    if (known !== undefined && nowMs >= (known.previousMs ?? 0) && nowMs < (known.nextMs ?? Number.POSITIVE_INFINITY))
      return known;
    this.#runs = runsAround(schedule, timezone, now);
    return this.#runs;
  }

  /** Something has been backed up: before, a drill can only fail. A target that never was is a finding. */
  #hasBackups(): boolean {
    const { config, dirs } = this.#loaded;
    const { backups } = config;
    if (backups === undefined) return false;
    return Object.keys(backups.targets).some((target) =>
      placesOf(backups, target).some((place) => (readRecord(dirs.stateDir, place)?.lastSuccess ?? null) !== null),
    );
  }

  async #run(): Promise<void> {
    const { clock, say } = this.#deps;
    this.#running = true;
    const failure = await this.#drill().catch((error: unknown) => ({
      why: error instanceof Error ? error.message : String(error),
      recorded: false,
    }));
    this.#running = false;
    if (failure === undefined) return;
    if (failure.why !== undefined) say("alert", `the drill failed: ${failure.why}`);
    // One that was recorded is tried again as its record says.
    if (!failure.recorded) this.#pausedUntilMs = clock.monotonicMs() + PAUSE_MS;
  }

  /** Says why it was not made, and nothing of why where another one is under way, as that of the daemon before an upgrade. */
  async #drill(): Promise<{ readonly why: string | undefined; readonly recorded: boolean } | undefined> {
    const { clock, version, say, onBusy, run = runDrill } = this.#deps;
    const store = this.#loaded.config.backups?.drill.store;
    const job = drillJob(this.#loaded, { trigger: "schedule", store, user: "the daemon", version });
    let report: DrillReport | undefined;
    const end = await run(job, {
      clock,
      onLine: (line) => {
        if (line.kind === "drilled") report = line.report;
      },
    });
    if (end.code === BACKUP_EXIT.busy) onBusy?.();
    if (report === undefined) {
      const why = end.failure === undefined ? "its worker said nothing" : troubleOf(end);
      return { why, recorded: false };
    }
    if (!report.ok) return { why: faultOf(report) ?? "an objective was missed", recorded: true };
    say(
      "info",
      `drill ${report.id}: restored ${counted(report.targets.length, "target")} in ${Math.round(report.rtoSeconds)} s`,
    );
    return undefined;
  }
}
