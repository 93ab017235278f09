/**
 * The second copy of what a bot owns and owes: one proven row a line, flushed in the same group commit as the database, so
 * that a database that is lost can be made again from its last backup and these lines.
 */
import {
  closeSync,
  constants,
  createReadStream,
  existsSync,
  fdatasyncSync,
  openSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { createInterface } from "node:readline";
import { sizeOf, syncFolder, writeAll, type StateFiles } from "./files.ts";
import { lineOf, parseRowLine, type StoredRow } from "./rows.ts";

/** From this size on a backup is made, which covers it, and a new file is begun, bytes. */
const ROTATE_BYTES = 16 * 1_024 ** 2;

export class SecondCopy {
  readonly #files: StateFiles;
  #fd: number;
  #bytes: number;
  /** The last write may have been cut off. */
  #torn: boolean;
  /** A power cut may still lose the last lines. */
  #unflushed = false;

  constructor(files: StateFiles) {
    this.#files = files;
    this.#bytes = sizeOf(files.second) ?? 0;
    this.#fd = openToAppend(files.second);
    // A crash may have torn the last line: what follows must not become part of it.
    this.#torn = this.#bytes > 0;
    syncFolder(files.folder);
  }

  /**
   * Durable when this returns; nothing to do for no rows. Rows that are all values outlive a kill of the process, and a power
   * cut once anything else is written or the kernel has written them by itself: the database holds them durably, and a
   * second flush for each would halve what a bot can write.
   */
  append(rows: readonly StoredRow[]): void {
    if (rows.length === 0) return;
    const bytes = Buffer.from((this.#torn ? "\n" : "") + rows.map(lineOf).join(""));
    this.#torn = true;
    writeAll(this.#fd, bytes);
    this.#unflushed = true;
    if (rows.some(({ row }) => row.table !== "kv")) this.#flush();
    this.#torn = false;
    this.#bytes += bytes.byteLength;
  }

  #flush(): void {
    if (this.#unflushed) fdatasyncSync(this.#fd);
    this.#unflushed = false;
  }

  /** Begins a new file where this one is large, and says whether a backup is to be made now: it must cover the old one. */
  rotate(): boolean {
    if (this.#bytes < ROTATE_BYTES) return false;
    // One that no backup covers yet is never replaced: the file then grows until a backup succeeds.
    if (existsSync(this.#files.secondOld)) return true;
    this.#flush();
    renameSync(this.#files.second, this.#files.secondOld);
    closeSync(this.#fd);
    this.#fd = openToAppend(this.#files.second);
    this.#bytes = 0;
    syncFolder(this.#files.folder);
    return true;
  }

  /** A proven backup holds whatever the old file says. */
  covered(): void {
    if (existsSync(this.#files.secondOld)) unlinkSync(this.#files.secondOld);
  }

  close(): void {
    try {
      this.#flush();
    } finally {
      closeSync(this.#fd);
    }
  }
}

function openToAppend(path: string): number {
  return openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}

/** The rows of a second copy, in the order in which they were written; torn and damaged lines are left out. */
export async function secondCopyRows(path: string): Promise<{ readonly rows: StoredRow[]; readonly torn: number }> {
  const rows: StoredRow[] = [];
  let torn = 0;
  if (!existsSync(path)) return { rows, torn };
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    if (line === "") continue;
    const row = parseRowLine(line);
    if (row === undefined) torn += 1;
    else rows.push(row);
  }
  return { rows, torn };
}
