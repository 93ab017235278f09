/**
 * The daemon's schedule of backups. It looks at the wall clock on each tick instead of setting long timers, so that a clock
 * that was set and a machine that slept are caught up with; the backups themselves are made by workers.
 */
import { counted } from "../../core/counted.ts";
import { join } from "node:path";
import { fullRuns, type BackupRecord } from "../../core/backup-record.ts";
import {
  isIncrementalOverdue,
  dueProof,
  isOverdue,
  nextDue,
  type Due,
  type IncrementalFacts,
  type ScheduleFacts,
} from "../../core/backup-schedule.ts";
import { BACKUP_EXIT, type BackupJob } from "../../core/backup-job.ts";
import type { Level } from "../../core/backup-manifest.ts";
import type { BackupStatus } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { isAtWork } from "../../platform/worker.ts";
import { backupStatus } from "./backup-status.ts";
import {
  backupJobs,
  keyOf,
  placesOf,
  readRecord,
  runBackup,
  runDeed,
  settleOnServer,
  troubleOf,
  verifyJob,
  type DeedEnd,
  type Place,
  type RunOptions,
} from "./backup-run.ts";
import { runsAround, type Runs } from "./config/cron.ts";
import type { LoadedConfig } from "./config/load.ts";
import { Copies } from "./copy-schedule.ts";
import { Drills } from "./drills.ts";
import { KeptWorkers } from "./kept-workers.ts";
import { StoreDisks } from "./store-disks.ts";
import { WalArchives } from "./wal-archives.ts";
import { Restores } from "./restores.ts";

/** Ticks of the daemon between two looks at the clock: a schedule has minutes. */
const LOOK_TICKS = 10;
/** Looks at the clock between two at the disks of the stores: once a minute. */
const DISK_LOOKS = 6;
/** Pause of a target after a failed run, ms: one whose worker cannot even write its record must not be started in a loop. */
const PAUSE_MS = 60_000;
/** Backups made at the same time: they share one disk, with the bot too. */
const MAX_WORKERS = 1;

/** Shortest time between two proofs of a place, ms, whatever its record says; the first comes some time after the start, which has enough to do. */
const PROOF_PAUSE_MS = 3_600_000;
const FIRST_PROOF_MS = 600_000;

interface BackupsDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly version: string;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** Starts a bot that a restore had stopped. */
  readonly start: (bot: string) => void;
  /** As in `RestoresDeps`. */
  readonly startWaiting: () => void;
  /** Of the workers, for tests. */
  readonly workers?: Pick<RunOptions, "hang" | "program">;
}

/** `undefined`: it was done. Text: why it was not. */
type Tried = DeedEnd | string | undefined;

interface Facts {
  readonly full: ScheduleFacts;
  readonly incremental: IncrementalFacts;
}

export class Backups {
  readonly restores: Restores;
  readonly drills: Drills;
  readonly disks: StoreDisks;
  readonly kept: KeptWorkers;
  readonly #copies: Copies;
  readonly #deps: BackupsDeps;
  #loaded: LoadedConfig;
  #places: readonly Place[] = [];
  /** Part of its jitter that each target waits, drawn once for each life of the daemon. */
  readonly #shares = new Map<string, number>();
  readonly #running = new Set<string>();
  /** Monotonic time before which a place is left alone, ms. */
  readonly #pausedUntilMs = new Map<string, number>();
  /** The runs around now, by target: reading a schedule touches megabytes of time zone data. */
  /** Monotonic time of the last proof of each place, ms. */
  readonly #provenMs = new Map<string, number>();
  readonly #wal: WalArchives;
  /** Places whose WAL has a gap that only another base closes. */
  readonly #lost = new Map<string, Place>();
  readonly #timetable = new Map<string, Runs>();
  #ticks = 0;

  constructor(deps: BackupsDeps) {
    this.#deps = deps;
    this.restores = new Restores({
      ...deps,
      stateDir: deps.loaded.dirs.stateDir,
      settleOnServer: (target) => settleOnServer(this.#loaded, target, { clock: deps.clock }),
    });
    this.#loaded = deps.loaded;
    const onBusy = (): void => this.kept.askForLook();
    this.#copies = new Copies({ ...deps, onBusy });
    this.drills = new Drills({ ...deps, onBusy });
    this.disks = new StoreDisks(deps);
    this.kept = new KeptWorkers({
      ...deps,
      hang: deps.workers?.hang,
      loaded: () => this.#loaded,
      drillKilled: (end, since) => this.drills.noteKilled(end, since),
    });
    this.#wal = new WalArchives({ ...deps, onLost: (place) => void this.#lost.set(keyOf(place), place) });
    this.adopt(deps.loaded);
  }

  /** Goes by this config from here on; a backup that is under way ends by the one before. */
  adopt(loaded: LoadedConfig): void {
    this.#loaded = loaded;
    this.#copies.adopt(loaded);
    this.drills.adopt(loaded);
    this.#wal.adopt(loaded);
    this.#timetable.clear();
    const { backups } = loaded.config;
    const targets = Object.keys(backups?.targets ?? {});
    this.#places = backups === undefined ? [] : targets.flatMap((target) => placesOf(backups, target));
    this.disks.adopt(
      this.#places.flatMap((place) => {
        const store = backups?.stores[place.store];
        return store?.kind === "directory" ? [{ ...place, folder: join(store.path, place.target) }] : [];
      }),
    );
    for (const target of targets) if (!this.#shares.has(target)) this.#shares.set(target, this.#deps.random());
  }

  /** Each second: starts what is due. */
  tick(): void {
    this.restores.tick();
    this.#ticks += 1;
    if (this.#ticks % LOOK_TICKS !== 0) return;
    const nowMs = this.#deps.clock.wallTime().getTime();
    this.kept.look();
    this.#copies.look(nowMs);
    this.drills.look(nowMs);
    this.#wal.look();
    if (this.#ticks % (LOOK_TICKS * DISK_LOOKS) === 0) void this.disks.watch();
    for (const [key, place] of this.#lost) {
      if (this.#running.size >= MAX_WORKERS) return;
      this.#lost.delete(key);
      void this.#run(place, "make a base of", () => this.#makeBase(place));
    }
    for (const place of this.#places) {
      if (this.#running.size >= MAX_WORKERS) return;
      if (isAtWork(keyOf(place)) || (this.#pausedUntilMs.get(keyOf(place)) ?? 0) > this.#deps.clock.monotonicMs())
        continue;
      const facts = this.#factsOf(place, readRecord(this.#loaded.dirs.stateDir, place));
      const due = facts === undefined ? undefined : nextDue(facts.full, facts.incremental, nowMs);
      if (due !== undefined && due.atMs <= nowMs) void this.#run(place, "back up", () => this.#make(place, due.kind));
      else if (facts !== undefined) this.#proveIfDue(place, nowMs);
    }
  }

  #proveIfDue(place: Place, nowMs: number): void {
    const level = this.#proofDue(place, nowMs);
    if (level !== undefined) void this.#run(place, "prove", () => this.#prove(place, level));
  }

  /** Ends what lives as long as the daemon; backups that are under way end by themselves. Never throws. */
  end(): Promise<void> {
    return this.#wal.end();
  }

  /** What status shows, one entry for each target and store. */
  status(): readonly BackupStatus[] {
    const { clock } = this.#deps;
    const loaded = this.#loaded;
    const copies = this.#copies.status(clock.wallTime().getTime());
    const made = this.#places.map((place) => {
      // Once, and before the clock: a worker may write it meanwhile, and what is of later than now counts for nothing.
      const record = readRecord(loaded.dirs.stateDir, place);
      const nowMs = clock.wallTime().getTime();
      const facts = this.#factsOf(place, record);
      const wal = this.#wal.status(place);
      const status = backupStatus(loaded, place, {
        record,
        dueMs: facts === undefined ? undefined : nextDue(facts.full, facts.incremental, nowMs)?.atMs,
        overdue:
          facts !== undefined && (isOverdue(facts.full, nowMs) || isIncrementalOverdue(facts.incremental, nowMs)),
        running: this.#running.has(keyOf(place)) || isAtWork(keyOf(place)),
        disk: this.disks.of(place),
      });
      return wal === undefined ? status : { ...status, wal };
    });
    return [...made, ...copies];
  }

  /** `undefined` for a target without a schedule. */
  #factsOf({ target }: Place, record: BackupRecord | undefined): Facts | undefined {
    const { clock } = this.#deps;
    const loaded = this.#loaded;
    const config = loaded.config.backups?.targets[target];
    if (config?.schedule === undefined) return undefined;
    const now = clock.wallTime();
    const full = record === undefined ? undefined : fullRuns(record);
    return {
      full: {
        ...this.#runsOf(target, config.schedule, config.timezone, now),
        lastAttemptMs: millis(full?.lastAttemptAt),
        lastSuccessMs: millis(full?.lastSuccessAt),
        failuresInRow: full?.failuresInRow ?? 0,
        delayMs: (this.#shares.get(target) ?? 0) * config.jitter,
      },
      incremental: {
        everyMs: config.kind === "sqlite" ? config.incremental : undefined,
        lastAttemptMs: millis(record?.lastAttemptAt),
        lastSuccessMs: millis(record?.lastSuccess?.at),
      },
    };
  }

  /** Read anew when the next run is reached, and when the clock was set back before the last one. */
  #runsOf(target: string, schedule: string, timezone: string, now: Date): Runs {
    const known = this.#timetable.get(target);
    const nowMs = now.getTime();
    if (known !== undefined && nowMs >= (known.previousMs ?? 0) && nowMs < (known.nextMs ?? Number.POSITIVE_INFINITY))
      return known;
    const runs = runsAround(schedule, timezone, now);
    this.#timetable.set(target, runs);
    return runs;
  }

  async #run(place: Place, what: string, deed: () => Promise<Tried>): Promise<void> {
    const { clock, say } = this.#deps;
    this.#running.add(keyOf(place));
    const tried = await deed().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    this.#running.delete(keyOf(place));
    if (tried === undefined) return;
    if (typeof tried !== "string" && tried.code === BACKUP_EXIT.busy) this.kept.askForLook();
    this.#pausedUntilMs.set(keyOf(place), clock.monotonicMs() + PAUSE_MS);
    const failure = typeof tried === "string" ? tried : troubleOf(tried);
    // Another one is under way: it counts, or says what is wrong.
    if (failure === undefined) return;
    say("alert", `cannot ${what} ${place.target} in ${place.store}: ${failure}`);
  }

  /** How far the newest backup is to be proven now; `undefined`: not at all. */
  #proofDue(place: Place, nowMs: number): Level | undefined {
    const monotonicMs = this.#deps.clock.monotonicMs();
    const last = this.#provenMs.get(keyOf(place));
    if (last === undefined) this.#provenMs.set(keyOf(place), monotonicMs - PROOF_PAUSE_MS + FIRST_PROOF_MS);
    if (last === undefined || monotonicMs - last < PROOF_PAUSE_MS) return undefined;
    const { config, dirs } = this.#loaded;
    const record = readRecord(dirs.stateDir, place);
    if (config.backups === undefined || record === undefined || record.lastSuccess === null) return undefined;
    const proofs = Object.entries(record.proofs ?? {}).map(([level, { at }]) => [level, { atMs: Date.parse(at) }]);
    return dueProof(config.backups.verify, Object.fromEntries(proofs), nowMs);
  }

  /** Proves the newest backups as far as the level says; says why one does not stand. */
  async #prove(place: Place, level: Level): Promise<Tried> {
    const { clock, say } = this.#deps;
    this.#provenMs.set(keyOf(place), clock.monotonicMs());
    let found: string | undefined;
    const end = await runDeed("verify-backups", verifyJob(this.#loaded, place, { level, ids: [] }), {
      clock,
      work: keyOf(place),
      stateDir: this.#loaded.dirs.stateDir,
      onLine: (line) => {
        if (line.kind !== "verified") return;
        if (line.ok) say("info", `backup ${line.id} stands ${line.level}`);
        else found = `backup ${line.id} does not stand ${line.level}: ${line.detail}`;
      },
    });
    return found ?? (end.failure === undefined ? undefined : end);
  }

  async #make(place: Place, kind: Due["kind"]): Promise<Tried> {
    const options = { trigger: "schedule", version: this.#deps.version, incremental: kind === "incremental" } as const;
    for (const job of backupJobs(this.#loaded, place, options)) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: they share a disk with the bots.
      const tried = await this.#deed(place, job);
      if (tried !== undefined) return tried;
    }
    return undefined;
  }

  /** The base alone of what a run makes. */
  async #makeBase(place: Place): Promise<Tried> {
    const options = { trigger: "schedule", version: this.#deps.version } as const;
    const job = backupJobs(this.#loaded, place, options).find(
      ({ target }) => target.kind === "postgres" && target.physical === true,
    );
    return job === undefined ? undefined : this.#deed(place, job);
  }

  async #deed(place: Place, job: BackupJob): Promise<Tried> {
    const { clock, say, workers } = this.#deps;
    const end = await runBackup(job, {
      ...workers,
      clock,
      work: keyOf(place),
      stateDir: this.#loaded.dirs.stateDir,
      onLine: (line) => {
        if (line.kind === "stored")
          say("info", `backup ${line.id} is stored in ${place.store} and stands ${line.level}`);
        if (line.kind === "unchanged")
          say(
            "info",
            `backup ${line.id} in ${place.store} holds what ${place.target} has now (unchanged since ${line.snapshotAt}): it stands ${line.level} again`,
          );
        if (line.kind === "note") say("info", `${place.target} in ${place.store}: ${line.text}`);
        if (line.kind === "alarm") say("alert", `${place.target} in ${place.store}: ${line.text}`);
        if (line.kind === "pruned")
          say("info", `deleted ${counted(line.ids.length, "backup")} of ${place.target} that no rule keeps`);
      },
    });
    return end.failure === undefined ? undefined : end;
  }
}

function millis(time: string | null | undefined): number | undefined {
  return time == null ? undefined : Date.parse(time);
}
