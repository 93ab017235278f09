/** Workers that this daemon has not begun, of the version before it or of a supervisor that died: watched as its own, and ended as these. */
import type { HangBounds } from "../../core/hang.ts";
import type { Clock } from "../../platform/clock.ts";
import { actionOf, startTimeOf, strayWorkers, type StrayWorker } from "../../platform/stray-workers.ts";
import { isAtWork, keepWorker, type RunningWorker } from "../../platform/worker.ts";
import {
  copyPlacesOf,
  DEADLINE_MS,
  endOf,
  keyOf,
  MEMORY_BYTES,
  noteKilled,
  placesOf,
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
}

export class KeptWorkers {
  readonly #deps: KeptDeps;
  /** Somebody may be there whom nobody watches. */
  #isLookDue = true;

  constructor(deps: KeptDeps) {
    this.#deps = deps;
  }

  /** Goes on with the worker. */
  keep(worker: RunningWorker): void {
    const { clock, hang } = this.#deps;
    const { pid, work } = worker;
    const since = startTimeOf(worker, clock.wallTime()) ?? clock.wallTime();
    const kept = work === undefined ? undefined : { pid, work, since, action: actionOf(pid) ?? "" };
    keepWorker(worker, clock, { hang, onKilled: (end) => kept && void this.#noteKilled(kept, endOf(end)) });
  }

  /** A place is held by somebody: the next look is for who it may be. */
  askForLook(): void {
    this.#isLookDue = true;
  }

  /** Once, and when it was asked for: goes on with what a dead supervisor of this state folder has left at work. */
  look(): void {
    const { config, dirs } = this.#deps.loaded();
    if (!this.#isLookDue || config.backups === undefined) return;
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
  async #noteKilled({ pid, work, action, since }: Kept, end: DeedEnd): Promise<void> {
    const { clock, loaded, say, drillKilled } = this.#deps;
    const told = { ...end, failure: `${end.failure} (${seenText(pid, since)})` };
    if (action === "drill") return drillKilled(told, since);
    const { config, dirs } = loaded();
    const { backups } = config;
    const targets = Object.keys(backups?.targets ?? {});
    const found = (of: typeof placesOf): Place | undefined =>
      targets.flatMap((target) => (backups === undefined ? [] : of(backups, target))).find((at) => keyOf(at) === work);
    const [place, copyPlace] = [found(placesOf), found(copyPlacesOf)];
    const note = async ({ target, store }: Place, stage: "store" | "remote"): Promise<void> => {
      const job = { record: recordPath(dirs.stateDir, { target, store }), store, target: { name: target } };
      await noteKilled(job, stage, told, clock);
    };
    if (action === "backup" && place !== undefined) await note(place, "store");
    if (action === "remote-backups" && copyPlace !== undefined) await note(copyPlace, "remote");
    // One that has archived for as long as one may run is begun anew, which is no trouble.
    if (action === "archive-wal" && end.killed === "deadline") return;
    say("alert", `cannot ${DEEDS[action] ?? "finish the work on"} ${work.replace("@", " in ")}: ${told.failure}`);
  }
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
