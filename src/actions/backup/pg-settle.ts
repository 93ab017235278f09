/**
 * Ends restores of PostgreSQL that were broken off, and drops the databases that they put aside long enough ago: the action
 * `settle-restore`. Only the server knows whether the names have changed, so it needs the password, which no journal has.
 */
import { rmSync } from "node:fs";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { databaseNames, settlementOf } from "../../core/restore-journal.ts";
import { settleJobSchema, type SettleJob } from "../../core/restore-job.ts";
import type { Clock } from "../../platform/clock.ts";
import { defineAction } from "../contract.ts";
import { failed, Failure } from "./failure.ts";
import { dropDatabase } from "./pg-databases.ts";
import { undoPgRestore } from "./pg-restore.ts";
import type { PostgresTarget } from "./postgres.ts";
import { discard, dueKept, finish, lockRestore, openJournal, type Settled } from "./restore-journal.ts";

interface SettleIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

export const settleAction = defineAction({ jobSchema: settleJobSchema, run: settleOnServer });

/** Returns the exit code; never throws. */
export async function settleOnServer({ target, stateDir }: SettleJob, io: SettleIo): Promise<number> {
  try {
    if (target.kind !== "postgres")
      throw new Failure(
        "source",
        `${target.name} is of kind ${target.kind} now; its restore was of a PostgreSQL database`,
      );
    const lock = lockRestore(stateDir, target.name);
    if (lock === undefined) throw new Failure("lock", `a restore of ${target.name} is under way`);
    try {
      const settled = await settleDatabases(target, stateDir, io.clock);
      if (settled !== undefined) {
        const { outcome, detail, stopped } = settled;
        io.write({ kind: "settled", outcome, detail, stopped: [...stopped] });
      }
      await dropKept(target, stateDir, io.clock.wallTime());
    } finally {
      lock.release();
    }
    return BACKUP_EXIT.done;
  } catch (error) {
    return failed(error, io.write);
  }
}

/** For who holds the lock of the target; `undefined` when there was nothing to end. Throws when the server cannot be asked. */
export async function settleDatabases(
  target: PostgresTarget & { readonly name: string },
  stateDir: string,
  clock: Clock,
): Promise<Settled | undefined> {
  const journal = openJournal(stateDir, target.name);
  if (journal?.databases === undefined) return undefined;
  const { databases, phase, bots, stopped, id, backup } = journal;
  const common = { target: target.name, bots, stopped };
  // As it was then: the config may name another server by now.
  const then = { ...target, url: databases.url };
  const settlement = settlementOf(phase);
  if (settlement === "finish") {
    finish(stateDir, journal, clock);
    return { ...common, outcome: "finished", detail: `restore ${id} of ${target.name} is done: ${backup} stands` };
  }
  await undoPgRestore(then, databases, phase);
  discard(stateDir, journal);
  const left =
    journal.into === "tables"
      ? "its tables are all restored or none, by PostgreSQL's own log"
      : "it had changed nothing yet";
  return settlement === "rollBack"
    ? {
        ...common,
        outcome: "rolledBack",
        detail: `restore ${id} of ${target.name} was taken back: the old database stands`,
      }
    : { ...common, outcome: "discarded", detail: `restore ${id} of ${target.name} was broken off: ${left}` };
}

async function dropKept(
  target: PostgresTarget & { readonly name: string },
  stateDir: string,
  now: Date,
): Promise<void> {
  for (const { kept, path } of dueKept(stateDir, now)) {
    const { databases, id } = kept;
    if (kept.target !== target.name || databases === undefined) continue;
    const { aside } = databaseNames(id);
    // oxlint-disable-next-line no-await-in-loop -- Safe: each is one statement.
    if (databases.aside === aside) await dropDatabase({ ...target, url: databases.url }, aside);
    rmSync(path, { force: true });
  }
}
