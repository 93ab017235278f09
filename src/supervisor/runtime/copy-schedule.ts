/** The daemon's copies of backups to buckets: as soon as there is something new, again soon after a failure, one at a time. */
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { copyDueAt, isCopyOverdue, type CopyFacts } from "../../core/backup-schedule.ts";
import type { BackupRecord } from "../../core/backup-record.ts";
import type { BackupStatus } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { isAtWork } from "../../platform/worker.ts";
import { copyPlacesOf, keyOf, placesOf, readRecord, type Place } from "./backup-run.ts";
import { backupStatus } from "./backup-status.ts";
import type { LoadedConfig } from "./config/load.ts";
import { copyJob, runRemote } from "./copies.ts";

/** Pause after a failed run, ms: one whose worker cannot even write its record must not be started in a loop. */
const PAUSE_MS = 60_000;
/** The same for a place whose keys cannot be read: a person has to do something. */
const BROKEN_PAUSE_MS = 900_000;

interface CopiesDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** Another deed on the copies is under way, of which nobody may look after the worker. */
  readonly onBusy?: () => void;
}

export class Copies {
  readonly #deps: CopiesDeps;
  #loaded: LoadedConfig;
  #places: readonly Place[] = [];
  /** The place whose copies are under way: they share one line, beside the backups, which share a disk. */
  #running: Place | undefined;
  /** Monotonic time before which a store is left alone, ms. */
  readonly #pausedUntilMs = new Map<string, number>();
  /** Why no worker could be started, by store; no record says it. */
  readonly #broken = new Map<string, string>();

  constructor(deps: CopiesDeps) {
    this.#deps = deps;
    this.#loaded = deps.loaded;
  }

  adopt(loaded: LoadedConfig): void {
    this.#loaded = loaded;
    this.#pausedUntilMs.clear();
    const { backups } = loaded.config;
    const targets = Object.keys(backups?.targets ?? {});
    this.#places = backups === undefined ? [] : targets.flatMap((target) => copyPlacesOf(backups, target));
  }

  /** Starts what is due; the longest due goes first, so that a store that is down keeps no other waiting. */
  look(nowMs: number): void {
    if (this.#running !== undefined) return;
    const monotonicMs = this.#deps.clock.monotonicMs();
    const [next] = this.#places
      .filter((place) => !isAtWork(keyOf(place)) && (this.#pausedUntilMs.get(place.store) ?? 0) <= monotonicMs)
      .map((place) => ({ place, dueMs: copyDueAt(this.#factsOf(place), nowMs) ?? Number.POSITIVE_INFINITY }))
      .filter(({ dueMs }) => dueMs <= nowMs)
      .toSorted((a, b) => a.dueMs - b.dueMs);
    if (next !== undefined) void this.#run(next.place);
  }

  status(nowMs: number): readonly BackupStatus[] {
    return this.#places.map((place) => {
      const facts = this.#factsOf(place);
      const running = this.#running === place || isAtWork(keyOf(place));
      const overdue = isCopyOverdue(facts, nowMs);
      const status = backupStatus(this.#loaded, place, {
        record: readRecord(this.#loaded.dirs.stateDir, place),
        dueMs: copyDueAt(facts, nowMs),
        overdue,
        running,
        disk: undefined,
      });
      return { ...status, lastError: this.#broken.get(place.store) ?? status.lastError };
    });
  }

  #factsOf(place: Place): CopyFacts {
    const { config, dirs } = this.#loaded;
    const [source] = config.backups === undefined ? [] : placesOf(config.backups, place.target);
    const made = source === undefined ? null : (readRecord(dirs.stateDir, source)?.lastSuccess ?? null);
    const record = readRecord(dirs.stateDir, place);
    return {
      newest: made === null ? undefined : newestOf(made),
      upTo: record?.copies?.upTo ?? null,
      unchangedUpToMs: millis(record?.copies?.unchangedAt),
      lastAttemptMs: record === undefined ? undefined : Date.parse(record.lastAttemptAt),
      failuresInRow: record?.failuresInRow ?? 0,
    };
  }

  async #run(place: Place): Promise<void> {
    const { clock, say } = this.#deps;
    const { store } = place;
    this.#running = place;
    this.#broken.delete(store);
    const failure = await this.#copy(place).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#broken.set(store, why);
      return why;
    });
    this.#running = undefined;
    if (failure === undefined) return;
    this.#pausedUntilMs.set(store, clock.monotonicMs() + (this.#broken.has(store) ? BROKEN_PAUSE_MS : PAUSE_MS));
    say("alert", `cannot copy the backups of ${place.target} to ${place.store}: ${failure}`);
  }

  /** Says why it failed. */
  async #copy(place: Place): Promise<string | undefined> {
    const { clock, say, onBusy } = this.#deps;
    const { code, failure } = await runRemote(copyJob(this.#loaded, place), {
      clock,
      work: keyOf(place),
      stateDir: this.#loaded.dirs.stateDir,
      onLine: (line) => {
        if (line.kind === "copied") say("info", `backup ${line.id} is copied to ${place.store}`);
        if (line.kind === "note") say("info", `${place.target} in ${place.store}: ${line.text}`);
        if (line.kind === "pruned")
          say(
            "info",
            `deleted ${line.ids.length === 1 ? "1 copy" : `${line.ids.length} copies`} of ${place.target} in ${place.store} that no rule keeps`,
          );
      },
    });
    if (code === BACKUP_EXIT.busy) onBusy?.();
    return failure;
  }
}

function newestOf({ id, at, snapshotAt, unchangedAt }: NonNullable<BackupRecord["lastSuccess"]>): CopyFacts["newest"] {
  // Each look at a source that has not changed is a success of its own: what counts here is since when the backup is there.
  return { id, atMs: Date.parse(unchangedAt === undefined ? at : snapshotAt), unchangedMs: millis(unchangedAt) };
}

function millis(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time);
}
