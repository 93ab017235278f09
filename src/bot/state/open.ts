/** Opens a state to write: makes it, takes it as it is, or recovers it; then this process is its one writer. */
import { randomUUID } from "node:crypto";
import { mkdirSync, renameSync } from "node:fs";
import { isForgotten, mergeFound } from "../../core/state-merge.ts";
import { TABLES } from "../../core/state-tables.ts";
import { lookAtState } from "./check.ts";
import { migrate, openToWrite, provenRows, readMeta, writeMeta, type Database } from "./database.ts";
import { syncFile, syncFolder, writeSidecar, readSidecar, type StateFiles } from "./files.ts";
import { recoverState, removeScratch } from "./recover.ts";
import type { OpenReport } from "./report.ts";
import { hashOf, upsertSql } from "./rows.ts";
import { secondCopyRows } from "./second-copy.ts";

export interface OpenedState {
  readonly database: Database;
  readonly uuid: string;
  readonly epoch: number;
  readonly report: OpenReport;
}

export async function openState(
  files: StateFiles,
  options: { readonly now: number; readonly backups: readonly string[] },
): Promise<OpenedState> {
  mkdirSync(files.folder, { recursive: true, mode: 0o700 });
  removeScratch(`${files.database}.new`);
  const base = { needsReconcile: undefined, findings: [], quarantine: undefined, taken: {} };
  const condition = await lookAtState(files, { now: options.now, full: false, readonly: false });
  switch (condition.kind) {
    case "fresh": {
      const uuid = await createState(files, options.now);
      return lead(files, { ...base, kind: "fresh", uuid }, { now: options.now, full: true });
    }
    case "whole": {
      const { uuid, clean, full, notes } = condition;
      if (typeof readSidecar(files.sidecar) !== "object") writeSidecar(files.sidecar, { uuid, created: options.now });
      const report: OpenReport = { ...base, kind: clean ? "clean" : "unclean", uuid, findings: notes };
      const opened = await lead(files, report, { now: options.now, full });
      return clean ? opened : withSecondCopy(files, opened);
    }
    case "damaged": {
      const recovery = await recoverState(files, condition, options);
      return lead(files, { ...base, kind: "recovered", ...recovery }, { now: options.now, full: true });
    }
  }
}

/** The name comes last: a database that has it is whole, and one without a sidecar is still known by its rows. */
async function createState(files: StateFiles, now: number): Promise<string> {
  const uuid = randomUUID();
  const fresh = `${files.database}.new`;
  const database = await openToWrite(fresh);
  try {
    migrate(database, now);
    writeMeta(database, "db_uuid", uuid);
    database.pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    database.close();
  }
  syncFile(fresh);
  renameSync(fresh, files.database);
  syncFolder(files.folder);
  writeSidecar(files.sidecar, { uuid, created: now });
  return uuid;
}

/** Becomes the writer: whoever led before is refused from here on. */
async function lead(
  files: StateFiles,
  report: OpenReport,
  { now, full }: { readonly now: number; readonly full: boolean },
): Promise<OpenedState> {
  const database = await openToWrite(files.database);
  try {
    migrate(database, now);
    database.exec("BEGIN IMMEDIATE");
    const epoch = Number(readMeta(database, "writer_epoch") ?? 0) + 1;
    writeMeta(database, "writer_epoch", String(epoch));
    writeMeta(database, "boot_seq", String(Number(readMeta(database, "boot_seq") ?? 0) + 1));
    writeMeta(database, "clean_stop", "0");
    if (full) writeMeta(database, "full_check_at", String(now));
    forgetOldOrders(database, now);
    database.exec("COMMIT");
    const needsReconcile = readMeta(database, "needs_reconcile") || undefined;
    return { database, uuid: report.uuid, epoch, report: { ...report, needsReconcile } };
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Takes over what the second copy has newer: it is flushed before the database, so a process that died between the two leaves
 * it ahead by a group, and a disk that lied about a flush may have kept the one and lost the other.
 */
async function withSecondCopy(files: StateFiles, opened: OpenedState): Promise<OpenedState> {
  const old = await secondCopyRows(files.secondOld);
  const rows = [...old.rows, ...(await secondCopyRows(files.second)).rows];
  const { database, report } = opened;
  let taken = 0;
  database.exec("BEGIN IMMEDIATE");
  for (const row of mergeFound([{ from: "second", rows: rows.map((each) => each.row) }]).rows) {
    const key = TABLES[row.table].columns[0];
    const known = database
      .prepare(`SELECT version FROM ${row.table} WHERE ${key} = ?`)
      .raw(true)
      .get(row.cells[0] ?? null);
    if (Array.isArray(known) && Number(known[0]) >= row.version) continue;
    database.prepare(upsertSql(row.table)).run(...row.cells, row.version, hashOf(row));
    taken += 1;
  }
  database.exec("COMMIT");
  if (taken === 0) return opened;
  const findings = [...report.findings, `${taken} rows of the second copy were newer`];
  return { ...opened, report: { ...report, findings } };
}

function forgetOldOrders(database: Database, now: number): void {
  const old = [...provenRows(database, "orders", () => undefined)].filter(({ row }) => isForgotten(row, now));
  const forget = database.prepare("DELETE FROM orders WHERE client_order_id = ?");
  for (const { row } of old) forget.run(row.cells[0] ?? null);
}
