/**
 * The bot's degradation level: what its parts propose and what the supervisor's level file demands at least
 * (core/degradation.ts decides). The gate in front of each order answers from it at once.
 */
import { readFileSync, statSync } from "node:fs";
import {
  gateAt,
  LEVELS,
  proposeLevel,
  restoreLevel,
  savedLevel,
  setFloor,
  setLevel,
  settleLevel,
  worseOf,
  type Degradation,
  type SavedLevel,
} from "../core/degradation.ts";
import type { Blackbox } from "./blackbox.ts";
import type { Gate, Level, LevelProposal } from "./ports.ts";

/** Keeps the level over restarts. Neither throws; `save` may return before the disk has it. */
export interface LevelStore {
  load(): SavedLevel | undefined;
  save(saved: SavedLevel): void;
}

export interface LevelChange {
  readonly from: Level;
  readonly to: Level;
  readonly source: string;
  readonly reason: string;
}

export interface LevelsOptions {
  readonly store?: LevelStore;
  readonly blackbox?: Blackbox;
  /** Called after the level has changed; what it throws is dropped. */
  readonly onChange?: (change: LevelChange) => void;
}

export interface Levels {
  readonly level: Level;
  readonly reason: string;
  /** Whether only `set` leaves it. */
  readonly latched: boolean;
  readonly gate: Gate;
  readonly propose: (proposal: LevelProposal) => void;
  /** Sets the level by hand, also out of an emergency; the supervisor's floor still holds. */
  set(level: Level, reason: string): void;
  /** Looks at the supervisor's file and the time; happens by itself each second. */
  look(): void;
  close(): void;
}

/** How often the supervisor touches the file at least, ms. */
const BEAT_MS = 10_000;
/** So many beats without a touch, and the supervisor counts as silent. */
const SILENT_BEATS = 3;
const LOOK_MS = 1_000;
/** A level file is one word. */
const MAX_FILE_BYTES = 64;

/** Makes the levels of a bot from its environment (`SUPERVISOR_LEVEL_FILE`). Needs no supervisor. */
export function createLevels(env: Readonly<Record<string, string | undefined>>, options: LevelsOptions = {}): Levels {
  return new BotLevels(new FloorFile(env["SUPERVISOR_LEVEL_FILE"]), options);
}

class BotLevels implements Levels {
  readonly #floor: FloorFile;
  readonly #options: LevelsOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #state: Degradation;

  constructor(floor: FloorFile, options: LevelsOptions) {
    this.#floor = floor;
    this.#options = options;
    const nowMs = performance.now();
    const saved = options.store?.load();
    this.#state = restoreLevel(saved, floor.read(nowMs), nowMs, wallOffset(nowMs));
    this.#tell("normal");
    // A bot that has nothing else to do may end.
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    this.#timer.unref();
  }

  get level(): Level {
    return this.#state.level;
  }

  get reason(): string {
    return this.#state.reason;
  }

  get latched(): boolean {
    return this.#state.latched;
  }

  readonly gate: Gate = (action) => gateAt(this.#state, action);

  readonly propose = (proposal: LevelProposal): void => {
    // One reading of the clock for both: a proposal that holds for a moment must not be over before it is looked at.
    const nowMs = performance.now();
    this.#become(proposeLevel(this.#state, proposal, nowMs), nowMs);
  };

  set(level: Level, reason: string): void {
    const nowMs = performance.now();
    this.#become(setLevel(this.#state, level, reason, nowMs), nowMs);
  }

  look(): void {
    const nowMs = performance.now();
    this.#become(setFloor(this.#state, this.#floor.read(nowMs)), nowMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #become(next: Degradation, nowMs: number): void {
    const before = this.#state;
    this.#state = settleLevel(next, nowMs, Math.random());
    if (this.#state.level !== before.level) this.#tell(before.level);
    else if (this.#state.latched !== before.latched || this.#state.reason !== before.reason) this.#save();
  }

  #tell(from: Level): void {
    this.#save();
    const { level, source, reason } = this.#state;
    this.#options.blackbox?.setLevel(level);
    if (level === from) return;
    const change = { from, to: level, source, reason };
    const risen = worseOf(from, level) === level;
    this.#options.blackbox?.record("level", change, { sev: risen ? "warn" : "info", recorder: "kept" });
    try {
      this.#options.onChange?.(change);
    } catch (error) {
      this.#options.blackbox?.setError(`onChange of the level: ${String(error)}`);
    }
  }

  #save(): void {
    this.#options.store?.save(savedLevel(this.#state, wallOffset(performance.now())));
  }
}

/** What is added to a wall time to get a time of the monotonic clock. */
function wallOffset(nowMs: number): number {
  return nowMs - Date.now();
}

/** The supervisor's file: no file is no demand, one that cannot be read demands what it last did, one that nobody touches any more `degraded`. */
class FloorFile {
  readonly #path: string | undefined;
  #last: Level = "normal";
  #touchedAtMs: number | undefined;
  /** Of the file that was read: it is replaced or touched, never written in place. */
  #mark: string | undefined;

  constructor(path: string | undefined) {
    this.#path = path === "" ? undefined : path;
  }

  read(nowMs: number): Level {
    if (this.#path === undefined) return "normal";
    try {
      // Changes of the time are looked at, not its age: a step of the wall clock makes no supervisor silent.
      const { ino, mtimeMs, size } = statSync(this.#path);
      const mark = `${ino} ${mtimeMs}`;
      if (mark !== this.#mark) {
        this.#mark = mark;
        this.#touchedAtMs = nowMs;
        const word = size > MAX_FILE_BYTES ? "" : readFileSync(this.#path, "utf8").trim();
        this.#last = LEVELS.find((level) => level === word) ?? this.#last;
      }
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        this.#mark = undefined;
        this.#touchedAtMs = undefined;
        this.#last = "normal";
        return this.#last;
      }
      this.#touchedAtMs ??= nowMs;
    }
    const silent = nowMs - (this.#touchedAtMs ?? nowMs) > BEAT_MS * SILENT_BEATS;
    return silent ? worseOf(this.#last, "degraded") : this.#last;
  }
}
