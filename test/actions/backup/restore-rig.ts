/** Restores on the rig of backups: jobs, the state folder, and what a database holds, read by another program. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { settleRestores, type Settled } from "../../../src/actions/backup/restore-journal.ts";
import { restoreBackup } from "../../../src/actions/backup/restore.ts";
import type { RestoreIo } from "../../../src/actions/backup/restore-steps.ts";
import { restoreJobSchema, type RestoreJob } from "../../../src/core/restore-job.ts";
import type { JobTarget } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { Rig } from "./rig.ts";

const DIE = join(import.meta.dirname, "..", "..", "fixtures", "restore-and-die.ts");

export class RestoreRig extends Rig {
  readonly stateDir = join(this.folder, "state");

  restoreJob(target: JobTarget, more: Partial<RestoreJob> = {}): RestoreJob {
    return restoreJobSchema.parse({
      version: 1,
      target,
      from: {
        kind: "backup",
        folder: this.store,
        id: this.repository(target.name).list().backups.at(-1)?.id ?? "none",
      },
      into: { kind: "live" },
      bots: [],
      stateDir: this.stateDir,
      socket: join(this.folder, "no.sock"),
      ...more,
    });
  }

  /** Restores in this process; returns the exit code. */
  restore(job: RestoreJob, more: Partial<RestoreIo> = {}): Promise<number> {
    return restoreBackup(job, { write: (line) => void this.lines.push(line), clock: systemClock, ...more });
  }

  /** Restores in a process of its own that kills itself after the step; its exit code, or the signal that ended it. */
  async restoreAndDie(job: RestoreJob, step: string): Promise<number | string | null> {
    const child = Bun.spawn([process.execPath, DIE, step], {
      stdin: Buffer.from(JSON.stringify(job)),
      stdout: "ignore",
      stderr: "inherit",
    });
    await child.exited;
    return child.signalCode ?? child.exitCode;
  }

  settle(): readonly Settled[] {
    return settleRestores(this.stateDir, systemClock);
  }

  /** Names in the folder of the database that a restore has made. */
  get traces(): readonly string[] {
    return readdirSync(this.folder).filter((name) => /restore/.test(name));
  }

  get journals(): readonly string[] {
    const folder = join(this.stateDir, "backups", "restores");
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".restore.json")) : [];
  }
}

/** A hash over all rows of all tables, by the sqlite3 tool; it plays a log in, as the bot would. */
export function rowsOf(database: string): string {
  const dump = execFileSync("sqlite3", [database, ".dump"]).toString();
  return createHash("sha256").update(dump).digest("hex");
}

export function query(database: string, sql: string): string {
  return execFileSync("sqlite3", [database, sql], { stdio: "pipe" }).toString().trim();
}
