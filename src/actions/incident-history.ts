/** Reads the journal of an incident as a stream, in bounded memory, and begins it anew when it has grown too large. */
import { closeSync, constants, fstatSync, linkSync, openSync, readSync, rmSync } from "node:fs";
import { carryHistory, IncidentFold } from "../core/incident.ts";
import type { IncidentHistory } from "../core/incident.ts";
import { writeFileAtomic } from "../platform/files.ts";
import { LineSplitter } from "../platform/line-splitter.ts";

interface ReadJournal {
  readonly history: IncidentHistory;
  /** Size of the file. */
  readonly bytes: number;
}

/** A line is an order or a list of positions: some hundred bytes to some 10 KiB. */
const MAX_LINE_BYTES = 1_048_576;
const CHUNK_BYTES = 65_536;
/** Read from the end at most: the newest lines have the highest numbers, and the close must start within a second or two. */
const MAX_READ_BYTES = 32 * 1_048_576;
/** A journal above this is begun anew by the next run. */
const MAX_JOURNAL_BYTES = 16 * 1_048_576;

/** An empty history when there is no file. Throws when there is one that cannot be read. */
export function readJournal(path: string): ReadJournal {
  const fold = new IncidentFold();
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO in the file's place would block us for ever.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      return { history: fold.history, bytes: 0 };
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`cannot read ${path}: it is not a regular file`);
    const lines = new LineSplitter(MAX_LINE_BYTES, (line) => fold.add(line));
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let at = Math.max(0, stat.size - MAX_READ_BYTES);
    while (at < stat.size) {
      const count = readSync(fd, chunk, 0, Math.min(CHUNK_BYTES, stat.size - at), at);
      if (count === 0) break;
      lines.push(chunk.subarray(0, count));
      at += count;
    }
    lines.end();
    return { history: fold.history, bytes: stat.size };
  } finally {
    closeSync(fd);
  }
}

/**
 * Replaces a journal above 16 MiB by one that folds to the same history; the old one stays as PATH.old, the one before
 * it goes. Only for the holder of the account's lock: another writer would go on in the old file. Throws when the disk refuses.
 */
export function renewJournal(path: string, { history, bytes }: ReadJournal, at: string): void {
  if (bytes <= MAX_JOURNAL_BYTES) return;
  const text = carryHistory(history, at).map((line) => `${JSON.stringify(line)}\n`);
  const old = `${path}.old`;
  rmSync(old, { force: true });
  // A second name first, then the replacement: at no moment is there no journal.
  linkSync(path, old);
  writeFileAtomic(path, text.join(""));
}
