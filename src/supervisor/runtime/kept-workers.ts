/** Workers that this daemon has not begun, of the version before it or of a supervisor that died: watched as its own, and ended as these. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { HANG_BOUNDS, type HangBounds } from "../../core/hang.ts";
import type { Clock } from "../../platform/clock.ts";
import { actionOf, kindOf, startTimeOf, strayWorkers, type StrayWorker } from "../../platform/stray-workers.ts";
import { isAtWork, keepWorker, type RunningWorker } from "../../platform/worker.ts";
import {
  copyPlacesOf,
  DEADLINE_MS,
  endOf,
  keyOf,
  MEMORY_BYTES,
  noteKilled,
  placesOf,
  readRecord,
  recordPath,
  type DeedEnd,
  type Place,
} from "./backup-run.ts";
import type { LoadedConfig } from "./config/load.ts";

interface KeptDeps {
  readonly clock: Clock;
  readonly loaded: () => LoadedConfig;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** A drill that had to be ended; says what somebody must hear. */
  readonly drillKilled: (end: DeedEnd, since: Date) => void;
  /** For tests; default: as keepWorker(). */
  readonly hang?: HangBounds | undefined;
}

/** What is known of a worker before it has to be ended. */
interface Kept {
  readonly pid: number;
  readonly work: string;
  readonly action: string;
  readonly since: Date;
  readonly incremental: boolean;
  /** What its place's record said of the last attempt when it was taken over; `undefined`: nothing, or it writes none. */
  readonly lastAttemptAt: string | undefined;
}

/** Looks, of one in 10 s, between two that are made for nobody's sake: a command that died while we live has left no place that anybody runs into. */
const LOOKS = 360;

/** A worker that is gone and has written nothing of it. */
const NO_WORD: DeedEnd = {
  code: BACKUP_EXIT.space,
  failure: "the worker left no word of how it ended: it was killed, or the disk did not take its record",
  killed: "signal",
};

/** Where that goes in the record of its place. */
interface Noted {
  readonly place: Place;
  readonly stage: "store" | "remote";
}

export class KeptWorkers {
  readonly #deps: KeptDeps;
  /** Somebody may be there whom nobody watches. */
  #isLookDue = true;
  #looks = 0;

  constructor(deps: KeptDeps) {
    this.#deps = deps;
  }

  /** Goes on with the worker. */
  keep(worker: RunningWorker): void {
    const { clock, hang = HANG_BOUNDS } = this.#deps;
    const { pid, work } = worker;
    const since = startTimeOf(worker, clock.wallTime()) ?? clock.wallTime();
    const action = actionOf(pid) ?? "";
    const bounds = action === "restore" ? { ...hang, ...PATIENT } : hang;
    if (work === undefined) return keepWorker(worker, clock, { hang: bounds });
    const incremental = kindOf(pid) === "incremental";
    const kept: Kept = { pid, work, since, action, incremental, lastAttemptAt: this.#lastAttemptAt(action, work) };
    keepWorker(worker, clock, {
      hang: bounds,
      onKilled: (end) => void this.#noteKilled(kept, endOf(end)),
      onGone: () => void this.#noteGone(kept),
    });
  }

  /** A place is held by somebody: the next look is for who it may be. */
  askForLook(): void {
    this.#isLookDue = true;
  }

  /** At first, once an hour and when it was asked for, where there is or was something to back up: goes on with what a dead supervisor of this state folder has left at work. */
  look(): void {
    const { config, dirs } = this.#deps.loaded();
    this.#looks += 1;
    this.#isLookDue ||= this.#looks % LOOKS === 0;
    if (!this.#isLookDue || (config.backups === undefined && !existsSync(join(dirs.stateDir, "backups")))) return;
    this.#isLookDue = false;
    try {
      for (const stray of strayWorkers(dirs.stateDir)) this.#adopt(stray);
    } catch {
      // No descriptor or memory left for /proc: the next look may have one.
      this.#isLookDue = true;
    }
  }

  #adopt(stray: StrayWorker): void {
    const { clock, say } = this.#deps;
    const { pid, work } = stray;
    if (isAtWork(work)) return;
    const now = clock.wallTime();
    const since = startTimeOf(stray, now) ?? now;
    say("info", `a worker of a supervisor that died is still at ${work} (${actionOf(pid)}, ${seenText(pid, since)})`);
    // From now on: nobody knows for how much of its time the machine slept.
    this.keep({ ...stray, endsAtMs: clock.monotonicMs() + DEADLINE_MS, memory: MEMORY_BYTES });
  }

  /** As of a worker of our own: an alert, and a failed run. */
  async #noteKilled(kept: Kept, end: DeedEnd): Promise<void> {
    const { pid, work, action, since, incremental } = kept;
    const { clock, loaded, say, drillKilled } = this.#deps;
    const told = { ...end, failure: `${end.failure} (${seenText(pid, since)})` };
    if (action === "drill") return drillKilled(told, since);
    const noted = this.#notedOf(action, work);
    if (noted !== undefined) {
      const { target, store } = noted.place;
      const record = recordPath(loaded().dirs.stateDir, noted.place);
      await noteKilled({ record, store, target: { name: target }, incremental }, noted.stage, told, clock);
    }
    // One that has archived for as long as one may run is begun anew, which is no trouble.
    if (action === "archive-wal" && end.killed === "deadline") return;
    say("alert", `cannot ${deedOf(action, work)} ${work.replace("@", " in ")}: ${told.failure}`);
  }

  /** How one that another has started ended is nobody's to hear; but what it does ends with a word in the record, unless it was killed. */
  async #noteGone(kept: Kept): Promise<void> {
    const at = this.#lastAttemptAt(kept.action, kept.work);
    const isWritten = at !== kept.lastAttemptAt || (at !== undefined && Date.parse(at) >= kept.since.getTime());
    if (this.#notedOf(kept.action, kept.work) !== undefined && !isWritten) await this.#noteKilled(kept, NO_WORD);
  }

  #lastAttemptAt(action: string, work: string): string | undefined {
    const noted = this.#notedOf(action, work);
    return noted && readRecord(this.#deps.loaded().dirs.stateDir, noted.place)?.lastAttemptAt;
  }

  /** `undefined`: no record says how it ended, or the config does not name its place any more. */
  #notedOf(action: string, work: string): Noted | undefined {
    const { backups } = this.#deps.loaded().config;
    const isMade = action === "backup";
    if (backups === undefined || (!isMade && action !== "remote-backups")) return undefined;
    const of = isMade ? placesOf : copyPlacesOf;
    const place = Object.keys(backups.targets)
      .flatMap((target) => of(backups, target))
      .find((at) => keyOf(at) === work);
    return place && { place, stage: isMade ? "store" : "remote" };
  }
}

/** A server may build an index for a restore for longer than anybody should wait elsewhere (cli/restore.ts). */
const PATIENT = { waitMs: undefined };

/** What the command line does by hand says by itself what it is, as "the export of x@y"; a place is named by what its action does with it. */
function deedOf(action: string, work: string): string {
  if (work.startsWith("the ")) return action === "settle-restore" ? "end" : "finish";
  return DEEDS[action] ?? "finish the work on";
}

/** What the actions do with what they work on. */
const DEEDS: Readonly<Record<string, string>> = {
  backup: "back up",
  "verify-backups": "prove",
  "prune-backups": "prune",
  "remote-backups": "copy the backups of",
  "archive-wal": "archive the",
  "settle-restore": "end",
};

function seenText(pid: number, since: Date): string {
  return `pid ${pid}, at work since ${since.toISOString().replace(/\.\d+/, "")}`;
}
