/** A scratch folder with a database that is written, a repository, and jobs on it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { makeBackup, type BackupIo } from "../../../src/actions/backup/make.ts";
import { Repository, type StoredBackup } from "../../../src/actions/backup/repository.ts";
import { backupJobSchema, type BackupJob, type BackupLine, type JobTarget } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";

export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "backup-"));
  readonly database = join(this.folder, "bot.db");
  readonly store = join(this.folder, "store");
  readonly lines: BackupLine[] = [];

  /** A database in WAL mode with some orders. */
  fill(orders: number): Database {
    const database = new Database(this.database);
    database.exec("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON");
    database.exec("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, note TEXT NOT NULL)");
    database.exec("CREATE INDEX IF NOT EXISTS orders_note ON orders (note)");
    // A statement that is left keeps the files open after `close()`, removed or not, until it is collected at some later time.
    using insert = database.prepare("INSERT INTO orders (note) VALUES (?)");
    database.transaction(() => {
      for (let n = 0; n < orders; n += 1) insert.run(`order ${n} ${"x".repeat(80)}`);
    })();
    return database;
  }

  job(target: JobTarget, more: Partial<BackupJob> = {}): BackupJob {
    return backupJobSchema.parse({
      version: 1,
      target,
      folder: this.store,
      trigger: "manual",
      compress: "zstd",
      recipients: [],
      verify: "L1",
      retention: null,
      tool: { name: "supervisor", version: "test" },
      store: "local",
      record: join(this.folder, "records", "state.json"),
      ...more,
    });
  }

  get sqlite(): JobTarget {
    return { kind: "sqlite", name: "state", path: this.database };
  }

  async backUp(job: BackupJob, more: Partial<BackupIo> = {}): Promise<number> {
    return makeBackup(job, { write: (line) => void this.lines.push(line), clock: systemClock, ...more });
  }

  repository(target = "state"): Repository {
    return new Repository(this.store, target);
  }

  /** The only backup of a target. */
  stored(target = "state"): StoredBackup {
    const { backups } = this.repository(target).list();
    const [backup] = backups;
    if (backup === undefined || backups.length > 1) throw new Error(`there are ${backups.length} backups`);
    return backup;
  }

  failure(): Extract<BackupLine, { kind: "failed" }> | undefined {
    return this.lines.find((line) => line.kind === "failed");
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
