/**
 * What is kept of drills: `drills.jsonl`, a line for each, which holds the checksum of the line before, and `drill.json`,
 * what status shows. The oldest lines go when the file is large: a drill each month fills it in a thousand years.
 */
import { closeSync, constants, existsSync, fchmodSync, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { drillRecordSchema, withDrill, type DrillRecord, type DrillReport } from "../../core/drill.ts";
import { ensureDir, readTextIfExists, setAside, syncDir, writeFileAtomic } from "../../platform/files.ts";

const MODE = 0o640;
/** Above it the older half is dropped. */
const MAX_LOG_BYTES = 16 * 1_024 ** 2;
const MAX_RECORD_BYTES = 65_536;

function logPath(records: string): string {
  return join(records, "drills.jsonl");
}

/** Names a drill by its begin. */
export function newDrillId(startedAt: Date): string {
  return `drill-${startedAt.toISOString().replace(/[-:]|\.\d+/g, "")}-${crypto.randomUUID().slice(0, 6)}`;
}

/** Adds the report to the log, on the disk, and to what status shows. Throws when it cannot be written. */
export function recordDrill(records: string, report: DrillReport): void {
  const path = logPath(records);
  thinOut(path);
  const isNew = !existsSync(path);
  const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, MODE);
  try {
    if (isNew) fchmodSync(fd, MODE);
    // A line that a power cut has torn must not swallow this one.
    const torn = lines(path).torn ? "\n" : "";
    const bytes = Buffer.from(`${torn}${JSON.stringify(report)}\n`);
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  syncDir(records);
  writeRecord(records, withDrill(readDrillRecord(records), report));
}

/** Of the last line of the log, without its newline; `null`: there is none. */
export function lastLineSha256(records: string): string | null {
  const last = lines(logPath(records)).whole.at(-1);
  return last === undefined ? null : new Bun.CryptoHasher("sha256").update(last).digest("hex");
}

/** The lines of the log, oldest first. Throws when it cannot be read. */
export function drillLines(records: string): readonly string[] {
  return lines(logPath(records)).whole;
}

/** `undefined` before the first; a damaged one is set aside. `parse` throws for what is no record. */
export function readDrillRecord(
  records: string,
  parse: (text: string) => DrillRecord = (text) => drillRecordSchema.parse(JSON.parse(text)),
): DrillRecord | undefined {
  const path = join(records, "drill.json");
  try {
    const text = readTextIfExists(path, MAX_RECORD_BYTES);
    return text === undefined ? undefined : parse(text);
  } catch (cause) {
    setAside(path, cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
}

/** The record of a daemon that has seen no drill yet: from here on its schedule counts. Throws when it cannot be written. */
export function beginDrillRecord(records: string, now: Date): DrillRecord {
  const record: DrillRecord = {
    version: 1,
    since: now.toISOString(),
    last: null,
    lastSuccessAt: null,
    failuresInRow: 0,
  };
  ensureDir(records, 0o750);
  writeRecord(records, record);
  return record;
}

function writeRecord(records: string, record: DrillRecord): void {
  writeFileAtomic(join(records, "drill.json"), `${JSON.stringify(record)}\n`, MODE);
}

function lines(path: string): { readonly whole: readonly string[]; readonly torn: boolean } {
  const text = readTextIfExists(path, 2 * MAX_LOG_BYTES) ?? "";
  const all = text.split("\n");
  const rest = all.pop() ?? "";
  return { whole: all.filter((line) => line !== ""), torn: rest !== "" };
}

function thinOut(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < MAX_LOG_BYTES) return;
  const { whole } = lines(path);
  writeFileAtomic(path, `${whole.slice(Math.ceil(whole.length / 2)).join("\n")}\n`, MODE);
}
