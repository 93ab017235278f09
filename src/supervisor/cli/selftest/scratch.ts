/** The tests of a selftest that make and restore backups: of a database and files of their own in a scratch folder, by the same workers as the real ones. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupJob, BackupLine, JobTarget, PruneJob, VerifyJob } from "../../../core/backup-job.ts";
import { BACKUP_EXIT } from "../../../core/backup-job.ts";
import type { RestoreJob } from "../../../core/restore-job.ts";
import { systemClock } from "../../../platform/clock.ts";
import { scratchUser, ScratchServer } from "../../../platform/postgres-scratch.ts";
import { postgresFolders, postgresProgram } from "../../../platform/postgres-tools.ts";
import { askDatabase } from "../../../platform/sqlite-ask.ts";
import { openToWrite } from "../../../platform/sqlite.ts";
import { runDeed, UNMARKED } from "../../runtime/backup-run.ts";
import { VERSION } from "../build-info.ts";
import { Skip } from "./installed.ts";

const ROWS = 1_000;
/** Backups that the retention is tried on, and those that it must leave. */
const MADE = 5;
const KEPT = 3;

export class Scratch {
  readonly #folder: string;
  readonly #database: string;
  readonly #store: string;
  readonly #state: JobTarget;

  constructor(folder: string) {
    this.#folder = folder;
    this.#database = join(folder, "selftest.db");
    this.#store = join(folder, "store");
    this.#state = { kind: "sqlite", name: "selftest", path: this.#database };
  }

  /** Each throws what is wrong and returns what was shown. */
  async backsUp(): Promise<string> {
    writeFileSync(this.#database, "");
    await this.#write(
      `PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS}) INSERT INTO orders SELECT i, 'order ' || i FROM n`,
    );
    const { id } = await this.#backUp(this.#state);
    return `${id} holds ${ROWS} rows and stands L2`;
  }

  async restores(): Promise<string> {
    const before = await this.#rows();
    await this.#write("UPDATE orders SET note = 'damaged'; DELETE FROM orders WHERE id > 10");
    const id = await this.#restore(this.#state, { kind: "live" });
    if ((await this.#rows()) !== before) throw new Error("the restored rows are not those that were backed up");
    return `${id} brought back every row`;
  }

  async findsDamage(): Promise<string> {
    const id = this.#newest("selftest");
    const part = join(this.#store, "selftest", id, "data.000");
    const bytes = readFileSync(part);
    const flipped = Uint8Array.from(bytes);
    flipped[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(part, flipped);
    const job: VerifyJob = { ...this.#common(this.#state), level: "L0", ids: [id] };
    const { code } = await runDeed("verify-backups", job, { ...UNMARKED, clock: systemClock, onLine: () => undefined });
    writeFileSync(part, bytes);
    if (code !== BACKUP_EXIT.verification) throw new Error("a flipped bit in a stored backup was not found");
    await this.#deed("verify-backups", job);
    return "a flipped bit in a stored backup is found";
  }

  async retains(): Promise<string> {
    for (let made = this.#all("selftest").length; made < MADE; made += 1)
      // oxlint-disable-next-line no-await-in-loop -- Safe: one lock.
      await this.#backUp(this.#state);
    const retention = { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: KEPT };
    const job: PruneJob = { ...this.#common(this.#state), retention, dryRun: false, force: true };
    const newest = this.#newest("selftest");
    await this.#deed("prune-backups", job);
    const left = this.#all("selftest");
    if (left.length !== KEPT || !left.includes(newest))
      throw new Error(`${left.length} of ${MADE} backups were left instead of the newest ${KEPT}`);
    return `of ${MADE} backups the newest ${KEPT} are left`;
  }

  async keepsFiles(): Promise<string> {
    const source = join(this.#folder, "conf");
    mkdirSync(source);
    writeFileSync(join(source, "bot.yaml"), "version: 1\n", { mode: 0o640 });
    const target: JobTarget = { kind: "files", name: "conf", paths: [source] };
    await this.#backUp(target);
    const out = join(this.#folder, "out");
    const id = await this.#restore(target, { kind: "folder", path: out });
    if (readFileSync(join(out, source, "bot.yaml"), "utf8") !== "version: 1\n") throw new Error("a file differs");
    rmSync(out, { recursive: true });
    return `${id} brought back its files`;
  }

  /** A server of its own on scratch; its database is backed up, spoilt and restored. */
  async keepsPostgres(): Promise<string> {
    const major = serverVersion();
    const folder = join(this.#folder, "data");
    mkdirSync(folder, { mode: 0o700 });
    // Whoever runs the server must get there.
    chmodSync(this.#folder, 0o711);
    const server = await ScratchServer.make(folder, major);
    try {
      await answerOf(server, "postgres", "CREATE DATABASE ledger");
      await answerOf(server, "ledger", `CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, ${ROWS}) n`);
      const target: JobTarget = { kind: "postgres", name: "ledger", url: `postgres://postgres@/ledger?host=${folder}` };
      await this.#backUp(target);
      await answerOf(server, "ledger", "DELETE FROM orders WHERE id > 10");
      const id = await this.#restore(target, { kind: "live" });
      const rows = await answerOf(server, "ledger", "SELECT count(*) AS rows FROM orders");
      if (rows !== JSON.stringify([{ rows: ROWS }])) throw new Error(`${rows} was restored instead of ${ROWS} rows`);
      return `${id} of a server of version ${major} stands L2 and brought back ${ROWS} rows`;
    } finally {
      await server.stop();
    }
  }

  async #backUp(target: JobTarget): Promise<{ readonly id: string }> {
    const job: BackupJob = {
      ...this.#common(target),
      trigger: "manual",
      incremental: false,
      compress: "zstd",
      recipients: [],
      verify: "L2",
      retention: null,
      tool: { name: "supervisor", version: VERSION },
      record: join(this.#folder, `${target.name}.json`),
    };
    const lines = await this.#deed("backup", job);
    const stored = lines.find((line) => line.kind === "stored");
    if (stored === undefined) throw new Error("the worker stored nothing");
    return stored;
  }

  async #restore(target: JobTarget, into: RestoreJob["into"]): Promise<string> {
    const id = this.#newest(target.name);
    const job: RestoreJob = {
      version: 1,
      target,
      from: { kind: "backup", folder: this.#store, id },
      into,
      bots: [],
      disconnect: false,
      stateDir: join(this.#folder, "state"),
      socket: join(this.#folder, "none.sock"),
    };
    await this.#deed("restore", job);
    return id;
  }

  #common(target: JobTarget) {
    return { version: 1 as const, target, store: "scratch", folder: this.#store };
  }

  /** Throws why it failed. */
  async #deed(action: string, job: object): Promise<readonly BackupLine[]> {
    const lines: BackupLine[] = [];
    const { failure } = await runDeed(action, job, {
      ...UNMARKED,
      clock: systemClock,
      onLine: (line) => void lines.push(line),
    });
    if (failure !== undefined) throw new Error(failure);
    return lines;
  }

  #all(target: string): readonly string[] {
    const names = readdirSync(join(this.#store, target)).filter((name) => !name.startsWith("."));
    return names.toSorted();
  }

  /** Names of one second do not sort by time: the newest is the one whose folder came last. */
  #newest(target: string): string {
    const folder = join(this.#store, target);
    const all = this.#all(target).map((id) => ({ id, at: snapshotOf(join(folder, id)) }));
    const newest = all.toSorted((a, b) => a.at - b.at).at(-1);
    if (newest === undefined) throw new Error("nothing is stored");
    return newest.id;
  }

  async #write(sql: string): Promise<void> {
    const database = await openToWrite(this.#database);
    try {
      database.exec(sql);
    } finally {
      database.close();
    }
  }

  #rows(): Promise<string> {
    return askDatabase(this.#database, async ({ ask }) =>
      JSON.stringify(ask("SELECT count(*), group_concat(id || note, ';') FROM (SELECT * FROM orders ORDER BY id)")),
    );
  }
}

/** The newest that is installed with all that a server takes. Throws `Skip`. */
function serverVersion(): number {
  const newest = postgresFolders().at(-1);
  try {
    if (newest === undefined) throw new Error("PostgreSQL is not installed");
    for (const name of ["initdb", "postgres", "pg_dump", "pg_restore", "psql"]) postgresProgram(name, newest.major);
    scratchUser();
    return newest.major;
  } catch (cause) {
    throw new Skip(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Returns the rows as JSON. */
async function answerOf(server: ScratchServer, database: string, sql: string): Promise<string> {
  const session = await server.psql(database);
  try {
    if (sql.startsWith("SELECT")) return JSON.stringify(await session.rows<object>(sql));
    await session.run(sql);
    return "";
  } finally {
    await session.close();
  }
}

function snapshotOf(folder: string): number {
  const found = /"snapshotAt": "([^"]+)"/.exec(readFileSync(join(folder, "manifest.json"), "utf8"))?.[1];
  return found === undefined ? 0 : Date.parse(found);
}
