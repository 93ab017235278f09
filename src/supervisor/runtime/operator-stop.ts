/**
 * A person's stop of one bot, kept in `bots/NAME/stopped.json`: the death of the supervisor does not take it back. Its clean end does,
 * and a new boot; so does whatever starts the bot.
 */
import { statSync } from "node:fs";
import { uptime } from "node:os";
import { join } from "node:path";
import { NO_PROCESS } from "../../core/identity.ts";
import { hasOnly, isCount, isRecord } from "../../core/plain-check.ts";
import { versionOf } from "../../core/file-version.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, removeIfThere, replaceFile } from "../../platform/files.ts";
import { bootId } from "../../platform/proc.ts";
import { moveAway } from "./quarantine.ts";

const VERSION = 1;
/** The file has some hundred bytes. */
const MAX_BYTES = 4_096;

interface Stop {
  /** RFC 3339; null: nobody can tell. */
  readonly at: string | null;
  /** The last start before it: a later one was ordered after it. */
  readonly generation: number;
}

/** What is known of the bot's last start. */
interface LastStart {
  readonly generation: number;
  /** `undefined`: nothing is known. */
  readonly bootId: string | undefined;
}

export interface OperatorStopDeps {
  /** The bot's own folder. */
  readonly folder: string;
  readonly clock: Clock;
  /** As in `BotDeps`. */
  readonly foreign?: (() => boolean) | undefined;
  readonly alert: (text: string) => void;
}

export class OperatorStop {
  readonly #deps: OperatorStopDeps;
  readonly #path: string;
  #stop: Stop | undefined;
  /** An earlier supervisor was told it. */
  #isFound = false;
  /** The disk may have another word than this one. */
  #isOwed = true;
  #isSaid = false;

  constructor(deps: OperatorStopDeps) {
    this.#deps = deps;
    this.#path = join(deps.folder, "stopped.json");
  }

  /** A person has stopped the bot, and nothing has started it since. */
  get holds(): boolean {
    return this.#stop !== undefined;
  }

  /** What people read of a stop that an earlier supervisor was told; `undefined`: none holds. */
  get foundText(): string | undefined {
    if (this.#stop === undefined || !this.#isFound) return undefined;
    return `stopped by the operator${this.#stop.at === null ? "" : ` at ${this.#stop.at}`}`;
  }

  /** Looks for what a supervisor that died has left. Never throws. */
  find(last: LastStart): void {
    const stop = this.#read(last);
    if (stop === undefined) return this.forget();
    this.#isFound = true;
    // One that stands for a damaged file is noted already, or still owed.
    if (this.#stop === stop) return undefined;
    this.#stop = stop;
    this.#isOwed = false;
  }

  /** A person stops the bot: kept before anything is done for it. Never throws. */
  note(generation: number): void {
    if (this.#stop !== undefined) return;
    this.#stop = { at: this.#deps.clock.wallTime().toISOString(), generation };
    this.#isOwed = true;
    this.settle();
  }

  /** Nothing keeps the bot down any more. Never throws. */
  forget(): void {
    if (this.#stop !== undefined) this.#isOwed = true;
    this.#stop = undefined;
    this.#isFound = false;
    this.settle();
  }

  /** The folder is another one by now, which has nothing of before. */
  renew(): void {
    if (this.#stop === undefined) return;
    this.#isOwed = true;
    this.settle();
  }

  /** Each second: brings to the disk what it has not taken. Never throws. */
  settle(): void {
    if (!this.#isOwed || this.#deps.foreign?.() === true) return;
    try {
      if (this.#stop === undefined) removeIfThere(this.#path);
      // A kill of ours does not lose it, and after a power cut it says nothing.
      else replaceFile(this.#path, textOf(this.#stop));
      this.#isOwed = false;
      this.#isSaid = false;
    } catch (error) {
      if (!this.#isSaid) this.#complain(error);
      this.#isSaid = true;
    }
  }

  #complain(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    const text =
      this.#stop === undefined
        ? "cannot take back the note that a person has stopped it, which is tried again each second"
        : "it is stopped, but that a person has done that cannot be noted, which is tried again each second: should the supervisor die before, the next one starts it again";
    this.#deps.alert(`${text}: ${why}`);
  }

  #read(last: LastStart): Stop | undefined {
    try {
      // Mostly absent, which this look tells for less than an exception.
      const isThere = statSync(this.#path, { throwIfNoEntry: false }) !== undefined;
      const text = isThere ? readTextIfExists(this.#path, MAX_BYTES) : undefined;
      if (text === undefined) return undefined;
      const parsed: unknown = JSON.parse(text);
      if (isStopFile(parsed))
        return parsed.bootId === boot() && parsed.generation >= last.generation ? parsed : undefined;
      // A newer release knows more of it than that somebody has stopped the bot.
      if (versionOf(parsed) > VERSION) return { at: null, generation: last.generation };
      return this.#readDamaged("it is no stop of ours", last);
    } catch (error) {
      return this.#readDamaged(error instanceof Error ? error.message : String(error), last);
    }
  }

  /** It is there, so a person has stopped the bot: that was acknowledged, and is not lost with its content. Of another boot it says nothing. */
  #readDamaged(reason: string, { generation, bootId: started }: LastStart): Stop | undefined {
    // An identity whose start is proven dead names no boot any more.
    const isEarlier =
      started === undefined || started === NO_PROCESS.bootId ? this.#isOfEarlierBoot() : started !== bootId();
    const meaning = isEarlier
      ? "it is of before this boot, so it does not count"
      : "a person has stopped the bot, which stays down";
    this.#deps.alert(`${moveAway(this.#path, reason)}; ${meaning}`);
    if (isEarlier) return undefined;
    this.note(generation);
    return this.#stop;
  }

  /** By the file's time; what cannot be told is of now. */
  #isOfEarlierBoot(): boolean {
    try {
      return statSync(this.#path).mtimeMs < this.#deps.clock.wallTime().getTime() - uptime() * 1_000;
    } catch {
      return false;
    }
  }
}

/** One without an id is told from no other: in doubt a stop holds. */
function boot(): string {
  return bootId() ?? "unknown";
}

function textOf({ at, generation }: Stop): string {
  return `${JSON.stringify({ version: VERSION, bootId: boot(), generation, at })}\n`;
}

const KEYS: ReadonlySet<string> = new Set(["version", "bootId", "generation", "at"]);

function isStopFile(value: unknown): value is Stop & { readonly bootId: string } {
  if (!isRecord(value) || !hasOnly(value, KEYS)) return false;
  const { version, bootId: of, generation, at } = value;
  return (
    version === VERSION && typeof of === "string" && isCount(generation) && (at === null || typeof at === "string")
  );
}
