/** Cuts a byte stream into lines of bounded length; used where another process may send anything. */

const NEWLINE = 10;

export class LineSplitter {
  /** Lines that were longer than the bound and were thrown away. */
  dropped = 0;
  readonly #maxBytes: number;
  readonly #onLine: (line: string) => void;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #overlong = false;

  constructor(maxBytes: number, onLine: (line: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#add(chunk.subarray(from, end));
      this.end();
      from = end + 1;
    }
    this.#add(chunk.subarray(from));
  }

  /** Hands on what is left as a last line; nothing when the stream ended with a newline. */
  end(): void {
    const [parts, overlong] = [this.#parts, this.#overlong];
    this.#parts = [];
    this.#bytes = 0;
    this.#overlong = false;
    if (overlong) this.dropped += 1;
    else if (parts.length > 0) this.#onLine(Buffer.concat(parts).toString("utf8"));
  }

  #add(part: Uint8Array): void {
    if (part.length === 0 || this.#overlong) return;
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) {
      this.#parts = [];
      this.#overlong = true;
    } else {
      // A copy: the reader uses its buffer again.
      this.#parts.push(part.slice());
    }
  }
}
