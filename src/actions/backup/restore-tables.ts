/** Restores single tables of a database: into the one that lives, by one transaction, so that nothing is moved. */
import { dirname, join } from "node:path";
import { replaceTables, tablesOf } from "../../platform/sqlite-tables.ts";
import { Failure } from "./failure.ts";
import type { RestoreRun } from "./restore.ts";
import { discard, isThere, mark } from "./restore-journal.ts";

/** Before any bot is stopped: a plain file tells what it holds only when it is unpacked. Throws `Failure`. */
export async function requireTables(run: RestoreRun, tables: readonly string[]): Promise<void> {
  const { kind, journal, reading } = run;
  const live = databaseOf(run);
  const there = await tablesOf(kind.fresh(live, join(dirname(live), `.restore-${journal.id}`)));
  const missing = tables.filter((table) => !there.includes(table));
  if (missing.length > 0)
    throw new Failure(
      "source",
      `${reading.label} has no table ${missing.join(", ")}; it has ${there.length === 0 ? "none" : there.join(", ")}`,
    );
}

/** Throws `Failure`; the database is then as it was. Returns the folders of what was moved aside: none. */
export async function restoreTables(run: RestoreRun, tables: readonly string[]): Promise<readonly string[]> {
  const { kind, job, journal, reading, io } = run;
  const live = databaseOf(run);
  if (!isThere(live)) throw new Failure("source", `there is no database ${live} to put tables into; leave --table out`);
  io.write({ kind: "step", text: `replacing ${tables.join(", ")} in ${live}`, touching: true });
  io.onStep?.("swapping");
  try {
    await replaceTables(live, kind.fresh(live, join(dirname(live), `.restore-${journal.id}`)), {
      tables,
      expected: reading.content?.tables,
      // Before the commit: a kill between the two must not leave a bot that trades on old rows unmarked.
      beforeCommit: () => {
        mark(job.stateDir, journal, io.clock.wallTime());
        io.onStep?.("checked");
      },
    });
  } catch (cause) {
    throw new Failure("verify", cause instanceof Error ? cause.message : String(cause), { cause });
  }
  io.onStep?.("swapped");
  discard(job.stateDir, journal);
  io.onStep?.("done");
  return [];
}

function databaseOf({ kind, job }: RestoreRun): string {
  const [place] = kind.places;
  if (job.target.kind === "sqlite" && place !== undefined) return place.live;
  throw new Failure("source", `the target ${job.target.name} has no tables; leave --table out`);
}
