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
  SUPERVISOR,
  worseOf,
  type Degradation,
  type SavedLevel,
} from "../core/degradation.ts";
import type { Blackbox } from "./blackbox.ts";
import { postToSocket } from "./socket-post.ts";
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
  /**
   * How long something has demanded this level without a break, ms by the monotonic clock; 0 while it is on its way down. A
   * start begins anew: how long the bot was away is only known by a clock that people set.
   */
  readonly heldMs: number;
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
/** Longest text of an event, characters, and how long the supervisor may take for it, ms. */
const ALERT_CHARS = 1_000;
const ALERT_MS = 2_000;
/** A level file is one word. */
const MAX_FILE_BYTES = 64;

/** Makes the levels of a bot from its environment (`SUPERVISOR_LEVEL_FILE`). Needs no supervisor. */
export function createLevels(env: Readonly<Record<string, string | undefined>>, options: LevelsOptions = {}): Levels {
  return new BotLevels(new FloorFile(env["SUPERVISOR_LEVEL_FILE"]), env["SUPERVISOR_SOCKET"] ?? "", options);
}

class BotLevels implements Levels {
  readonly #floor: FloorFile;
  readonly #socket: string;
  readonly #options: LevelsOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #state: Degradation;
  /** Since when the level is demanded; `undefined` while it is on its way down. */
  #demandedSinceMs: number | undefined;

  constructor(floor: FloorFile, socket: string, options: LevelsOptions) {
    this.#floor = floor;
    this.#socket = socket;
    this.#options = options;
    const nowMs = performance.now();
    const saved = options.store?.load();
    const demanded = floor.read(nowMs);
    // An emergency of the supervisor's alone has been ended by a person, or no bot would start; what it demands now is in its file.
    const its = saved?.source === SUPERVISOR && saved.level === "emergency" && !saved.latched;
    const over = its && floor.isKnown;
    this.#state = restoreLevel(over ? undefined : saved, demanded, nowMs, wallOffset(nowMs));
    this.#demandedSinceMs = nowMs;
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

  get heldMs(): number {
    return this.#demandedSinceMs === undefined ? 0 : performance.now() - this.#demandedSinceMs;
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
    const { level, downAtMs } = this.#state;
    if (downAtMs !== undefined) this.#demandedSinceMs = undefined;
    else if (level !== before.level) this.#demandedSinceMs = nowMs;
    else this.#demandedSinceMs ??= nowMs;
    if (level !== before.level) this.#tell(before.level);
    else if (this.#state.latched !== before.latched || this.#state.reason !== before.reason) this.#save();
  }

  #tell(from: Level): void {
    this.#save();
    const { level, source, reason } = this.#state;
    this.#options.blackbox?.setLevel(level);
    if (level === from) return;
    const change = { from, to: level, source, reason };
    if (level === "emergency" && source !== SUPERVISOR) this.#alert(reason);
    const risen = worseOf(from, level) === level;
    this.#options.blackbox?.record("level", change, { sev: risen ? "warn" : "info", recorder: "kept" });
    try {
      this.#options.onChange?.(change);
    } catch (error) {
      this.#options.blackbox?.setError(`onChange of the level: ${String(error)}`);
    }
  }

  /** People are to know of an emergency of the bot's own; the supervisor passes it on and does nothing else for it. */
  #alert(reason: string): void {
    if (this.#socket === "") return;
    const text = `its own level is emergency: ${reason}`.slice(0, ALERT_CHARS);
    const body = JSON.stringify({ level: "alert", text });
    const signal = AbortSignal.timeout(ALERT_MS);
    // No supervisor is no reason to fail.
    postToSocket({ socket: this.#socket, path: "/v1/events", body, signal }).catch(() => undefined);
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
  #known = false;
  #touchedAtMs: number | undefined;
  /** Of the file that was read: it is replaced or touched, never written in place. */
  #mark: string | undefined;

  constructor(path: string | undefined) {
    this.#path = path === "" ? undefined : path;
  }

  /** Whether the last reading has found a level in it. */
  get isKnown(): boolean {
    return this.#known;
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
        const level = LEVELS.find((each) => each === word);
        this.#known = level !== undefined;
        this.#last = level ?? this.#last;
      }
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") {
        this.#mark = undefined;
        this.#known = false;
        this.#touchedAtMs = undefined;
        this.#last = "normal";
        return this.#last;
      }
      this.#known = false;
      this.#touchedAtMs ??= nowMs;
    }
    const silent = nowMs - (this.#touchedAtMs ?? nowMs) > BEAT_MS * SILENT_BEATS;
    return silent ? worseOf(this.#last, "degraded") : this.#last;
  }
}
