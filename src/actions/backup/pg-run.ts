/** The course of a restore of PostgreSQL (pg-restore.ts): its journal, its bots, its end or its way back. */
import { randomBytes } from "node:crypto";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import type { RestoreJournal } from "../../core/restore-journal.ts";
import { Failure } from "./failure.ts";
import {
  planPgRestore,
  refusePgClients,
  swapPgDatabases,
  undoPgRestore,
  unpackPgDatabase,
  type PgJob,
  type PgRestore,
} from "./pg-restore.ts";
import { findPgTables, replacePgTables } from "./pg-tables.ts";
import type { Reading } from "./reading.ts";
import { keepBots, type Keeper } from "./restore-bots.ts";
import { discard, finish, mark, unmark, writeJournal } from "./restore-journal.ts";
import { say, stopBots, tellFailure, tellRestored, type RestoreIo, type RestoreSteps } from "./restore-steps.ts";

interface PgRun extends RestoreSteps {
  readonly job: PgJob;
  readonly pg: PgRestore;
}

/** Holds the locks of the target. Returns the exit code. Throws `Failure` while nothing is changed. */
export async function restoreDatabase(job: PgJob, io: RestoreIo, reading: Reading): Promise<number> {
  const startedMs = io.clock.monotonicMs();
  const now = io.clock.wallTime();
  const id = `${now.toISOString().replace(/[-:]|\.\d+/g, "")}-${randomBytes(3).toString("hex")}`;
  const pg = await planPgRestore(job, reading, id);
  const journal: RestoreJournal = {
    version: 1,
    id,
    target: job.target.name,
    backup: reading.label,
    snapshotAt: reading.snapshotAt,
    startedAt: now.toISOString(),
    phase: "prepared",
    into: job.into.kind === "tables" ? "tables" : "live",
    bots: job.bots,
    stopped: [],
    moves: [],
    strays: {},
    scratch: [],
    aside: [],
    databases: pg.databases,
  };
  const run: PgRun = { job, io, reading, journal, startedMs, pg };
  writeJournal(job.stateDir, journal);
  const state: Progress = { keeper: undefined, phase: "prepared", written: false };
  try {
    io.onStep?.("journaled");
    const aside = await carryOut(run, state);
    tellRestored(run, aside, (await state.keeper?.start(state.keeper.up)) ?? []);
    return BACKUP_EXIT.done;
  } catch (error) {
    return await giveUp(run, state, error);
  } finally {
    state.keeper?.release();
  }
}

interface Progress {
  keeper: Keeper | undefined;
  phase: RestoreJournal["phase"];
  /** Tables may be those of the backup: the server was told to keep them, whatever became of its answer. */
  written: boolean;
}

/** Says what was there before and where it is. */
async function carryOut(run: PgRun, state: Progress): Promise<readonly string[]> {
  const { job, io, pg, reading } = run;
  say(io, `restoring ${reading.label} beside the living database and proving it`);
  await unpackPgDatabase(pg);
  const tables = job.into.kind === "tables" ? await findPgTables(pg, job.into.tables) : undefined;
  io.onStep?.("unpacked");
  // Not earlier: without a daemon it holds the state folder, which an emergency close may need.
  const keeper = await keepBots(job, io.clock);
  state.keeper = keeper;
  await stopBots(run, keeper);
  if (tables !== undefined) {
    await restoreTables(run, state, tables);
    return [];
  }
  await refusePgClients(pg, job.disconnect);
  await swap(run, state, keeper.up);
  const { aside } = pg.databases;
  return aside === null ? [] : [`the database ${aside}`];
}

async function restoreTables(
  run: PgRun,
  state: Progress,
  tables: Parameters<typeof replacePgTables>[1],
): Promise<void> {
  const { job, io, pg, journal } = run;
  say(io, `replacing ${tables.map(({ name }) => name).join(", ")} in ${pg.databases.live}`, true);
  io.onStep?.("swapping");
  try {
    // Marked before the commit: a kill between the two must not leave a bot that trades on old rows unmarked.
    await replacePgTables(pg, tables, () => {
      mark(job.stateDir, journal, io.clock.wallTime());
      state.written = true;
      io.onStep?.("checked");
    });
  } catch (cause) {
    throw new Failure("verify", cause instanceof Error ? cause.message : String(cause), { cause });
  }
  state.phase = "checked";
  io.onStep?.("swapped");
  await undoPgRestore(pg.target, pg.databases, "prepared");
  discard(job.stateDir, journal);
  io.onStep?.("done");
}

async function swap(run: PgRun, state: Progress, stopped: readonly string[]): Promise<void> {
  const { job, io, pg, journal } = run;
  const swapping: RestoreJournal = { ...journal, phase: "swapping", stopped: [...stopped] };
  const checked: RestoreJournal = { ...swapping, phase: "checked" };
  say(io, "exchanging the databases' names", true);
  writeJournal(job.stateDir, swapping);
  state.phase = "swapping";
  io.onStep?.("swapping");
  await swapPgDatabases(pg, { disconnect: job.disconnect, onSwapped: () => io.onStep?.("swapped") });
  writeJournal(job.stateDir, checked);
  state.phase = "checked";
  io.onStep?.("checked");
  finish(job.stateDir, checked, io.clock);
  io.onStep?.("done");
}

/** Leaves what was there before, and the bots as they were. */
async function giveUp(
  { job, io, journal, pg }: PgRun,
  { keeper, phase, written }: Progress,
  error: unknown,
): Promise<number> {
  const why = error instanceof Error ? error.message : String(error);
  const tail = "no bot is started, and the next command on backups tries again";
  if (phase === "checked") {
    const reason = `the restored data is in its place, but what is left to do failed: ${why}; ${tail}`;
    io.write({ kind: "failed", stage: "swap", reason });
    return BACKUP_EXIT.halfRolledBack;
  }
  try {
    await undoPgRestore(pg.target, pg.databases, phase);
  } catch (cause) {
    const stuck = cause instanceof Error ? cause.message : String(cause);
    const reason = `the restore failed (${why}), and what it has made cannot be taken back: ${stuck}; ${tail}`;
    io.write({ kind: "failed", stage: "swap", reason });
    return BACKUP_EXIT.halfRolledBack;
  }
  discard(job.stateDir, journal);
  if (!written) unmark(job.stateDir, journal);
  const troubles = (await keeper?.start(keeper.up)) ?? [];
  if (phase === "prepared") return tellFailure(error, troubles, io);
  return tellFailure(
    new Failure("swap", `${why}; the old database is in its place again`, { cause: error }),
    troubles,
    io,
  );
}
