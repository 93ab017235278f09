/** Reads the journal's files, newest entries first found, for `supervisor events` and for replays. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { journalEntrySchema, type JournalEntry } from "../../core/journal-entry.ts";
import { readTextIfExists } from "../../platform/files.ts";

/** Largest journal file read, bytes: four times what the daemon lets one grow to on a full disk. */
const MAX_FILE_BYTES = 64 * 1024 ** 2;

export interface JournalReading {
  /** Oldest first. */
  readonly entries: readonly JournalEntry[];
  /** Lines that are no entry (torn by a power cut, or of a newer format), and files that are none. */
  readonly damaged: number;
}

/** The last `limit` entries that `wanted` accepts. A folder that does not exist reads as empty. */
export function readJournal(dir: string, limit: number, wanted: (entry: JournalEntry) => boolean): JournalReading {
  const entries: JournalEntry[] = [];
  let damaged = 0;
  for (const file of filesNewestFirst(dir)) {
    const text = readFile(join(dir, file));
    if (text === undefined) damaged += 1;
    for (const line of (text ?? "").split("\n").toReversed()) {
      if (entries.length >= limit) return { entries: entries.toReversed(), damaged };
      if (line === "") continue;
      const entry = parseEntry(line);
      if (entry === undefined) damaged += 1;
      else if (wanted(entry)) entries.push(entry);
    }
  }
  return { entries: entries.toReversed(), damaged };
}

/** `undefined` for what is no file, or too large to be one of ours. Throws when the kernel forbids it. */
function readFile(path: string): string | undefined {
  try {
    return readTextIfExists(path, MAX_FILE_BYTES) ?? "";
  } catch (error) {
    const cause: unknown = error instanceof Error ? error.cause : undefined;
    if (cause instanceof Error && "code" in cause && (cause.code === "EACCES" || cause.code === "EPERM")) throw cause;
    return undefined;
  }
}

function filesNewestFirst(dir: string): readonly string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(".ndjson"))
      .toSorted()
      .toReversed();
  } catch (error) {
    // A file in the folder's place holds no entries either.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return [];
    throw error;
  }
}

function parseEntry(line: string): JournalEntry | undefined {
  try {
    const result = journalEntrySchema.safeParse(JSON.parse(line));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}
