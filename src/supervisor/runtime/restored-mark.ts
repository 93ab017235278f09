/**
 * The mark of a bot whose data was restored (core/restore-journal.ts): its records are older than its account, so the level
 * that is demanded of it is at least `minimal` until it, or a person, says that they agree again.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { RESTORED_MARK, restoredMarkSchema, type RestoredMark } from "../../core/restore-journal.ts";
import { readTextIfExists, syncDir } from "../../platform/files.ts";

/** A mark is some hundred bytes. */
const MAX_BYTES = 65_536;

export class RestoredBot {
  readonly #folder: string;
  readonly #path: string;
  readonly #foreign: (() => boolean) | undefined;
  #mark: RestoredMark | "unreadable" | undefined;

  /** `foreign`: whether the folder is another supervisor's by now. `isNew`: it was made just now, without a mark. */
  constructor(folder: string, foreign?: () => boolean, isNew = false) {
    this.#folder = folder;
    this.#path = join(folder, RESTORED_MARK);
    this.#foreign = foreign;
    if (!isNew) this.look();
  }

  /** Reads it anew, as before each start: a worker may have written it meanwhile. One that cannot be read counts as one. */
  look(): void {
    try {
      // Absent but for once in a bot's life; the check costs less than an exception.
      const text = existsSync(this.#path) ? readTextIfExists(this.#path, MAX_BYTES) : undefined;
      this.#mark = text === undefined ? undefined : restoredMarkSchema.parse(JSON.parse(text));
    } catch {
      this.#mark = "unreadable";
    }
  }

  get unreconciled(): boolean {
    return this.#mark !== undefined;
  }

  /** What was restored, for people; `undefined` when nothing was. */
  get text(): string | undefined {
    if (this.#mark === undefined) return undefined;
    if (this.#mark === "unreadable") return `its data may have been restored: ${this.#path} cannot be read`;
    return `its data was restored from ${this.#mark.backup}`;
  }

  /** The data agrees with the account again. Throws when the mark cannot be removed; it then holds. */
  reconciled(): void {
    if (this.#foreign?.() === true)
      throw new Error(`cannot remove ${this.#path}: another supervisor has the state folder`);
    rmSync(this.#path, { force: true });
    syncDir(this.#folder);
    this.#mark = undefined;
  }
}
