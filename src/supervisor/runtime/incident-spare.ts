/**
 * The copy in the runtime folder of what the state folder has not taken of the closes of a bot, as of its lockout: the next
 * supervisor goes on with it. What the disk has got meanwhile is left out as it is read.
 */
import { join } from "node:path";
import * as z from "zod";
import { closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import { later } from "../../core/later.ts";
import { readTextIfExists, replaceFile } from "../../platform/files.ts";

/** Of one incident. */
export interface Arrears {
  /** Of its journal, without their newlines, the oldest first. */
  readonly lines: string[];
  /** `undefined`: that of its last run is on the disk. */
  readonly report?: CloseReport | undefined;
}

/** Lines and reports that are kept in memory, and as much again for quotes. */
const MAX_SPARE_BYTES = 16 * 1_048_576;
/** As much of a journal as a close reads. */
const MAX_JOURNAL_BYTES = 32 * 1_048_576;

const spareSchema = later(() =>
  z.object({
    version: z.literal(1),
    /** By id, which names files. */
    incidents: z.record(
      z.string().regex(/^[a-z0-9]{1,12}$/),
      z.object({ lines: z.array(z.string()), report: closeReportSchema.optional() }),
    ),
  }),
);

/** Throws when it cannot be written. */
export function writeSpare(path: string, incidents: ReadonlyMap<string, Arrears>): void {
  // Not forced to the disk: a reboot may empty the folder anyway.
  replaceFile(path, JSON.stringify({ version: 1, incidents: Object.fromEntries(incidents) }));
}

/** What is not on the disk yet, of the bot whose incidents are in `folder`. Never throws; `undefined`: it cannot be read. */
export function readSpare(path: string, folder: string): ReadonlyMap<string, Arrears> | undefined {
  try {
    const text = readTextIfExists(path, MAX_SPARE_BYTES);
    if (text === undefined) return new Map();
    const { incidents } = spareSchema.parse(JSON.parse(text));
    const found = Object.entries(incidents).map(
      ([incident, { lines, report }]) =>
        [
          incident,
          { lines: missingIn(join(folder, `${incident}.ndjson`), lines), report: newerThan(folder, report) },
        ] as const,
    );
    return new Map(found.filter(([, { lines, report }]) => lines.length > 0 || report !== undefined));
  } catch {
    return undefined;
  }
}

/** A supervisor that is killed between the writing and the removal of the copy must not write twice. */
function missingIn(journal: string, lines: readonly string[]): string[] {
  const there = new Set((readQuietly(journal, MAX_JOURNAL_BYTES) ?? "").split("\n"));
  return lines.filter((line) => !there.has(line));
}

/** The report, unless the disk has that of a later run. */
function newerThan(folder: string, report: CloseReport | undefined): CloseReport | undefined {
  if (report === undefined) return undefined;
  const text = readQuietly(join(folder, `${report.incident}.json`), MAX_SPARE_BYTES) ?? "";
  const endedAt = /^ {2}"endedAt": "([^"]*)"/m.exec(text)?.[1] ?? "";
  return endedAt >= (report.endedAt ?? "") && endedAt !== "" ? undefined : report;
}

function readQuietly(path: string, maxBytes: number): string | undefined {
  try {
    return readTextIfExists(path, maxBytes);
  } catch {
    return undefined;
  }
}
