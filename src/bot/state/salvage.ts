/** What can be read of a damaged state: every page of the database and of its write-ahead log by itself, each row proven by its hash. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { rowsOfPage } from "../../core/sqlite-page.ts";
import { PAGE_BYTES } from "../../core/state-tables.ts";
import { sizeOf } from "./files.ts";
import { provenAnywhere, type StoredRow } from "./rows.ts";

const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

export interface SalvagedFiles {
  readonly database: string;
  readonly wal: string;
}

/**
 * The proven rows of the files, which are only read; none for files that are not there. The same row is found as often as a
 * version of it lies around: the newest counts (core/state-merge.ts).
 */
export function* salvagedRows(files: SalvagedFiles): Generator<StoredRow, void> {
  const main = PageFile.open(files.database, 0, 0);
  const log = PageFile.open(files.wal, WAL_HEADER_BYTES, FRAME_HEADER_BYTES);
  try {
    const logged = new Map<number, number>();
    for (let frame = 0; frame < (log?.count ?? 0); frame += 1) logged.set(log?.numberOf(frame) ?? 0, frame);
    const pageOf = (number: number): Uint8Array | undefined => {
      const frame = logged.get(number);
      return frame === undefined ? main?.page(number - 1) : log?.page(frame);
    };
    for (let n = 0; n < (main?.count ?? 0); n += 1) {
      // An overflowing row of the main file goes on there, unless the log has that page newer.
      const page = main?.page(n);
      if (page === undefined) continue;
      yield* provenOn(page, n + 1, (number) => main?.page(number - 1));
      if (logged.size > 0) yield* provenOn(page, n + 1, pageOf);
    }
    for (let frame = 0; frame < (log?.count ?? 0); frame += 1) {
      const page = log?.page(frame);
      if (page !== undefined) yield* provenOn(page, log?.numberOf(frame) ?? 0, pageOf);
    }
  } finally {
    main?.close();
    log?.close();
  }
}

function* provenOn(
  page: Uint8Array,
  number: number,
  pageOf: (number: number) => Uint8Array | undefined,
): Generator<StoredRow, void> {
  for (const values of rowsOfPage(page, number, pageOf)) {
    const row = provenAnywhere(values);
    if (row !== undefined) yield row;
  }
}

/** A file of pages, each behind a head of its own; the last one may be cut off and is then filled up with zeros. */
class PageFile {
  readonly count: number;
  readonly #fd: number;
  readonly #skipped: number;
  readonly #head: number;

  static open(path: string, skipped: number, head: number): PageFile | undefined {
    return (sizeOf(path) ?? 0) > skipped ? new PageFile(path, skipped, head) : undefined;
  }

  private constructor(path: string, skipped: number, head: number) {
    this.#fd = openSync(path, "r");
    this.#skipped = skipped;
    this.#head = head;
    this.count = Math.ceil((fstatSync(this.#fd).size - skipped) / (head + PAGE_BYTES));
  }

  page(index: number): Uint8Array | undefined {
    if (index < 0 || index >= this.count) return undefined;
    const bytes = new Uint8Array(PAGE_BYTES);
    try {
      readSync(this.#fd, bytes, 0, PAGE_BYTES, this.#at(index) + this.#head);
    } catch {
      // A sector that the disk does not give is one more page that is damaged.
    }
    return bytes;
  }

  /** Of a frame of a log, which page it holds. */
  numberOf(index: number): number {
    const bytes = Buffer.alloc(4);
    readSync(this.#fd, bytes, 0, 4, this.#at(index));
    return bytes.readUInt32BE();
  }

  close(): void {
    closeSync(this.#fd);
  }

  #at(index: number): number {
    return this.#skipped + index * (this.#head + PAGE_BYTES);
  }
}
