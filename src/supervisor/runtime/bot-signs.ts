/** What a bot is told through files: the level that is demanded of it, and that it must send no new orders (contract, "What a bot gets"). */
import { utimesSync } from "node:fs";
import type { Verdict } from "../../core/verdict.ts";
import { readTextIfExists, removeIfThere, replaceFile } from "../../platform/files.ts";
import type { BotFiles } from "./bot-plan.ts";
import type { ProbeView } from "./schedule.ts";

/** Levels that the supervisor demands, from the mildest. */
export type Level = "normal" | "degraded" | "minimal" | "emergency";

/** What the level of a bot is made of. */
export interface Standing {
  /** It has a lockout. */
  readonly locked: boolean;
  /** Its data was restored, and nobody has said that it agrees with the account. */
  readonly unreconciled: boolean;
  readonly probes: readonly Pick<ProbeView, "config" | "record">[];
  /** Its memory is short, as `BotLimits` sees it, or it was degraded before and nobody has looked again. */
  readonly strained: boolean;
}

/** The level that the supervisor demands: the strictest that anything asks for. */
export function levelOf({ locked, unreconciled, probes, strained }: Standing): Level {
  if (locked) return "emergency";
  if (unreconciled) return "minimal";
  return hasDegrading(probes, "unhealthy") || strained ? "degraded" : "normal";
}

/** Whether a probe that degrades the bot has this verdict. */
export function hasDegrading(probes: Standing["probes"], verdict: Verdict): boolean {
  return probes.some(({ config, record }) => config.onFailure === "degrade" && record.verdict === verdict);
}

/** Longest word that is read of a level file, bytes; ours are shorter. */
const MAX_WORD_BYTES = 64;

/** Whether the level file at `path`, as an earlier supervisor has left it, says degraded. */
export function saysDegraded(path: string): boolean {
  try {
    return readTextIfExists(path, MAX_WORD_BYTES)?.trim() === "degraded";
  } catch {
    return false;
  }
}

export class BotSigns {
  readonly #files: BotFiles;
  readonly #onTrouble: (text: string) => void;
  #level: Level | undefined;
  /** What is demanded and could not be written. */
  #owed: Level | undefined;

  /** `onTrouble` hears of a sign that could not be given; supervision goes on without it. */
  constructor(files: BotFiles, onTrouble: (text: string) => void) {
    this.#files = files;
    this.#onTrouble = onTrouble;
  }

  /** Demands the level; written again only when it differs from the last one written. */
  demand(level: Level): void {
    if (level === this.#level) return;
    const done = this.#try("write the level", () => replaceFile(this.#files.level, `${level}\n`, 0o644));
    if (done) this.#level = level;
    this.#owed = done ? undefined : level;
  }

  /** It has been said that the disk does not take it. */
  #retry(level: Level): void {
    try {
      replaceFile(this.#files.level, `${level}\n`, 0o644);
      this.#level = level;
      this.#owed = undefined;
    } catch {
      // The next sign of life tries it again.
    }
  }

  /** Demands the level also where it was demanded already: its file may be gone. */
  renew(level: Level): void {
    this.#level = undefined;
    this.demand(level);
  }

  /** Shows that somebody stands behind the level: to be called at least each 10 s (docs/levels.md). */
  touch(now: Date): void {
    if (this.#owed !== undefined) return this.#retry(this.#owed);
    try {
      utimesSync(this.#files.level, now, now);
    } catch {
      // A file that is gone is given anew by whoever finds it gone; a bot without a sign of life trades with more care.
    }
  }

  forbidOrders(): void {
    this.#try("forbid new orders", () => replaceFile(this.#files.noNewOrders, "stopping\n", 0o644));
  }

  permitOrders(): void {
    this.#try("permit orders", () => removeIfThere(this.#files.noNewOrders));
  }

  /** A full or unwritable disk never stops supervision: it is said and the bot goes on. */
  #try(what: string, deed: () => void): boolean {
    try {
      deed();
      return true;
    } catch (error) {
      this.#onTrouble(`cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }
}
