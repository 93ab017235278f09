/** The workers that archive WAL, one for each target with `pitr`: begun again when they end, and asked what the server keeps for them. */
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import type { WalJob } from "../../core/restore-job.ts";
import type { BackupStatus } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { isAtWork, type Worker } from "../../platform/worker.ts";
import {
  copyPlacesOf,
  keepsWal,
  keyOf,
  placesOf,
  readRecord,
  runDeed,
  troubleOf,
  walJob,
  type DeedEnd,
  type Place,
} from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";
import { remoteOf } from "./copies.ts";
import { LeftSlots } from "./left-slots.ts";

/** Pause before a worker that has ended is begun again, ms: doubled each time, and the first again after a good hour. */
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;
const GOOD_MS = 3_600_000;

interface WalDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** Nothing later can be restored before there is another base. */
  readonly onLost: (place: Place) => void;
}

interface Keeper {
  readonly place: Place;
  worker: Worker | undefined;
  running: boolean;
  pauseMs: number;
  /** Monotonic time before which it is not begun again, ms. */
  notBeforeMs: number;
  wal: BackupStatus["wal"];
  said: string;
}

export class WalArchives {
  readonly #deps: WalDeps;
  readonly #slots: LeftSlots;
  #loaded: LoadedConfig;
  #keepers: readonly Keeper[] = [];

  constructor(deps: WalDeps) {
    this.#deps = deps;
    this.#loaded = deps.loaded;
    this.#slots = new LeftSlots(deps.loaded.dirs.stateDir, deps.say);
  }

  /** Goes by this config from here on: every worker is ended, and those that are wanted begin anew. */
  adopt(loaded: LoadedConfig): void {
    void this.end();
    this.#loaded = loaded;
    const { backups } = loaded.config;
    const places = Object.keys(backups?.targets ?? {}).flatMap((target) =>
      backups === undefined ? [] : placesOf(backups, target).filter((place) => keepsWal(backups, place)),
    );
    this.#keepers = places.map((place) => ({
      place,
      worker: undefined,
      running: false,
      pauseMs: FIRST_PAUSE_MS,
      notBeforeMs: 0,
      wal: undefined,
      said: "",
    }));
    this.#slots.adopt(places.flatMap((place) => this.#slotOf(place)));
  }

  #slotOf({ target }: Place): readonly { readonly target: string; readonly url: string }[] {
    const config = this.#loaded.config.backups?.targets[target];
    return config?.kind === "postgres" ? [{ target, url: config.url }] : [];
  }

  /** Ends every worker; the server keeps the WAL from there on. Never throws. */
  async end(): Promise<void> {
    const workers = this.#keepers.flatMap(({ worker }) => worker ?? []);
    for (const worker of workers) worker.kill();
    await Promise.all(workers.map(({ done }) => done));
  }

  /** Begins what does not run. Before the first backup there is nothing that WAL could lead on from. */
  look(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const keeper of this.#keepers) {
      if (keeper.running || isAtWork(workOf(keeper.place)) || nowMs < keeper.notBeforeMs) continue;
      if ((readRecord(this.#loaded.dirs.stateDir, keeper.place)?.lastSuccess ?? null) !== null) void this.#run(keeper);
    }
  }

  /** `undefined` where no WAL is archived, and before the worker has said anything. */
  status({ target, store }: Place): BackupStatus["wal"] {
    return this.#keepers.find(({ place }) => place.target === target && place.store === store)?.wal;
  }

  async #run(keeper: Keeper): Promise<void> {
    const { clock } = this.#deps;
    keeper.running = true;
    const startedMs = clock.monotonicMs();
    const end = await this.#follow(keeper);
    keeper.running = false;
    keeper.worker = undefined;
    keeper.wal = withoutWorker(keeper.wal);
    const nowMs = clock.monotonicMs();
    if (nowMs - startedMs >= GOOD_MS) keeper.pauseMs = FIRST_PAUSE_MS;
    keeper.notBeforeMs = nowMs + keeper.pauseMs;
    keeper.pauseMs = Math.min(keeper.pauseMs * 2, LONGEST_PAUSE_MS);
    // One of the daemon before may still be ending; and one of an old config was ended by us.
    const trouble = walTroubleOf(end);
    if (trouble !== undefined && this.#keepers.includes(keeper))
      this.#say(keeper, `the WAL of ${keeper.place.target} is not archived now: ${trouble}`);
  }

  async #follow(keeper: Keeper): ReturnType<typeof runDeed> {
    const { clock, onLost, say } = this.#deps;
    const { place } = keeper;
    for (const slot of this.#slotOf(place)) this.#slots.began(slot);
    try {
      return await runDeed(
        "archive-wal",
        { ...walJob(this.#loaded, place), copies: this.#copiesOf(place) },
        {
          clock,
          work: workOf(place),
          stateDir: this.#loaded.dirs.stateDir,
          onStart: (worker) => (keeper.worker = worker),
          onLine: (line) => {
            if (line.kind === "wal") noteWal(keeper, line);
            if (line.kind === "walCopied") this.#noteCopy(keeper, line);
            if (line.kind === "wal" && keeper.said !== "") {
              keeper.said = "";
              say("info", `the WAL of ${place.target} is archived again`);
            }
            if (line.kind === "alarm") say("alert", `WAL of ${place.target}: ${line.text}`);
            if (line.kind === "note") say("info", `WAL of ${place.target}: ${line.text}`);
            if (line.kind !== "walGap") return;
            say("alert", `WAL of ${place.target}: ${line.text}`);
            if (line.needsBase) onLost(place);
          },
        },
      );
    } catch (error) {
      return { code: BACKUP_EXIT.usage, failure: error instanceof Error ? error.message : String(error) };
    }
  }

  /** The buckets of the target; one whose keys cannot be read gets nothing, and holds nothing up. */
  #copiesOf({ target }: Place): WalJob["copies"] {
    const { backups } = this.#loaded.config;
    const places = backups === undefined ? [] : copyPlacesOf(backups, target);
    return places.flatMap(({ store }) => {
      try {
        return [{ store, remote: remoteOf(this.#loaded, store) }];
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        this.#deps.say("alert", `the WAL of ${target} is not copied to ${store}: ${why}`);
        return [];
      }
    });
  }

  #noteCopy(keeper: Keeper, { store, last, waiting, failure, gap }: Extract<BackupLine, { kind: "walCopied" }>): void {
    const { target } = keeper.place;
    const before = keeper.wal?.copies?.find((each) => each.store === store);
    const others = keeper.wal?.copies?.filter((each) => each.store !== store) ?? [];
    const copies = [...others, { store, lastSegment: last, waiting, failure, gap }];
    keeper.wal = { slotRetainedBytes: 0, lastSegment: null, ...keeper.wal, copies };
    if (failure !== null && before?.failure !== failure)
      this.#deps.say("alert", `the WAL of ${target} is not copied to ${store} now: ${failure}`);
    if (failure === null && before !== undefined && before.failure !== null)
      this.#deps.say("info", `the WAL of ${target} is copied to ${store} again`);
  }

  /** The same trouble is said once. */
  #say(keeper: Keeper, text: string): void {
    if (keeper.said === text) return;
    keeper.said = text;
    this.#deps.say("alert", text);
  }
}

/** As in `WorkerRequest`; beside it a backup of the same place may be made. */
function workOf(place: Place): string {
  return `WAL of ${keyOf(place)}`;
}

/** As `troubleOf`; a worker that has archived for as long as one may run is begun anew, which is none. */
export function walTroubleOf(end: DeedEnd): string | undefined {
  return end.killed === "deadline" ? undefined : troubleOf(end);
}

/** Nobody knows how far behind it is while nobody receives it, nor whether there is room. */
export function withoutWorker(wal: BackupStatus["wal"]): BackupStatus["wal"] {
  return wal === undefined ? undefined : { ...wal, lagBytes: null, paused: false };
}

function noteWal(
  keeper: Keeper,
  { retainedBytes, lagBytes, archivedBytes, last, gaps, recoverableTo, paused }: Extract<BackupLine, { kind: "wal" }>,
): void {
  const now = {
    slotRetainedBytes: retainedBytes,
    lagBytes,
    archivedBytes,
    lastSegment: last,
    gaps,
    recoverableTo,
    paused,
  };
  keeper.wal = { ...keeper.wal, ...now };
}
