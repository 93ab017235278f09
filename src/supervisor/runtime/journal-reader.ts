/** Reads the journal's files, newest entries first found, for `supervisor events` and for replays. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { journalEntrySchema, type JournalEntry } from "../../core/journal-entry.ts";

export interface JournalReading {
  /** Oldest first. */
  readonly entries: readonly JournalEntry[];
  /** Lines that are no entry: torn by a power cut, or of a newer format. */
  readonly damaged: number;
}

/** The last `limit` entries that `wanted` accepts. A folder that does not exist reads as empty. */
export function readJournal(dir: string, limit: number, wanted: (entry: JournalEntry) => boolean): JournalReading {
  const entries: JournalEntry[] = [];
  let damaged = 0;
  for (const file of filesNewestFirst(dir)) {
    for (const line of readFileSync(join(dir, file), "utf8").split("\n").toReversed()) {
      if (entries.length >= limit) return { entries: entries.toReversed(), damaged };
      if (line === "") continue;
      const entry = parseEntry(line);
      if (entry === undefined) damaged += 1;
      else if (wanted(entry)) entries.push(entry);
    }
  }
  return { entries: entries.toReversed(), damaged };
}

function filesNewestFirst(dir: string): readonly string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(".ndjson"))
      .toSorted()
      .toReversed();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
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
