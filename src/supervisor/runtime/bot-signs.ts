/** What a bot is told through files: the level that is demanded of it, and that it must send no new orders (contract, "What a bot gets"). */
import { utimesSync } from "node:fs";
import { removeIfThere, replaceFile } from "../../platform/files.ts";
import type { BotFiles } from "./bot-plan.ts";

/** Levels that the supervisor demands, from the mildest. */
export type Level = "normal" | "degraded" | "minimal" | "emergency";

export class BotSigns {
  readonly #files: BotFiles;
  readonly #onTrouble: (text: string) => void;
  #level: Level | undefined;

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
  }

  /** Demands the level also where it was demanded already: its file may be gone. */
  renew(level: Level): void {
    this.#level = undefined;
    this.demand(level);
  }

  /** Shows that somebody stands behind the level: to be called at least each 10 s (docs/levels.md). */
  touch(now: Date): void {
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
