/** Looks at a state without being its writer: what it holds, whether it is whole, and what of it could be saved. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mergeFound } from "../../core/state-merge.ts";
import { TABLE_NAMES, type TableName } from "../../core/state-tables.ts";
import { positionOf } from "./books.ts";
import { chainGapsOf, lookAtState, type Condition } from "./check.ts";
import { checkPages, checkRows, openToRead, provenRows, readMeta, type Database } from "./database.ts";
import { readSidecar, sizeOf, stateFiles, type StateFiles } from "./files.ts";
import { knownIntent } from "./orders.ts";
import { quarantinesOf, removedQuarantines } from "./quarantine.ts";
import { gather, rebuild } from "./recover.ts";
import { secondCopyRows } from "./second-copy.ts";

/** Most positions and orders that are shown. */
const MAX_SHOWN = 200;

export interface StateView {
  readonly uuid: string | undefined;
  /** Rows of each table, those that are not proven left out. */
  readonly rows: Readonly<Record<string, number>>;
  /** Rows whose hash does not fit. */
  readonly damagedRows: number;
  readonly needsReconcile: string | null;
  readonly cleanStop: boolean;
  readonly starts: number;
  readonly level: { readonly level: string; readonly reason: string } | null;
  readonly breakers: readonly { readonly name: string; readonly state: string }[];
  readonly positions: readonly {
    readonly id: string;
    readonly symbol: string;
    readonly side: string;
    readonly quantity: string;
    readonly stopLoss: string | null;
    readonly status: string;
  }[];
  /** Orders that may rest at the venue or whose fate is not known. */
  readonly orders: readonly {
    readonly id: string;
    readonly symbol: string;
    readonly side: string;
    readonly quantity: string;
    readonly status: string;
    readonly createdAt: number;
  }[];
}

/** What the state holds, of values only their number; throws where it cannot be read at all. The bot may run meanwhile. */
export async function viewState(folder: string): Promise<StateView> {
  const files = stateFiles(folder);
  if (!existsSync(files.database)) throw new Error(`cannot show the state: there is none in ${folder}`);
  return withReadable(files, ({ database }) => viewOf(database));
}

/**
 * SQLite makes files beside a database that it reads, as whoever reads; the bot's user could then not open its own. So it is read
 * where it is only while these files are there, which they are while the bot runs, and else from a copy.
 */
async function withReadable<Value>(files: StateFiles, look: (files: StateFiles) => Promise<Value>): Promise<Value> {
  if (!existsSync(files.database) || (existsSync(files.wal) && existsSync(files.shm))) return look(files);
  const scratch = mkdtempSync(join(tmpdir(), "state-copy-"));
  try {
    const copy = join(scratch, "state.db");
    copyFileSync(files.database, copy);
    if (existsSync(files.wal)) copyFileSync(files.wal, `${copy}-wal`);
    return await look({ ...files, database: copy });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function viewOf(path: string): Promise<StateView> {
  const database = await openToRead(path);
  try {
    let damagedRows = 0;
    const rowsOf = (table: TableName) =>
      [...provenRows(database, table, () => (damagedRows += 1))].map(({ row }) => row.cells);
    const cells = Object.fromEntries(TABLE_NAMES.map((table) => [table, rowsOf(table)]));
    const open = ["intent", "sent", "unknown", "acked", "partial"];
    return {
      uuid: readMeta(database, "db_uuid"),
      rows: Object.fromEntries(TABLE_NAMES.map((table) => [table, cells[table]?.length ?? 0])),
      damagedRows,
      needsReconcile: readMeta(database, "needs_reconcile") || null,
      cleanStop: readMeta(database, "clean_stop") === "1",
      starts: Number(readMeta(database, "boot_seq") ?? 0),
      level: levelIn(cells["degradation"]?.[0]?.[2]),
      breakers: (cells["breakers"] ?? []).map(([name, state]) => ({ name: String(name), state: String(state) })),
      positions: (cells["positions"] ?? [])
        .map(positionOf)
        .filter(({ status }) => status !== "closed")
        .slice(0, MAX_SHOWN)
        .map(({ id, symbol, side, quantity, stopLoss, status }) => ({ id, symbol, side, quantity, stopLoss, status })),
      orders: (cells["orders"] ?? [])
        .map(knownIntent)
        .map(({ intent, outcome }) => ({ ...intent, status: outcome?.status ?? "intent" }))
        .filter(({ status }) => open.includes(status))
        .slice(0, MAX_SHOWN)
        .map(({ clientOrderId: id, symbol, side, quantity, status, createdAt }) => ({
          id,
          symbol,
          side,
          quantity,
          status,
          createdAt,
        })),
    };
  } finally {
    database.close();
  }
}

function levelIn(saved: unknown): StateView["level"] {
  if (typeof saved !== "string") return null;
  const value: unknown = JSON.parse(saved);
  if (typeof value !== "object" || value === null) return null;
  return { level: String(Reflect.get(value, "level")), reason: String(Reflect.get(value, "reason")) };
}

export interface Examination {
  readonly condition: Condition["kind"];
  readonly uuid: string | undefined;
  readonly findings: readonly string[];
  readonly needsReconcile: string | null;
  /** Lines of the second copy that are whole, and that are not. */
  readonly secondCopy: { readonly rows: number; readonly torn: number };
  readonly backup: { readonly madeAt: string; readonly flaws: readonly string[] } | null;
  /** Damaged files that were moved aside. */
  readonly quarantines: readonly { readonly folder: string; readonly recovered: boolean; readonly bytes: number }[];
  /** How many such folders were removed by their age. */
  readonly removedQuarantines: number;
}

/** Whether the state is whole, every row and index looked at, and what there is to recover it from. Changes nothing. */
export async function examineState(folder: string, now: number): Promise<Examination> {
  const files = stateFiles(folder);
  const { condition, needsReconcile } = await withReadable(files, async (readable) => {
    const looked = await lookAtState(readable, { now, full: true, readonly: true });
    if (looked.kind !== "whole") return { condition: looked, needsReconcile: null };
    const held = await withDatabase(readable.database, (database) => readMeta(database, "needs_reconcile"));
    return { condition: looked, needsReconcile: held || null };
  });
  return {
    condition: condition.kind,
    uuid: condition.kind === "fresh" ? undefined : condition.uuid,
    findings: condition.kind === "damaged" ? condition.findings : condition.kind === "whole" ? condition.notes : [],
    needsReconcile,
    secondCopy: await secondCopyOf(files),
    backup: await backupOf(files),
    quarantines: quarantinesOf(files).map(({ folder: aside, recovered, bytes }) => ({
      folder: aside,
      recovered,
      bytes,
    })),
    removedQuarantines: removedQuarantines(files),
  };
}

async function secondCopyOf(files: StateFiles): Promise<Examination["secondCopy"]> {
  const [old, now] = [await secondCopyRows(files.secondOld), await secondCopyRows(files.second)];
  return { rows: old.rows.length + now.rows.length, torn: old.torn + now.torn };
}

async function backupOf(files: StateFiles): Promise<Examination["backup"]> {
  if (sizeOf(files.backup) === undefined) return null;
  const madeAt = statSync(files.backup).mtime.toISOString();
  try {
    return { madeAt, flaws: await withDatabase(files.backup, (db) => [...checkPages(db, false), ...checkRows(db)]) };
  } catch (error) {
    return { madeAt, flaws: [error instanceof Error ? error.message : String(error)] };
  }
}

async function withDatabase<Value>(path: string, look: (database: Database) => Value): Promise<Value> {
  const database = await openToRead(path);
  try {
    return look(database);
  } finally {
    database.close();
  }
}

export interface Salvage {
  readonly folder: string;
  readonly uuid: string;
  readonly notes: readonly string[];
  readonly taken: Readonly<Record<string, number>>;
  readonly rows: Readonly<Record<string, number>>;
  /** Gaps in the chain of trades. */
  readonly gaps: number;
}

/** Makes a new state in the empty folder `to` from everything that can be proven; of the old one nothing is changed. */
export async function salvageState(
  folder: string,
  to: string,
  backups: readonly string[],
  now: number,
): Promise<Salvage> {
  const from = stateFiles(folder);
  const target = stateFiles(to);
  mkdirSync(to, { recursive: true, mode: 0o700 });
  if (readdirSync(to).length > 0) throw new Error(`cannot salvage to ${to}: it is not empty`);
  const places = quarantinesOf(from).filter(({ recovered }) => !recovered);
  const sidecar = readSidecar(from.sidecar);
  const expected = typeof sidecar === "object" ? sidecar.uuid : undefined;
  const sources = [folder, ...places.map((place) => place.folder)];
  const { uuid, found, notes } = await gather(from, expected, [from.backup, ...backups], sources);
  const { rows, taken } = mergeFound(found);
  if (rows.length === 0) throw new Error(`cannot salvage ${folder}: nothing in it can be proven`);
  await rebuild(target, rows, { uuid, now, reason: `salvaged from ${folder}` });
  const counts = await withReadable(target, ({ database: path }) =>
    withDatabase(path, (database) => ({
      rows: Object.fromEntries(
        TABLE_NAMES.map((table) => [table, [...provenRows(database, table, () => undefined)].length]),
      ),
      gaps: chainGapsOf(database),
    })),
  );
  return { folder: to, uuid, notes, taken, ...counts };
}
