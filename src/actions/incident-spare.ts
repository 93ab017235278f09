/**
 * The copy in the runtime folder of what the state folder has not taken of the closes of a bot, as of its lockout: the next
 * supervisor goes on with it. What the disk has got meanwhile is left out as it is read. A worker leaves its own part there, too,
 * for its supervisor may have died before it.
 */
import { readdirSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { closeReportSchema, type CloseReport, type Unwritten } from "../core/close-job.ts";
import { later } from "../core/later.ts";
import { readTextIfExists, replaceFile, setAside } from "../platform/files.ts";

/** Variable that tells a worker where the copy is: not in its job, which one of another version would refuse for it. */
export const SPARE_VARIABLE = "SUPERVISOR_INCIDENTS_SPARE";

/** Of one incident. */
export interface Arrears {
  /** Of its journal, without their newlines, the oldest first. */
  readonly lines: string[];
  /** `undefined`: that of its last run is on the disk. */
  readonly report?: CloseReport | undefined;
}

/** Lines kept, bytes: the whole of the first close, and some thousand of the slow rounds that follow it. */
const MAX_LINE_BYTES = 2 * 1_048_576;
/** Incidents kept: a person has armed the bot in between each time. */
const MAX_INCIDENTS = 16;
/** Lines and reports that are kept, and as much again for quotes. A larger copy is not written. */
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

/**
 * Adds what a run has left to what there is of its incident, the oldest lines first, and answers those that are too many to be kept.
 * `report`: the last one, unless the disk has that.
 */
export function addArrears(
  incidents: Map<string, Arrears>,
  incident: string,
  { lines, report }: { readonly lines: readonly string[]; readonly report: CloseReport | undefined },
): readonly string[] {
  const kept = new Set(incidents.get(incident)?.lines);
  let room = MAX_LINE_BYTES - [...incidents.values()].reduce((sum, each) => sum + bytesOf(each.lines), 0);
  const lost = lines.filter((line) => {
    if (kept.has(line)) return false;
    room -= Buffer.byteLength(line);
    if (room >= 0) kept.add(line);
    return room < 0;
  });
  if (kept.size === 0 && report === undefined) incidents.delete(incident);
  else incidents.set(incident, { lines: [...kept], report });
  const [oldest] = incidents.keys();
  if (incidents.size > MAX_INCIDENTS && oldest !== undefined) incidents.delete(oldest);
  return lost;
}

/** A worker's part: what is there of other runs stays. Never throws; a disk that takes nothing here either keeps nobody from anything. */
export function leaveInSpare(path: string, folder: string, report: CloseReport, unwritten: Unwritten): void {
  try {
    const there = readSpare(path, folder);
    if (there === undefined) {
      removeDamaged(path);
      setAside(path, "what it has of closes could not be read");
    }
    const incidents = new Map(there);
    const { lines } = unwritten;
    addArrears(incidents, report.incident, { lines, report: unwritten.report ? report : undefined });
    writeSpare(path, incidents);
  } catch {
    // It is handed over as well.
  }
}

/** Throws when it cannot be written. */
export function writeSpare(path: string, incidents: ReadonlyMap<string, Arrears>): void {
  const text = JSON.stringify({ version: 1, incidents: Object.fromEntries(incidents) });
  if (Buffer.byteLength(text) > MAX_SPARE_BYTES)
    throw new Error(`cannot write ${path}: it would be larger than ${MAX_SPARE_BYTES} bytes`);
  // Not forced to the disk: a reboot may empty the folder anyway.
  replaceFile(path, text);
}

/** Before a damaged copy is set aside: those of earlier times would fill the runtime folder, which is memory. Never throws. */
export function removeDamaged(path: string): void {
  try {
    const folder = dirname(path);
    const damaged = readdirSync(folder).filter((name) => name.startsWith(`${basename(path)}.damaged-`));
    for (const name of damaged) unlinkSync(join(folder, name));
  } catch {
    // One that cannot be removed is in nobody's way.
  }
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

function bytesOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
}
