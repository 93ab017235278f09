/** A real PostgreSQL server on a socket of its own in a scratch folder, shared by the tests of a file; each has a database of its own. */
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { postgresFolders } from "../../../src/platform/postgres-tools.ts";
import { lookupUser } from "../../../src/platform/user.ts";
import type { JobTarget } from "../../../src/core/backup-job.ts";
import { until } from "../../platform/until.ts";
import { RestoreRig } from "./restore-rig.ts";
import { saying } from "./saying.ts";

const newest = postgresFolders().findLast(({ folder }) => existsSync(join(folder, "initdb")));
const isRoot = process.getuid?.() === 0;
const owner = isRoot ? (lookupUser("postgres") ?? lookupUser("nobody")) : undefined;

/** Why the tests that need a server are skipped; `undefined`: they are not. */
export const missing =
  newest === undefined ? "postgresql" : isRoot && owner === undefined ? "a user that is not root" : undefined;
export const WHY = missing === undefined ? "" : ` (skipped: ${missing} is not there)`;

export const PASSWORD = "p@ss/ 'word";
/** A session begins within this, also while servers are made beside it, ms. */
const CONNECT_MS = 60_000;
/** In the words of its log (postmaster.c). */
const READY = /database system is ready to accept (read-only )?connections/;

export class PgServer {
  readonly folder = mkdtempSync(join(tmpdir(), "pg-"));
  readonly data: string;
  readonly #initdb: readonly string[];
  #child: Bun.Subprocess | undefined;
  #databases = 0;

  /** `initdb`: more of its options. */
  constructor(data?: string, initdb: readonly string[] = []) {
    this.data = data ?? join(this.folder, "data");
    this.#initdb = initdb;
  }

  /** A server on a data folder that is there. */
  static async on(data: string): Promise<PgServer> {
    const server = new PgServer(data);
    if (owner !== undefined) {
      chownSync(server.folder, owner.uid, owner.gid);
      // The scratch folder of a test is for its owner alone.
      for (let at = dirname(data); at.startsWith(tmpdir()) && at !== tmpdir(); at = dirname(at)) chmodSync(at, 0o711);
    }
    const [config, hba] = [join(server.folder, "conf"), join(server.folder, "hba")];
    writeFileSync(config, "");
    writeFileSync(hba, "local all all trust\n");
    await server.start([`config_file=${config}`, `hba_file=${hba}`]);
    return server;
  }

  /** The database `secured` and the user `keeper` ask for a password. */
  async start(settings: readonly string[] = []): Promise<void> {
    if (!existsSync(this.data)) this.#init();
    const words = [
      "listen_addresses=",
      `unix_socket_directories=${this.folder}`,
      "fsync=off",
      // What is killed leaves nothing in /dev/shm.
      "dynamic_shared_memory_type=mmap",
      "wal_level=replica",
      "logging_collector=off",
      "log_destination=stderr",
      "lc_messages=C",
    ];
    const options = [...words, ...settings].flatMap((word) => ["-c", word]);
    const child = Bun.spawn({
      cmd: [...asOwner, this.program("postgres"), "-D", this.data, ...options],
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    await saying(child.stderr, READY);
  }

  /** A server that is killed is outlived by its processes for a moment. */
  async stop(how: "SIGINT" | "SIGQUIT" | "SIGKILL" = "SIGINT"): Promise<void> {
    this.#child?.kill(how);
    await this.#child?.exited;
    this.#child = undefined;
  }

  /** Gives a folder, and all below it, to the user who runs the server, and lets that user come to it. */
  give(folder: string): void {
    if (owner === undefined) return;
    Bun.spawnSync(["chown", "-R", `${owner.uid}:${owner.gid}`, folder]);
    for (let at = dirname(folder); at.startsWith(tmpdir()) && at !== tmpdir(); at = dirname(at)) chmodSync(at, 0o711);
  }

  program(name: string): string {
    return join(newest?.folder ?? "/nowhere", name);
  }

  /** The rows of a query, unaligned; throws what the server says. */
  sql(database: string, text: string): string {
    const { exitCode, stdout, stderr } = this.#psql(database, text);
    if (exitCode !== 0) throw new Error(stderr.toString());
    return stdout.toString().trim();
  }

  /** `undefined` when it fails. */
  ask(database: string, text: string): string | undefined {
    const { exitCode, stdout } = this.#psql(database, text);
    return exitCode === 0 ? stdout.toString().trim() : undefined;
  }

  /** A session that stays until it is ended, or disposed of. */
  async connect(user: string, database: string, application: string): Promise<Bun.Subprocess> {
    const client = Bun.spawn({
      cmd: [this.program("psql"), "-X", "-h", this.folder, "-U", user, "-d", database],
      env: { PGAPPNAME: application },
      stdin: "pipe",
      stdout: "ignore",
      stderr: "ignore",
    });
    const connected = `SELECT count(*) FROM pg_stat_activity WHERE application_name = '${application}'`;
    await until(`${application} is connected`, () => this.sql("postgres", connected) !== "0", CONNECT_MS);
    return client;
  }

  /** A database with orders of a made-up bot, and everything that a dump may forget. Returns its name. */
  makeDatabase(orders = 200): string {
    this.#databases += 1;
    const name = `ledger${this.#databases}`;
    this.sql("postgres", `CREATE DATABASE ${name}`);
    this.sql(
      name,
      `${SCHEMA}; INSERT INTO trades (symbol, price, note) SELECT 'BTC', n, repeat('x', 80) FROM generate_series(1, ${orders}) n;
      INSERT INTO fills (trade, quantity) SELECT id, 0.5 FROM trades; INSERT INTO risk.limits VALUES ('BTC', 3)`,
    );
    return name;
  }

  /** The rows of all tables, whatever order they lie in; its sequences, indexes and constraints (a check is written in other words once it was restored). */
  contentOf(database: string): string {
    const tables = this.sql(
      database,
      `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'risk') ORDER BY 1`,
    ).split("\n");
    const rows = tables
      .filter((table) => table !== "")
      .map(
        (table) =>
          `${table} ${this.sql(database, `SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM ${table} t`)}`,
      );
    const objects = this.sql(
      database,
      `SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'risk')
       UNION ALL SELECT conname || CASE contype WHEN 'c' THEN '' ELSE pg_get_constraintdef(oid) END FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'risk')
       UNION ALL SELECT format('%s %s', sequencename, last_value) FROM pg_sequences ORDER BY 1`,
    );
    return [...rows, objects].join("\n");
  }

  url(database: string, user = "postgres"): string {
    return `postgres://${user}@/${database}?host=${this.folder}`;
  }

  target(database: string): JobTarget {
    return { kind: "postgres", name: "ledger", url: this.url(database) };
  }

  databases(): readonly string[] {
    return this.sql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1").split("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // At once, and after all of its processes.
    await this.stop("SIGQUIT");
    rmSync(this.folder, { recursive: true, force: true });
  }

  #init(): void {
    mkdirSync(this.data, { mode: 0o700 });
    if (owner !== undefined) for (const path of [this.folder, this.data]) chownSync(path, owner.uid, owner.gid);
    const options = [
      "-A",
      "trust",
      "-U",
      "postgres",
      "-E",
      "UTF8",
      "--locale=C",
      "--no-sync",
      "--no-instructions",
      ...this.#initdb,
    ];
    const { exitCode, stderr } = Bun.spawnSync({
      cmd: [...asOwner, this.program("initdb"), "-D", this.data, ...options],
      cwd: "/",
      stdout: "ignore",
    });
    if (exitCode !== 0) throw new Error(stderr.toString());
    writeFileSync(
      join(this.data, "pg_hba.conf"),
      "local all keeper scram-sha-256\nlocal replication keeper scram-sha-256\nlocal all all trust\nlocal replication all trust\n",
    );
  }

  #psql(database: string, text: string) {
    return Bun.spawnSync({
      cmd: [
        this.program("psql"),
        "-X",
        "-q",
        "-A",
        "-t",
        "-w",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        this.folder,
        "-U",
        "postgres",
        "-d",
        database,
      ],
      stdin: Buffer.from(`SET client_min_messages = error; ${text}`),
      cwd: "/",
    });
  }
}

/** Its server is another's. */
export class PgRig extends RestoreRig {
  /** Names in the folder of the target's backups that a killed deed has left. */
  get leftovers(): readonly string[] {
    const { folder } = this.repository("ledger");
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(".") && name !== ".lock") : [];
  }
}

export const asOwner =
  owner === undefined ? [] : ["setpriv", `--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"];

const SCHEMA = `CREATE SCHEMA risk; CREATE TYPE side AS ENUM ('buy', 'sell');
  CREATE TABLE trades (id serial PRIMARY KEY, symbol varchar(20) NOT NULL CHECK (symbol IN ('BTC', 'ETH')), price numeric NOT NULL,
    side side DEFAULT 'buy', note text, created timestamptz DEFAULT now());
  CREATE INDEX trades_symbol_price ON trades (symbol, price); CREATE UNIQUE INDEX trades_note ON trades (lower(note), id);
  CREATE TABLE fills (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, trade integer NOT NULL REFERENCES trades, quantity numeric);
  CREATE TABLE risk.limits (symbol text PRIMARY KEY, most integer);
  CREATE VIEW open_trades AS SELECT id, price FROM trades WHERE price > 10;
  CREATE MATERIALIZED VIEW totals AS SELECT symbol, sum(price) FROM trades GROUP BY 1;
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note = NEW.note; RETURN NEW; END';
  CREATE TRIGGER touched BEFORE UPDATE ON trades FOR EACH ROW EXECUTE FUNCTION touch()`;
