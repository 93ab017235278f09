/**
 * Redis' append-only file as a list of files (version 7: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/):
 * the list that names them, and the log of commands as far as it is whole.
 */

/** A list has a few lines; one of each rewrite that failed, too. */
const MAX_FILES = 1_000;
/** A count or a length, or a comment of the server, characters. */
const MAX_LINE = 256;
/** Of the words that begin and end a transaction. */
const NAME_BYTES = 5;
const LINE = /^file ([^\s"'/]+) seq (\d+) type ([bhi])(?: .*)?$/;
const END_BYTES = 2;
const NEWLINE = 0x0a;

export interface AofFile {
  readonly name: string;
  readonly base: boolean;
  /** Its line in the list. */
  readonly line: string;
}

/** The files that a server loads, in order; those that are only to be deleted are left out. Throws for what is no such list. */
export function readAofList(text: string): readonly AofFile[] {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  if (lines.length > MAX_FILES) throw new Error(`its list names more than ${MAX_FILES} files`);
  const files = lines.flatMap((line) => {
    const [, name, , type] = LINE.exec(line) ?? [];
    if (name === undefined) throw new Error(`its list has a line that cannot be read: ${line.slice(0, MAX_LINE)}`);
    return type === "h" ? [] : [{ name, base: type === "b", line }];
  });
  if (files.filter(({ base }) => base).length > 1) throw new Error("its list names two bases");
  return files;
}

/** Follows a log of commands and knows up to which byte it is whole: what a server would load of it, transactions as one. */
export class AofScan {
  #at = 0;
  #whole = 0;
  #line = "";
  /** Bytes of a word and its end that are still to come. */
  #skip = 0;
  #words = 0;
  /** The first word of a command while it comes; `undefined`: of no use. */
  #name: string | undefined;
  #inTransaction = false;

  /** Bytes from the start that are whole commands. */
  get wholeBytes(): number {
    return this.#whole;
  }

  get bytes(): number {
    return this.#at;
  }

  /** Throws for what is no log of commands. */
  add(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      const taken = this.#skip > 0 ? this.#takeWord(chunk, at) : this.#takeLine(chunk, at);
      at += taken;
    }
  }

  #takeWord(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#skip, chunk.length - at);
    if (this.#name !== undefined) this.#name += chunk.toString("latin1", at, at + taken);
    this.#skip -= taken;
    this.#at += taken;
    if (this.#skip > 0) return taken;
    if (chunk[at + taken - 1] !== NEWLINE) this.#refuse();
    this.#words -= 1;
    if (this.#name?.toUpperCase() === "MULTI\r\n") this.#inTransaction = true;
    if (this.#name?.toUpperCase() === "EXEC\r\n") this.#inTransaction = false;
    this.#name = undefined;
    if (this.#words === 0 && !this.#inTransaction) this.#whole = this.#at;
    return taken;
  }

  #takeLine(chunk: Buffer, at: number): number {
    const found = chunk.indexOf(NEWLINE, at);
    const end = found < 0 ? chunk.length : found + 1;
    if (this.#line.length + end - at > MAX_LINE) this.#refuse();
    this.#line += chunk.toString("latin1", at, end);
    this.#at += end - at;
    if (found < 0) return end - at;
    const line = this.#line;
    this.#line = "";
    if (this.#words > 0) this.#beginWord(line);
    else if (!line.startsWith("#")) this.#beginCommand(line);
    else if (!this.#inTransaction) this.#whole = this.#at;
    return end - at;
  }

  #beginCommand(line: string): void {
    this.#words = Number(/^\*([1-9]\d{0,9})\r\n$/.exec(line)?.[1] ?? this.#refuse());
    this.#name = "";
  }

  #beginWord(line: string): void {
    const length = Number(/^\$(\d{1,12})\r\n$/.exec(line)?.[1] ?? this.#refuse());
    this.#skip = length + END_BYTES;
    // "" is set at the first word only.
    if (length > NAME_BYTES) this.#name = undefined;
  }

  #refuse(): never {
    throw new Error(`it is no log of commands any more at byte ${this.#at}`);
  }
}
