/**
 * Makes a damaged state again: the damaged files are moved aside, and nothing is deleted; what can be proven of them, of the second
 * copy and of backups is merged row by row into a new database. The account must be compared with it before anything is opened.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { columnOf, isForgotten, mergeFound, type Found } from "../../core/state-merge.ts";
import { keyOf, TABLE_NAMES, type Row } from "../../core/state-tables.ts";
import { chainGapsOf, unfinishedQuarantines } from "./check.ts";
import { checkPages, checkRows, migrate, openToWrite, readMeta, writeMeta, type Database } from "./database.ts";
import { readSidecar, sizeOf, syncFile, syncFolder, writeDurably, writeSidecar, type StateFiles } from "./files.ts";
import { REPORT_NAME } from "./quarantine.ts";
import { hashOf, upsertSql } from "./rows.ts";
import { salvagedRows } from "./salvage.ts";
import { secondCopyRows } from "./second-copy.ts";

export interface Recovery {
  readonly uuid: string;
  readonly quarantine: string | undefined;
  readonly findings: readonly string[];
  readonly taken: Readonly<Record<string, number>>;
}

export interface Damage {
  /** Of the state that should be here, if that is known. */
  readonly uuid: string | undefined;
  readonly findings: readonly string[];
}

/** May die at any line: what it has moved aside is found again by the next one. */
export async function recoverState(
  files: StateFiles,
  damage: Damage,
  options: { readonly now: number; readonly backups: readonly string[] },
): Promise<Recovery> {
  const quarantine = moveAside(files, damage.uuid, options.now);
  const sources = unfinishedQuarantines(files);
  const { uuid, found, notes } = await gather(files, damage.uuid, [files.backup, ...options.backups], sources);
  const { rows, taken } = mergeFound(found);
  const findings = [...damage.findings, ...notes];
  const gaps = await rebuild(files, rows, { uuid, now: options.now, reason: findings.join("; ") });
  if (gaps > 0) findings.push(`the chain of trades has ${gaps} gaps: trades are missing`);
  const report = { at: new Date(options.now).toISOString(), uuid, findings, taken };
  for (const folder of sources) writeDurably(join(folder, REPORT_NAME), `${JSON.stringify(report)}\n`);
  return { uuid, quarantine, findings, taken };
}

/** Renames the database and its log away; `undefined` when there is nothing to move. */
function moveAside(files: StateFiles, uuid: string | undefined, now: number): string | undefined {
  const present = [files.database, files.wal, files.shm].filter((path) => existsSync(path));
  if (present.length === 0) return undefined;
  const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, "-");
  const folder = join(files.quarantine, `${stamp}-${(uuid ?? randomUUID()).slice(0, 8)}-${randomUUID().slice(0, 4)}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // The database first: without its log it would look whole and be older, and a log without its database is known to be damage.
  for (const path of present) renameSync(path, join(folder, path.slice(files.folder.length + 1)));
  for (const path of [folder, files.quarantine, files.folder]) syncFolder(path);
  return folder;
}

interface Gathered {
  readonly uuid: string;
  readonly found: readonly Found[];
  readonly notes: readonly string[];
}

/** Everything that is proven, of the state that is expected or, if that is not known, of the first that is found. */
export async function gather(
  files: StateFiles,
  expected: string | undefined,
  backups: readonly string[],
  quarantines: readonly string[],
): Promise<Gathered> {
  const places: Found[] = [];
  const notes: string[] = [];
  for (const folder of quarantines) {
    const inside = { database: join(folder, "state.db"), wal: join(folder, "state.db-wal") };
    places.push({ from: "the damaged database", rows: [...salvagedRows(inside)].map(({ row }) => row) });
  }
  for (const path of backups.filter((each) => (sizeOf(each) ?? 0) > 0))
    places.push({
      from: `backup ${path}`,
      rows: [...salvagedRows({ database: path, wal: `${path}-wal` })].map(({ row }) => row),
    });
  const uuid = expected ?? places.map(({ rows }) => uuidIn(rows)).find((each) => each !== undefined) ?? randomUUID();
  const own = places.filter(({ from, rows }) => {
    const theirs = uuidIn(rows);
    if (theirs === undefined || theirs === uuid) return true;
    notes.push(`${from} belongs to another state (${theirs}) and is not used`);
    return false;
  });
  const copies: Row[] = [];
  for (const path of [files.secondOld, files.second]) {
    const { rows, torn } = await secondCopyRows(path);
    copies.push(...rows.map(({ row }) => row));
    if (torn > 0) notes.push(`${torn} lines of ${path} are damaged`);
  }
  // Its lines were flushed before what they say was acknowledged, so they count like the database itself.
  return { uuid, found: [...own, { from: "the second copy", rows: copies }], notes };
}

function uuidIn(rows: Iterable<Row>): string | undefined {
  let best: Row | undefined;
  for (const row of rows)
    if (row.table === "meta" && keyOf(row) === "db_uuid" && (best === undefined || row.version >= best.version))
      best = row;
  return best === undefined ? undefined : String(best.cells[columnOf("meta", "value")]);
}

/** Writes the rows into a new database, proves it, and puts it in place. Answers how many gaps the chain of trades has. */
export async function rebuild(
  files: StateFiles,
  rows: readonly Row[],
  options: { readonly uuid: string; readonly now: number; readonly reason: string },
): Promise<number> {
  const fresh = `${files.database}.new`;
  removeScratch(fresh);
  const database = await openToWrite(fresh);
  let gaps: number;
  try {
    migrate(database, options.now);
    gaps = fill(database, rows, options);
    const flaws = [...checkPages(database, false), ...checkRows(database)];
    if (flaws.length > 0) throw new Error(`cannot recover the state: ${flaws.join("; ")}`);
    database.pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    database.close();
  }
  syncFile(fresh);
  renameSync(fresh, files.database);
  syncFolder(files.folder);
  if (typeof readSidecar(files.sidecar) !== "object")
    writeSidecar(files.sidecar, { uuid: options.uuid, created: options.now });
  return gaps;
}

function fill(
  database: Database,
  rows: readonly Row[],
  { uuid, now, reason }: { readonly uuid: string; readonly now: number; readonly reason: string },
): number {
  database.exec("BEGIN IMMEDIATE");
  for (const table of TABLE_NAMES) {
    // The new database has made its own migrations.
    if (table === "migrations") continue;
    const insert = database.prepare(upsertSql(table));
    for (const row of rows)
      if (row.table === table && !isForgotten(row, now)) insert.run(...row.cells, row.version, hashOf(row));
  }
  writeMeta(database, "db_uuid", uuid);
  writeMeta(database, "clean_stop", "0");
  writeMeta(database, "needs_reconcile", `${new Date(now).toISOString()}: ${reason}`);
  const gaps = chainGapsOf(database);
  writeMeta(database, "chain_gaps", String(gaps));
  // A writer that still has the old file must not lead: the epoch goes on from the highest that was found.
  if (readMeta(database, "writer_epoch") === undefined) writeMeta(database, "writer_epoch", String(now));
  database.exec("COMMIT");
  return gaps;
}

/** Removes what an interrupted attempt has left under a scratch name: nothing of it was ever acknowledged. */
export function removeScratch(path: string): void {
  for (const end of ["", "-wal", "-shm", "-journal"]) rmSync(`${path}${end}`, { force: true });
}
