/**
 * Lines of JSON that outlive the process: one write per line, so that a kill loses none that was written; forced to the
 * disk in a thread of the runtime, many at once. A torn last line (power cut, full disk) is skipped by the reader.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  fdatasync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

/** Size from which on the file is written anew with what still counts, bytes. */
const COMPACT_BYTES = 4 * 1_048_576;

export class AppendFile {
  readonly path: string;
  /** Lines that could not be read when it was opened, a torn last one left aside; the file is then kept as `….damaged`. */
  readonly damagedLines: number;
  /** The lines that count, for a file that is written anew. */
  readonly #keep: () => Iterable<unknown>;
  #fd: number;
  #bytes = 0;
  #compactAtBytes = COMPACT_BYTES;
  /** Whether the last line may lack its end. */
  #torn = false;
  #waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  #syncing = false;
  /** The descriptor of a file that is closed as soon as its last sync is over. */
  #closing = -1;

  /** Reads what is there into `take`, then opens it; `keep` gives what a file that is written anew shall hold. */
  constructor(path: string, take: (line: unknown) => void, keep: () => Iterable<unknown>) {
    this.path = path;
    this.#keep = keep;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const { lines, damaged } = readLines(path);
    if (damaged > 0) copyFileSync(path, `${path}.damaged`);
    this.damagedLines = damaged;
    for (const line of lines) take(line);
    this.#fd = -1;
    this.#rewrite();
  }

  /** Appends one line; it survives the death of the process from here on. */
  append(line: unknown): void {
    if (this.#fd < 0) throw new Error(`cannot write ${this.path}: it is closed`);
    if (this.#bytes >= this.#compactAtBytes && !this.#syncing) this.#rewrite();
    const text = `${this.#torn ? "\n" : ""}${JSON.stringify(line)}\n`;
    this.#torn = true;
    const written = writeSync(this.#fd, text);
    this.#bytes += written;
    if (written !== Buffer.byteLength(text))
      throw new Error(`cannot write ${this.path}: the disk took a part of the line`);
    this.#torn = false;
  }

  /** Resolves when all that was appended before is on the disk. */
  sync(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ resolve, reject });
    this.#syncNext();
    return promise;
  }

  /** What was appended and waits for its sync still gets it. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) this.#closing = fd;
    this.#syncNext();
  }

  /** One fdatasync(2) for all who wait; those who come meanwhile wait for the next, which sees their lines. */
  #syncNext(): void {
    if (this.#syncing) return;
    const fd = this.#fd >= 0 ? this.#fd : this.#closing;
    if (this.#waiting.length === 0 || fd < 0) return this.#closeNow();
    const served = this.#waiting;
    this.#waiting = [];
    this.#syncing = true;
    fdatasync(fd, (error) => {
      this.#syncing = false;
      for (const { resolve, reject } of served) {
        if (error === null) resolve();
        else reject(new Error(`cannot sync ${this.path}: ${error.message}`, { cause: error }));
      }
      this.#syncNext();
    });
    return undefined;
  }

  #closeNow(): void {
    if (this.#closing >= 0) closeSync(this.#closing);
    this.#closing = -1;
    for (const { reject } of this.#waiting) reject(new Error(`cannot sync ${this.path}: it is closed`));
    this.#waiting = [];
  }

  /** The file with what counts alone, in place of the old one at once: temp name, fsync, rename, fsync of the folder. */
  #rewrite(): void {
    const temp = `${this.path}.new`;
    const fd = openSync(temp, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND, 0o600);
    let bytes = 0;
    try {
      for (const line of this.#keep()) bytes += writeWhole(fd, `${JSON.stringify(line)}\n`);
      fsyncSync(fd);
      renameSync(temp, this.path);
      const folder = openSync(dirname(this.path), constants.O_RDONLY);
      fsyncSync(folder);
      closeSync(folder);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = fd;
    this.#torn = false;
    this.#bytes = bytes;
    this.#compactAtBytes = Math.max(COMPACT_BYTES, bytes * 2);
  }
}

function writeWhole(fd: number, text: string): number {
  const bytes = Buffer.from(text);
  if (writeSync(fd, bytes) !== bytes.byteLength) throw new Error("the disk took a part of the line");
  return bytes.byteLength;
}

function readLines(path: string): { readonly lines: readonly unknown[]; readonly damaged: number } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { lines: [], damaged: 0 };
    throw new Error(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const whole = text.split("\n");
  // After the last line's end there is nothing, or what a power cut left of the next.
  whole.pop();
  const lines: unknown[] = [];
  let damaged = 0;
  for (const line of whole) {
    try {
      lines.push(JSON.parse(line));
    } catch {
      damaged += 1;
    }
  }
  return { lines, damaged };
}
