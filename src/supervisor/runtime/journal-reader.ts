/** Reads the journal's files, newest entries first found, for `supervisor events` and for replays. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { later } from "../../core/later.ts";
import { closeGoalSchema, type CloseGoal } from "../../core/close-goal.ts";
import { closeJobSchema } from "../../core/close-job.ts";
import { readEntry, type JournalEntry } from "../../core/journal-entry.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import { readTextIfExists } from "../../platform/files.ts";

/** Largest journal file read, bytes: four times what the daemon lets one grow to on a full disk. */
const MAX_FILE_BYTES = 64 * 1024 ** 2;

/** What the daemon calls its files. A person may keep a copy beside them, or what of one is worth keeping: that is no later word. */
const FILE_NAME = /^\d{6,9}\.ndjson$/;

/** End of the journal in which its last decision is, bytes: some hundred lines, most of them shorter than 1 KiB. */
const TAIL_BYTES = 64 * 1024;

const openingSchema = later(() =>
  z.object({
    kind: z.literal("openIncident"),
    trigger: closeJobSchema.shape.trigger,
    reason: z.string(),
    goal: closeGoalSchema.optional(),
  }),
);

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

/** An emergency that was decided and journaled, by a daemon that was killed before the lockout was on disk. */
export interface InterruptedOrder {
  readonly bot: string;
  /** The start that it ended. */
  readonly generation: number;
  readonly trigger: Trigger;
  readonly reason: string;
  readonly goal?: CloseGoal | undefined;
  readonly taken: true;
}

/**
 * The emergency that the journal's last decision opens; `undefined` when it opens none. Whoever finds no lockout of that bot
 * has to open it: what was decided counts from its line in the journal on. Never throws.
 */
export function interruptedOrder(dir: string): InterruptedOrder | undefined {
  try {
    for (const file of filesNewestFirst(dir).slice(0, 2)) {
      const last = lastDecision(readTail(join(dir, file)));
      if (last === undefined) continue;
      // Few decisions open one, and what their effects hold is a schema that no other start needs.
      const opened = last.effects
        .filter(({ kind }) => kind === "openIncident")
        .map((effect) => openingSchema.safeParse(effect))
        .find(({ success }) => success);
      if (opened?.data === undefined) return undefined;
      const { trigger, reason, goal } = opened.data;
      const { bot, generation } = last;
      return { bot, generation, trigger, reason, ...(goal === undefined ? {} : { goal }), taken: true };
    }
  } catch {
    // A journal that cannot be read tells of no emergency; the lockouts tell of all that were begun.
  }
  return undefined;
}

/** The last words of a supervisor that has stopped its bots and let go of its folder. */
export const STOPPED_TEXT = "supervisor has stopped";

/** Whether the last supervisor of this journal came to a clean end: it is the journal's last word. Never throws. */
export function endedCleanly(dir: string): boolean {
  try {
    for (const file of filesNewestFirst(dir).slice(0, 2)) {
      const last = readTail(join(dir, file)).trimEnd().split("\n").at(-1) ?? "";
      if (last === "") continue;
      const entry = parseEntry(last);
      // What a command has told is no word of the supervisor's own.
      return entry?.kind === "daemon" && entry["from"] === undefined && entry.text === STOPPED_TEXT;
    }
  } catch {
    // A journal that cannot be read tells of no clean end.
  }
  return false;
}

/** The last line that is one, whatever stands behind it; the lines before it are not parsed. */
function lastDecision(text: string): Extract<JournalEntry, { kind: "decision" }> | undefined {
  for (const line of text.split("\n").toReversed()) {
    if (!line.includes('"kind":"decision"')) continue;
    const entry = parseEntry(line);
    if (entry?.kind === "decision") return entry;
  }
  return undefined;
}

/** The last bytes of a regular file, as text; its first line may be cut. */
function readTail(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const stat = fstatSync(fd);
    const bytes = Buffer.alloc(stat.isFile() ? Math.min(stat.size, TAIL_BYTES) : 0);
    const count = readSync(fd, bytes, 0, bytes.length, stat.size - bytes.length);
    return bytes.toString("utf8", 0, count);
  } finally {
    closeSync(fd);
  }
}

function filesNewestFirst(dir: string): readonly string[] {
  try {
    return readdirSync(dir)
      .filter((name) => FILE_NAME.test(name))
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
    return readEntry(JSON.parse(line));
  } catch {
    return undefined;
  }
}
