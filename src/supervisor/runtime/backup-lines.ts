/**
 * What workers leave for the daemon: the lines of their report, and the records of a place and of the drills. They are plainly
 * right as a rule, and are then read without their schemas, which would take some megabytes for as long as the daemon lives.
 */
import type * as z from "zod";
import { backupLineSchema, type BackupLine } from "../../core/backup-job.ts";
import { backupRecordSchema, type BackupRecord } from "../../core/backup-record.ts";
import { drillRecordSchema, type DrillRecord } from "../../core/drill.ts";
import { DRILL_TABLE, LINE_TABLE, RECORD_TABLE } from "./backup-tables.ts";
import { plainValue, type Shape } from "./config/plain.ts";

/** `undefined` for what is no such line. */
export function readLine(text: string): BackupLine | undefined {
  try {
    return parse(text, LINE_TABLE, backupLineSchema);
  } catch {
    return undefined;
  }
}

/** Throws for what is no record. */
export function parseRecord(text: string): BackupRecord {
  return parse(text, RECORD_TABLE, backupRecordSchema);
}

/** Throws for what is no record. */
export function parseDrillRecord(text: string): DrillRecord {
  return parse(text, DRILL_TABLE, drillRecordSchema);
}

/** The table is printed from the schema. */
function parse<Value>(text: string, table: Shape, schema: z.ZodType<Value>): Value {
  const parsed: unknown = JSON.parse(text);
  const plain = plainValue(table, parsed);
  // Safe: a test holds the values of each table to those of its schema.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return plain === undefined ? schema.parse(parsed) : (plain.value as Value);
}
