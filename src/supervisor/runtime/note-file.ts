/** A small file of a bot's folder, so that what it says is known also after the daemon's death; nothing may be lost for safety where it is absent or cannot be read. */
import type * as z from "zod";
import { readTextIfExists, writeFileAtomic } from "../../platform/files.ts";

/** A note is some hundred bytes. */
const MAX_BYTES = 65_536;

interface NoteFileDeps<T> {
  readonly path: string;
  readonly schema: z.ZodType<T>;
  /** Whether the folder is another supervisor's by now. */
  readonly foreign: (() => boolean) | undefined;
}

export class NoteFile<T> {
  readonly #deps: NoteFileDeps<T>;
  #note: T | undefined;
  #isRead = false;

  constructor(deps: NoteFileDeps<T>) {
    this.#deps = deps;
  }

  /** `undefined`: there is none, or none that can be read. */
  get note(): T | undefined {
    if (!this.#isRead) this.#note = this.#read();
    this.#isRead = true;
    return this.#note;
  }

  /** Never throws: what cannot be written is forgotten with the daemon. */
  write(note: T): void {
    this.#note = note;
    this.#isRead = true;
    if (this.#deps.foreign?.() === true) return;
    try {
      writeFileAtomic(this.#deps.path, `${JSON.stringify(note)}\n`);
    } catch {
      // The next one tries again.
    }
  }

  #read(): T | undefined {
    try {
      const { path, schema } = this.#deps;
      return schema.safeParse(JSON.parse(readTextIfExists(path, MAX_BYTES) ?? "null")).data;
    } catch {
      return undefined;
    }
  }
}
