/** Tells a state that is whole from one that is damaged, and from none at all. A state that was there is never taken for a first start. */
import { chainGaps } from "../../core/state-merge.ts";
import { APPLICATION_ID, type TableName } from "../../core/state-tables.ts";
import { checkPages, checkRows, openToRead, openToWrite, provenRows, readMeta, type Database } from "./database.ts";
import { readSidecar, sizeOf, type StateFiles } from "./files.ts";
import { quarantinesOf } from "./quarantine.ts";
import type { StoredRow } from "./rows.ts";

/** After this time without one a full check is made also after a clean stop, ms. */
const FULL_CHECK_MS = 86_400_000;

export type Condition =
  | { readonly kind: "fresh" }
  | {
      readonly kind: "whole";
      readonly uuid: string;
      readonly clean: boolean;
      /** Every row and index was looked at. */
      readonly full: boolean;
      readonly notes: readonly string[];
    }
  | { readonly kind: "damaged"; readonly uuid: string | undefined; readonly findings: readonly string[] };

/**
 * Looks at the files; changes nothing but what SQLite does to roll a log forward. `full` asks for every row and index also after a clean stop.
 * Throws for what is no damage: no rights, no space, a lock, a network file system, a database of somebody else.
 */
export async function lookAtState(
  files: StateFiles,
  options: { readonly now: number; readonly full: boolean; readonly readonly: boolean },
): Promise<Condition> {
  const sidecar = readSidecar(files.sidecar);
  const uuid = typeof sidecar === "object" ? sidecar.uuid : undefined;
  const size = sizeOf(files.database);
  if (size === undefined || size === 0) {
    if (size === undefined && sidecar === undefined && !hasTraces(files)) return { kind: "fresh" };
    return { kind: "damaged", uuid, findings: [`the database is ${size === 0 ? "empty" : "not there"}`] };
  }
  try {
    const database = await (options.readonly ? openToRead(files.database) : openToWrite(files.database));
    try {
      return judge(database, sidecar, options);
    } finally {
      database.close();
    }
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { kind: "damaged", uuid, findings: [error instanceof Error ? error.message : String(error)] };
  }
}

function judge(
  database: Database,
  sidecar: ReturnType<typeof readSidecar>,
  options: { readonly now: number; readonly full: boolean },
): Condition {
  const id = database.pragma("application_id", { simple: true });
  const expected = typeof sidecar === "object" ? sidecar.uuid : undefined;
  if (id !== APPLICATION_ID) {
    if (sidecar === undefined && id !== 0)
      throw new Error(
        `cannot use the database as a state: it belongs to another program (application_id ${String(id)})`,
      );
    return { kind: "damaged", uuid: expected, findings: ["the database is not one of a bot's state"] };
  }
  const pages = checkPages(database, true);
  if (pages.length > 0) return { kind: "damaged", uuid: expected, findings: pages };
  const uuid = readMeta(database, "db_uuid");
  if (uuid === undefined)
    return { kind: "damaged", uuid: expected, findings: ["the database does not say which state it is"] };
  if (expected !== undefined && uuid !== expected)
    return {
      kind: "damaged",
      uuid: expected,
      findings: [`the database belongs to another state (${uuid}, not ${expected})`],
    };
  const clean = readMeta(database, "clean_stop") === "1";
  const checkedAt = Number(readMeta(database, "full_check_at") ?? 0);
  const full = options.full || !clean || options.now - checkedAt > FULL_CHECK_MS || checkedAt > options.now;
  const findings = full
    ? [...checkPages(database, false), ...checkRows(database), ...checkChain(database)]
    : checkRows(database, { without: "trades" });
  if (findings.length > 0) return { kind: "damaged", uuid, findings };
  const notes = sidecar === "unreadable" ? ["the sidecar could not be read and is written anew"] : [];
  return { kind: "whole", uuid, clean, full, notes };
}

/** A gap that a recovery has left and named is no new damage. */
function checkChain(database: Database): readonly string[] {
  const known = Number(readMeta(database, "chain_gaps") ?? 0);
  const gaps = chainGapsOf(database);
  return gaps > known ? [`the chain of trades has ${gaps} gaps, ${known} are known`] : [];
}

export function chainGapsOf(database: Database): number {
  const table: TableName = "trades";
  const rows: StoredRow[] = [...provenRows(database, table, () => undefined)];
  return chainGaps(rows.toSorted((a, b) => Number(a.row.cells[9]) - Number(b.row.cells[9]))).length;
}

function hasTraces(files: StateFiles): boolean {
  const left = [files.second, files.secondOld, files.backup].some((path) => (sizeOf(path) ?? 0) > 0);
  return left || unfinishedQuarantines(files).length > 0;
}

/** Folders of damaged files that no finished recovery has used yet, newest first. */
export function unfinishedQuarantines(files: StateFiles): string[] {
  return quarantinesOf(files)
    .filter(({ recovered }) => !recovered)
    .map(({ folder }) => folder)
    .toReversed();
}

/** Codes that say that the file itself is broken (https://sqlite.org/rescode.html). */
function isDamage(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = error instanceof Error ? error.message : "";
  return code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB" || /no such (table|column)/.test(text);
}
